//! `forward`: one fan-out, which is stored, and then whatever is due is sent to the receivers.
//!
//! Exit codes: 0 nothing is due any more, 3 the same but some records became dead letters, 1 some
//! are still due, no source answered, or the store cannot be reached or written, 2 bad usage or
//! configuration, or another process has the store's file or lease.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::report::Report;
use super::fan_out::fan_out;
use super::progress::Progress;
use super::runtime::runtime;
use super::signals::{EndSignal, EndSignals};
use crate::app::{Engine, configure_claims, session_settings, store_of};
use crate::config::{self, Config, ConfigErrors, Environment, Overrides, StoreUrl};
use crate::forward::{ForwardSettings, ForwardStatuses, send_due};
use crate::logging::Log;
use crate::refresh::{Repeat, StoreLink};
use crate::store::sqlite::Access;
use crate::store::{
    Epoch, Recorder, Role, Session, SessionHandle, SessionOptions, StoreError, StoreHandle,
    StoreMetrics,
};

/// How long another process's lease is waited for. That of a process that was killed runs out
/// within 10 s, and is looked at every second.
const LEASE_WAIT: Duration = Duration::from_millis(11_500);

/// The most time for giving the lease back at the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The least time between two drawings of the progress.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What is logged where stderr is no terminal: the records that receivers refuse, and why requests
/// fail.
const LOG_FILTER: &str = "incident_gateway::forward=warn";

/// The flags of `forward`.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Loads the configuration, fetches, stores and sends.
///
/// # Errors
///
/// The errors of the configuration; missing credentials of upstreams and secrets of forwards that
/// are not known are among them. Files of `tls` and `auth` need not be there.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let overrides = Overrides { config: args.config, ..Overrides::default() };
    let config = config::load_for_forward(&overrides, environment)?;
    if config.forward.is_empty() {
        let also = if config.store.url == StoreUrl::None { " and `store.url`" } else { "" };
        return Ok(super::fail_usage(&format!(
            "there is nobody to forward to (`forward` is empty); give the configuration of the \
             gateway with `--config`, or set `forward`{also}"
        )));
    }
    ConfigErrors::of_all([config.require_credentials(), config.require_forward_secrets()])?;
    let _log = match start_log(&config, environment) {
        Ok(log) => log,
        Err(code) => return Ok(code),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Ok(super::fail(&format!("cannot start: {error}"))),
    };
    let code = runtime.block_on(forward(&config));
    // Blocking work whose result nobody needs must not delay the exit.
    runtime.shutdown_background();
    Ok(code)
}

/// Starts the log. On a terminal it would disturb the progress display, so it is off there unless
/// `RUST_LOG` is set.
fn start_log(config: &Config, environment: &Environment) -> Result<Option<Log>, ExitCode> {
    if environment.get("RUST_LOG").is_some() {
        return super::start_log(config, environment).map(Some);
    }
    if Progress::new().is_shown() {
        return Ok(None);
    }
    let log = crate::logging::start(config.log_format, Some(LOG_FILTER), &config.otlp);
    log.map(Some).map_err(|error| super::fail_usage(&error.to_string()))
}

/// Why the command ends before all was done.
enum Failure {
    /// The configuration must be mended first, or another process must end.
    Usage(String),
    /// The store fails.
    Store(String),
    Signal(EndSignal),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unusable(detail) => Self::Usage(detail),
            error => Self::Store(error.to_string()),
        }
    }
}

impl Failure {
    /// Prints it, and returns the exit code.
    fn report(&self) -> ExitCode {
        match self {
            Self::Usage(why) => super::fail_usage(why),
            Self::Store(why) => super::fail(why),
            Self::Signal(signal) => {
                super::print_stderr(&format!("error: ended by {}", signal.name));
                ExitCode::from(signal.exit_code)
            }
        }
    }
}

async fn forward(config: &Config) -> ExitCode {
    let mut signals = match EndSignals::listen() {
        Ok(signals) => signals,
        Err(error) => return super::fail(&format!("cannot listen to signals: {error}")),
    };
    let parts = tokio::select! {
        parts = Parts::set_up(config) => parts,
        signal = signals.next() => Err(Failure::Signal(signal)),
    };
    let Parts { engine, forwards, handle, session, task } = match parts {
        Ok(parts) => parts,
        Err(failure) => return failure.report(),
    };
    let result = tokio::select! {
        result = work(engine, &forwards, &handle) => result,
        _ = task => Err(Failure::Store("the session with the store has panicked".to_owned())),
        signal = signals.next() => Err(Failure::Signal(signal)),
    };
    // Whatever was under way has been given up, so nothing is written any more.
    tokio::select! {
        _ = timeout(LEAVE_TIMEOUT, session.leave()) => {}
        _ = signals.next() => {}
    }
    match result {
        Ok(report) => report.print(),
        Err(failure) => failure.report(),
    }
}

/// What fetches and what sends, and the store, which a session keeps.
struct Parts {
    engine: Engine,
    forwards: ForwardSettings,
    handle: StoreHandle,
    session: SessionHandle,
    task: JoinHandle<()>,
}

impl Parts {
    /// Builds the parts, and starts to ask for the store's lease.
    async fn set_up(config: &Config) -> Result<Self, Failure> {
        let is_wrong = |error: crate::upstream::SetupError| Failure::Usage(error.to_string());
        let engine =
            Engine::new(config, fastrand::u64(..), Repeat::Never, true).map_err(is_wrong)?;
        let forwards = ForwardSettings::new(&config.forward, config.public_url.as_ref());
        let forwards = forwards.map_err(is_wrong)?;
        let Some(store) = store_of(&config.store.url, Access::Exclusive)? else {
            return Err(Failure::Usage("`forward` needs a store; set `store.url`".to_owned()));
        };
        // Anything else is tried again by the session.
        if let Err(error @ StoreError::Unusable(_)) = store.prepare().await {
            return Err(error.into());
        }
        let handle = StoreHandle::new(store);
        configure_claims(&handle, config);
        let options = SessionOptions {
            keep: config.store.keep,
            wait_until: Instant::now() + LEASE_WAIT,
            seed: fastrand::u64(..),
        };
        let settings = session_settings(config, &engine.upstreams);
        let (session, directed) = Session::new(handle.clone(), settings, options);
        let task = tokio::spawn(session.run());
        Ok(Self { engine, forwards, handle, session: directed, task })
    }
}

/// Fetches, stores and sends while this process has the lease.
async fn work(
    engine: Engine,
    forwards: &ForwardSettings,
    handle: &StoreHandle,
) -> Result<Report, Failure> {
    let epoch = lease(handle).await?;
    tokio::select! {
        result = work_under(epoch, engine, forwards, handle) => result,
        () = end_of_lease(handle, epoch) => {
            let detail = last_error(handle);
            Err(Failure::Store(format!(
                "the store's lease was lost{detail}; run the command again: it goes on where this \
                 one has ended"
            )))
        }
    }
}

/// Waits for the lease.
async fn lease(handle: &StoreHandle) -> Result<Epoch, Failure> {
    let mut state = handle.subscribe();
    let epoch = async {
        loop {
            if let Some(epoch) = state.borrow_and_update().role.epoch(Instant::now()) {
                return epoch;
            }
            // The handle has a sender.
            let _ = state.changed().await;
        }
    };
    match timeout(LEASE_WAIT, epoch).await {
        Ok(epoch) => Ok(epoch),
        Err(_) if matches!(handle.state().role, Role::Follower { .. }) => Err(Failure::Usage(
            "store.url: another process has the lease of this store: a gateway, which forwards \
                 by itself, or another `forward`; run this one when it has ended"
                .to_owned(),
        )),
        Err(_) => Err(Failure::Store(format!("the store cannot be used{}", last_error(handle)))),
    }
}

async fn end_of_lease(handle: &StoreHandle, epoch: Epoch) {
    let mut state = handle.subscribe();
    let _ = state.wait_for(|state| state.role.epoch(Instant::now()) != Some(epoch)).await;
}

/// Why the store is down, as the end of a sentence.
fn last_error(handle: &StoreHandle) -> String {
    let state = handle.state();
    state.last_error().map(|error| format!(": {error}")).unwrap_or_default()
}

async fn work_under(
    epoch: Epoch,
    engine: Engine,
    forwards: &ForwardSettings,
    handle: &StoreHandle,
) -> Result<Report, Failure> {
    let Engine { refresh, snapshots, mut registry, .. } = engine;
    let refresh = refresh.with_store(StoreLink::from(handle).without_restoring());
    let mut progress = Progress::new();
    let snapshot = fan_out(refresh, snapshots.clone(), |snapshot| progress.draw(snapshot)).await;
    progress.print_failures(&snapshot);
    let metrics = StoreMetrics::register(&mut registry, handle);
    let stored = Recorder::new(handle.clone(), snapshots, metrics).write_once().await;
    stored.map_err(|error| {
        Failure::Store(format!("what was fetched cannot be stored: {error}; nothing was sent"))
    })?;
    let report = Report::of_sources(&snapshot);
    // Its data is stored, and may take much memory.
    drop(snapshot);
    progress.begin_below();
    let statuses = watch::Sender::new(ForwardStatuses::default());
    let draw = async {
        let mut statuses = statuses.subscribe();
        while statuses.changed().await.is_ok() {
            progress.draw_forwards(&statuses.borrow_and_update());
            sleep(DRAW_INTERVAL).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = send_due(handle, forwards, epoch, fastrand::u64(..), &statuses) => outcomes,
        () = draw => unreachable!("there is a sender"),
    };
    let statuses = statuses.borrow();
    progress.draw_forwards(&statuses);
    Ok(report.with_forwards(outcomes, &statuses))
}
