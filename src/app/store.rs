//! The store of a gateway: opens it before the gateway serves, runs the tasks that keep it, and
//! gives its lease back when the gateway stops.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::StartError;
use crate::background::Background;
use crate::clock::WallClock;
use crate::config::{Config, StoreUrl};
use crate::forward::{
    ForwardMetrics, ForwardSettings, ForwardStatuses, Forwarders, ForwardersHandle,
};
use crate::http::event_generation;
use crate::snapshot::Snapshot;
use crate::sources;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{Access, SqliteStore};
use crate::store::{
    Departure, KeptUp, Operation, Recorder, Role, Session, SessionHandle, SessionOptions,
    SessionSettings, Store, StoreError, StoreHandle, StoreMetrics, first_answer,
};
use crate::upstream::Upstreams;

/// How long calls that are under way may still bring something to write before a lease is given
/// back for which others wait. They take over within 2 s.
const SHARED_WRITE_TIMEOUT: Duration = Duration::from_millis(800);

/// The same where nobody waits.
const LONE_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most time for giving the lease back after that.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A store that is open, or cannot be reached at present.
pub struct OpenStore {
    /// Its connections are served by these threads, as are the tasks that keep it.
    pub(super) background: Background,
    pub(super) handle: StoreHandle,
    /// The number that the ids of events begin with.
    pub(super) event_generation: u64,
    /// Until when the refresh waits for it.
    wait_until: Instant,
    keep: Duration,
    is_shared: bool,
    seed: u64,
}

impl OpenStore {
    /// Opens the store of the configuration, if it has one; waits for it at most
    /// `response_budget`. `seed` determines all jitter.
    ///
    /// # Errors
    ///
    /// When the store cannot be right before the operator does something, or a thread cannot be
    /// started. A database that cannot be reached is no error: the gateway serves without it.
    pub async fn open(config: &Config, seed: u64) -> Result<Option<Self>, StartError> {
        let wait_until = Instant::now() + config.response_budget;
        let Some(store) =
            store_of(&config.store.url, Access::Exclusive).map_err(StartError::Store)?
        else {
            return Ok(None);
        };
        let background = Background::start().map_err(StartError::System)?;
        let handle = StoreHandle::new(store);
        let contact = {
            let handle = handle.clone();
            let at_least = event_generation(SystemTime::now());
            background.spawn(async move { first_answer(&handle, wait_until, at_least, seed).await })
        };
        let event_generation = contact.await.map_err(|panic| {
            StartError::Store(StoreError::Unavailable(format!(
                "the store cannot be opened: {panic}"
            )))
        })?;
        Ok(Some(Self {
            background,
            handle,
            event_generation: event_generation.map_err(StartError::Store)?,
            wait_until,
            keep: config.store.keep,
            is_shared: matches!(config.store.url, StoreUrl::Postgres(_)),
            seed,
        }))
    }
}

impl OpenStore {
    /// Starts the tasks that keep the store, on its threads, which are returned.
    pub(super) fn start(
        self,
        config: &Config,
        upstreams: &Arc<Upstreams>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        forwards: ForwardSettings,
        (metrics, forward_metrics): (StoreMetrics, ForwardMetrics),
    ) -> (Background, RunningStore) {
        let Self { background, handle, wait_until, keep, is_shared, seed, .. } = self;
        let options = SessionOptions { keep, wait_until, seed };
        configure_claims(&handle, config);
        let settings = session_settings(config, upstreams);
        let (session, directed) = Session::new(handle.clone(), settings, options);
        let recorder = Recorder::new(handle.clone(), snapshots, metrics);
        let (forwarders, forwarders_handle) =
            Forwarders::new(handle.clone(), forwards, forward_metrics, seed);
        let (session_handle, departure) = (Arc::new(directed), Departure::default());
        let keeper = Keeper {
            handle,
            session: Arc::clone(&session_handle),
            departure: departure.clone(),
            write_timeout: if is_shared { SHARED_WRITE_TIMEOUT } else { LONE_WRITE_TIMEOUT },
        };
        let handle = keeper.handle.clone();
        let task = background.spawn(keeper.run(session.run(), recorder.run(), forwarders.run()));
        let store = RunningStore {
            handle,
            session: session_handle,
            forwarders: forwarders_handle,
            departure,
            is_shared,
            task,
        };
        (background, store)
    }
}

/// The store that is configured. It is opened when it is prepared.
///
/// # Errors
///
/// When it cannot be right, or the system refuses threads.
pub(crate) fn store_of(
    url: &StoreUrl,
    access: Access,
) -> Result<Option<Arc<dyn Store>>, StoreError> {
    Ok(match url {
        StoreUrl::None => None,
        StoreUrl::Sqlite(path) => Some(SqliteStore::open(path, access, WallClock::system())?),
        StoreUrl::Postgres(postgres) => Some(Arc::new(PostgresStore::new(postgres)?)),
    })
}

/// What the session does its work for under this configuration.
pub(crate) fn session_settings(config: &Config, upstreams: &Arc<Upstreams>) -> SessionSettings {
    let (names, definitions) = (sources::names(config), sources::definitions(config));
    let sources = names.iter().zip(&definitions);
    let kept_up = sources.map(|(name, of)| (name.to_string(), of.fingerprint())).collect();
    let forwards = config.forward.iter().map(|forward| (forward.name.clone(), forward.from));
    SessionSettings {
        kept_up: KeptUp(Arc::new(kept_up)),
        upstreams: Arc::clone(upstreams),
        forwards: forwards.collect(),
    }
}

/// Tells the deletion of expired records which forwards this configuration has.
pub(crate) fn configure_claims(handle: &StoreHandle, config: &Config) {
    let forwards = config.forward.iter().map(|forward| (forward.name.as_str(), &forward.select));
    handle.claims().configure(forwards);
}

/// The tasks that keep the store of a running gateway.
pub(super) struct RunningStore {
    handle: StoreHandle,
    session: Arc<SessionHandle>,
    forwarders: ForwardersHandle,
    departure: Departure,
    is_shared: bool,
    task: JoinHandle<()>,
}

impl RunningStore {
    /// `sqlite` or `postgres`.
    pub(super) fn kind(&self) -> &'static str {
        self.handle.store().kind()
    }

    /// How far each forward has come.
    pub(super) fn forwards(&self) -> watch::Receiver<ForwardStatuses> {
        self.forwarders.statuses()
    }

    /// Does its work for another configuration from now on. `forwards` are its forwards, if they
    /// are others than before.
    pub(super) fn set(
        &self,
        config: &Config,
        upstreams: &Arc<Upstreams>,
        forwards: Option<ForwardSettings>,
    ) {
        // Before a new forward sends anything, which it claims.
        configure_claims(&self.handle, config);
        self.session.set(session_settings(config, upstreams));
        if let Some(forwards) = forwards {
            self.forwarders.set(forwards);
        }
    }

    /// Begins to give the lease back, if others wait for it: they refresh while this process
    /// drains.
    pub(super) fn drain(&self) {
        if self.is_shared {
            self.departure.ask();
        }
    }

    /// Writes what is not written yet, gives the lease back, and waits for both.
    pub(super) async fn close(&self) {
        self.departure.ask();
        self.departure.completed().await;
    }
}

impl Drop for RunningStore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs the tasks, and looks after their end.
struct Keeper {
    handle: StoreHandle,
    session: Arc<SessionHandle>,
    departure: Departure,
    write_timeout: Duration,
}

impl Keeper {
    async fn run(
        self,
        session: impl Future<Output = ()> + Send + 'static,
        recorder: impl Future<Output = ()> + Send + 'static,
        forwarders: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut session = Task(tokio::spawn(session));
        let mut recorder = Task(tokio::spawn(recorder));
        let mut forwarders = Task(tokio::spawn(forwarders));
        let ended = tokio::select! {
            () = self.departure.asked() => None,
            Err(_) = &mut session.0 => Some("the session with the store"),
            // It may also end with the refresh, and then the gateway ends, too.
            Err(_) = &mut recorder.0 => Some("the recorder of the store"),
            Err(_) = &mut forwarders.0 => Some("the task of the forwards"),
        };
        if ended.is_none() {
            self.handle.update(|state| state.is_leaving = true);
            let both = async { tokio::join!(recorder.ended(), forwarders.ended()) };
            if timeout(self.write_timeout, both).await.is_err() {
                if !recorder.0.is_finished() {
                    tracing::warn!("the newest data was not stored in time");
                }
                if !forwarders.0.is_finished() {
                    tracing::warn!(
                        "a receiver has not answered in time; what it was sent is sent again"
                    );
                }
            }
        }
        drop((recorder, forwarders));
        if timeout(LEAVE_TIMEOUT, self.session.leave()).await.is_err() {
            tracing::warn!("the store did not answer in time; its lease runs out by itself");
        }
        self.departure.complete();
        let part = match ended {
            Some(part) => part,
            // Until the process ends, it serves what others store.
            None => {
                let _ = (&mut session.0).await;
                "the session with the store"
            }
        };
        drop(session);
        tracing::error!(part, "a task has panicked; the store is not used until a restart");
        self.handle.update(|state| state.role = Role::Detached);
        let fault = format!("{part} has panicked: restart the gateway");
        self.handle.note::<()>(Operation::Session, &Err(StoreError::Unavailable(fault)));
    }
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Task {
    async fn ended(&mut self) {
        // The result of a task can be taken once.
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
