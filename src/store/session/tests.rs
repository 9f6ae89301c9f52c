mod fake;
mod first_answer;
mod forwards;
mod roles;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::fake::{Database, Link};
use super::{Session, SessionHandle, SessionOptions, SessionSettings};
use crate::config::{Config, ForwardFrom};
use crate::metrics;
use crate::sources::Fingerprint;
use crate::store::{KeptUp, Role, StoreHandle, StoreState};
use crate::upstream::{UpstreamMetrics, Upstreams};

/// How long a process waits for the store at its start.
const BUDGET: Duration = Duration::from_millis(1900);

/// A process whose session runs.
struct Process {
    handle: StoreHandle,
    session: SessionHandle,
    upstreams: Arc<Upstreams>,
    link: Arc<Mutex<Link>>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(database: &Arc<Database>, id: u32, link: Link) -> Self {
        Self::start_with(database, id, link, Duration::from_hours(24))
    }

    fn start_with(database: &Arc<Database>, id: u32, link: Link, keep: Duration) -> Self {
        Self::start_for(settings(&["denial"]), database, id, link, keep)
    }

    fn start_for(
        settings: SessionSettings,
        database: &Arc<Database>,
        id: u32,
        link: Link,
        keep: Duration,
    ) -> Self {
        let (store, connection) = database.connect(id);
        *connection.lock().unwrap() = link;
        let handle = StoreHandle::new(store);
        let options =
            SessionOptions { keep, wait_until: Instant::now() + BUDGET, seed: u64::from(id) };
        let upstreams = Arc::clone(&settings.upstreams);
        let (session, directed) = Session::new(handle.clone(), settings, options);
        let task = tokio::spawn(session.run());
        Self { handle, session: directed, upstreams, link: connection, task }
    }

    fn set_link(&self, link: Link) {
        *self.link.lock().unwrap() = link;
    }

    fn role(&self) -> Role {
        self.handle.state().role
    }

    /// The role in one word.
    fn role_name(&self) -> &'static str {
        match self.role() {
            Role::Waiting => "waiting",
            Role::Leader { .. } => "leader",
            Role::Follower { .. } => "follower",
            Role::Detached => "detached",
        }
    }

    fn holds_the_lease(&self) -> bool {
        self.role().epoch(Instant::now()).is_some()
    }

    /// Waits for a state, and returns how long that took.
    async fn becomes(&self, is_so: impl FnMut(&StoreState) -> bool) -> Duration {
        let started = Instant::now();
        let mut state = self.handle.subscribe();
        let most = Duration::from_mins(1);
        drop(timeout(most, state.wait_for(is_so)).await.expect("it becomes so").unwrap());
        started.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(names: &[&str]) -> SessionSettings {
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let upstreams = Upstreams::new(&Config::default(), &metrics, 7).unwrap();
    let forwards = Arc::default();
    SessionSettings { kept_up: kept_up(names), upstreams: Arc::new(upstreams), forwards }
}

/// Settings with these forwards, which begin alternately with now and with the oldest record.
fn with_forwards(names: &[&str]) -> SessionSettings {
    let from = [ForwardFrom::Now, ForwardFrom::Beginning].into_iter().cycle();
    let forwards = names.iter().zip(from).map(|(name, from)| ((*name).to_owned(), from));
    SessionSettings { forwards: forwards.collect(), ..settings(&["denial"]) }
}

fn kept_up(names: &[&str]) -> KeptUp {
    let entries = names.iter().map(|name| ((*name).to_owned(), Fingerprint([7; 32])));
    KeptUp(Arc::new(entries.collect::<BTreeSet<_>>()))
}

fn is_leader(state: &StoreState) -> bool {
    matches!(state.role, Role::Leader { .. })
}

fn is_follower(state: &StoreState) -> bool {
    matches!(state.role, Role::Follower { .. })
}

fn is_detached(state: &StoreState) -> bool {
    matches!(state.role, Role::Detached)
}

fn has_revision(revision: i64) -> impl FnMut(&StoreState) -> bool {
    move |state| {
        let heads = state.heads.as_ref();
        heads.is_some_and(|heads| heads.sources.iter().any(|head| head.revision == revision))
    }
}

async fn seconds(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}
