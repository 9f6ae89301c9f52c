//! `forward`: one fan-out, which is stored, and then whatever is due is sent to the receivers.
//!
//! Exit codes: 0 nothing is due any more, 3 the same but some records became dead letters, 1 some
//! are still due, no source answered, or the store cannot be reached or written, 2 bad usage or
//! configuration, or another process has the store's file or lease.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::fan_out::fan_out;
use super::progress::Progress;
use super::runtime::runtime;
use super::signals::{EndSignal, EndSignals};
use crate::app::{Engine, configure_claims, session_settings, store_of};
use crate::config::{self, Config, ConfigErrors, Environment, Overrides, StoreUrl};
use crate::forward::{ForwardSettings, ForwardStatuses, Outcome, send_due};
use crate::logging::Log;
use crate::refresh::{Repeat, StoreLink};
use crate::snapshot::Snapshot;
use crate::store::sqlite::Access;
use crate::store::{
    Epoch, Recorder, Role, Session, SessionHandle, SessionOptions, StoreError, StoreHandle,
    StoreMetrics,
};

/// The exit code when nothing is due any more, but some records became dead letters.
const DEAD_LETTERS_EXIT_CODE: u8 = 3;

/// How long another process's lease is waited for. That of a process that was killed runs out within
/// 10 s, and is looked at every second.
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
/// The errors of the configuration; missing credentials of upstreams are one. Files of `tls` and
/// `auth` need not be there.
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
    config.require_credentials()?;
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

/// What came of everything.
#[derive(Debug, Default)]
struct Report {
    /// How many sources and tables there are, and how many were read.
    sources: usize,
    read: usize,
    /// Whether there are incident sources, all of which have failed.
    have_all_failed: bool,
    forwards: Vec<Forwarded>,
}

/// What came of a forward.
#[derive(Debug)]
struct Forwarded {
    outcome: Outcome,
    /// Its last trouble.
    last_error: Option<String>,
}

impl Report {
    fn of_sources(snapshot: &Snapshot) -> Self {
        let sources = &snapshot.sources;
        Self {
            sources: sources.len(),
            read: sources.iter().filter(|source| source.fetched_at.is_some()).count(),
            have_all_failed: !sources.incidents().is_empty() && !snapshot.has_data(),
            forwards: Vec::new(),
        }
    }

    fn with_forwards(self, outcomes: Vec<Outcome>, statuses: &ForwardStatuses) -> Self {
        let last_error = |name: &str| {
            let status = statuses.iter().find(|status| status.name == name);
            status.and_then(|status| status.last_error.clone())
        };
        let forwarded = |outcome: Outcome| {
            let last_error = last_error(&outcome.name);
            Forwarded { outcome, last_error }
        };
        Self { forwards: outcomes.into_iter().map(forwarded).collect(), ..self }
    }

    /// Prints what went wrong and the summary, and returns the exit code.
    fn print(&self) -> ExitCode {
        for line in self.troubles() {
            super::print_stderr(&line);
        }
        let printed = super::print_stdout(&format!("{}\n", self.summary()));
        match self.exit_code() {
            0 => printed,
            code => ExitCode::from(code),
        }
    }

    fn exit_code(&self) -> u8 {
        let mut outcomes = self.forwards.iter().map(|forward| &forward.outcome);
        let is_done = |outcome: &Outcome| outcome.due == Some(0) && outcome.gave_up.is_none();
        if self.have_all_failed || !outcomes.clone().all(is_done) {
            1
        } else if outcomes.any(|outcome| outcome.dead_letters > 0) {
            DEAD_LETTERS_EXIT_CODE
        } else {
            0
        }
    }

    fn troubles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.have_all_failed {
            lines.push("error: no source answered; what is stored was sent".to_owned());
        }
        for Forwarded { outcome, last_error } in &self.forwards {
            let Outcome { name, dead_letters, gave_up, .. } = outcome;
            if let Some(why) = gave_up {
                lines.push(format!("error: forward {name}: {why}"));
            }
            if *dead_letters > 0 {
                let last = last_error.as_deref().filter(|_| gave_up.is_none());
                let last = last.map(|error| format!("; the last: {error}")).unwrap_or_default();
                let (letters, _) = plural(*dead_letters);
                lines.push(format!("warning: forward {name}: {dead_letters} {letters}{last}"));
            }
        }
        lines
    }

    /// One line, such as `read 3 of 4 sources; siem: 120 sent, 1 dead letter, 0 due`.
    fn summary(&self) -> String {
        let forwards = self.forwards.iter().map(|Forwarded { outcome, .. }| {
            let Outcome { name, sent, dead_letters, due, .. } = outcome;
            let due = due.map_or_else(|| "unknown".to_owned(), |due| due.to_string());
            let (_, letters) = plural(*dead_letters);
            format!("; {name}: {sent} sent, {dead_letters} {letters}, {due} due")
        });
        let forwards: String = forwards.collect();
        format!("read {} of {} sources{forwards}", self.read, self.sources)
    }
}

/// What a number of dead letters is of, in a sentence and as a figure.
fn plural(dead_letters: u64) -> (&'static str, &'static str) {
    match dead_letters {
        1 => ("record became a dead letter", "dead letter"),
        _ => ("records became dead letters", "dead letters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[(u64, u64, Option<u64>, Option<&str>)]) -> Report {
        let forwards = outcomes.iter().zip(["siem", "pager"]);
        let forwards = forwards.map(|(&(sent, dead_letters, due, gave_up), name)| {
            let (name, gave_up) = (name.to_owned(), gave_up.map(str::to_owned));
            let outcome = Outcome { name, sent, dead_letters, due, gave_up };
            Forwarded { outcome, last_error: Some("status 400: no".to_owned()) }
        });
        Report { sources: 4, read: 3, forwards: forwards.collect(), ..Report::default() }
    }

    #[test]
    fn the_exit_code_says_whether_all_was_sent() {
        let done = (7, 0, Some(0), None);
        let some_dead = (7, 1, Some(0), None);
        let some_due = (7, 0, Some(2), Some("gave up after 5 failures"));
        let unknown = (7, 0, None, Some("the store is down"));
        let code = |outcomes: &[_]| report(outcomes).exit_code();
        assert_eq!(code(&[done, done]), 0);
        assert_eq!(code(&[done, some_dead]), 3);
        assert_eq!(code(&[some_due, done]), 1);
        assert_eq!(code(&[some_dead, some_due]), 1);
        assert_eq!(code(&[done, unknown]), 1);
        let all_failed = Report { have_all_failed: true, ..report(&[done]) };
        assert_eq!(all_failed.exit_code(), 1);
    }

    #[test]
    fn the_summary_is_one_line_and_troubles_are_named() {
        let both = report(&[(120, 1, Some(0), None), (0, 2, Some(3), Some("it gave up"))]);
        assert_eq!(
            both.summary(),
            "read 3 of 4 sources; siem: 120 sent, 1 dead letter, 0 due; pager: 0 sent, 2 dead \
             letters, 3 due"
        );
        let expected = [
            "warning: forward siem: 1 record became a dead letter; the last: status 400: no",
            "error: forward pager: it gave up",
            "warning: forward pager: 2 records became dead letters",
        ];
        assert_eq!(both.troubles(), expected);
        let unknown = report(&[(1, 0, None, None)]);
        assert_eq!(
            unknown.summary(),
            "read 3 of 4 sources; siem: 1 sent, 0 dead letters, unknown due"
        );
        assert!(unknown.troubles().is_empty());
        let failed = Report { have_all_failed: true, ..Report::default() };
        assert_eq!(failed.troubles(), ["error: no source answered; what is stored was sent"]);
    }
}
