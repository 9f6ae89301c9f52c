//! Forwards with a scripted receiver and a store in memory, on paused time.

mod command;
mod delivery;
mod faults;
mod followers;
mod gaps;
mod leases;
mod random;
mod splitting;
mod statuses;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::target::{Outlet, Target};
use super::forwarders::Supervisor;
use super::status::Board;
use super::{ForwardMetrics, ForwardState, ForwardStatus, ForwardStatuses};
use crate::config::{Batch, Forward, ForwardFormat, ForwardFrom};
use crate::store::testing::MemoryStore;
use crate::store::{
    Epoch, ForwardStore as _, Operation, Role, StableId, StoreHandle, StoredForward, Upsert,
};

/// Longer than anything that a test waits for.
const LONG: Duration = Duration::from_hours(1000);

/// A forward that begins with the oldest record and sends at once.
fn forward(name: &str) -> Forward {
    let url = "http://receiver.example/".parse().unwrap();
    let batch = Batch { max_records: 10, max_bytes: 1 << 20, max_wait: Duration::ZERO };
    let from = ForwardFrom::Beginning;
    Forward { batch, from, ..Forward::new(name, url, ForwardFormat::Ndjson) }
}

/// A process with forwards.
struct Process {
    handle: StoreHandle,
    outlets: watch::Sender<Vec<Arc<Outlet>>>,
    statuses: watch::Receiver<ForwardStatuses>,
    metrics: ForwardMetrics,
    task: JoinHandle<()>,
}

impl Process {
    /// A process that has no lease yet.
    fn start(store: &Arc<MemoryStore>, outlets: Vec<Arc<Outlet>>) -> Self {
        let handle = StoreHandle::new(Arc::clone(store) as _);
        configure_claims(&handle, &outlets);
        let metrics = ForwardMetrics::default();
        let board = Board::new(watch::Sender::default(), metrics.clone());
        let outlets = watch::Sender::new(outlets);
        let (statuses, seed) = (board.subscribe(), 7);
        let supervisor = Supervisor::new(handle.clone(), outlets.subscribe(), board, seed);
        handle.note(Operation::Session, &Ok(()));
        let task = tokio::spawn(supervisor.run());
        Self { handle, outlets, statuses, metrics, task }
    }

    /// A process with one forward, which has the first lease.
    async fn leader(store: &Arc<MemoryStore>, forward: Forward, target: &Arc<Target>) -> Self {
        let process = Self::start(store, vec![Outlet::new(forward, target)]);
        process.lead(store).await;
        process
    }

    /// Takes the next lease, and begins the forwards.
    async fn lead(&self, store: &Arc<MemoryStore>) {
        let epoch = next_epoch(store);
        let outlets = self.outlets.borrow().clone();
        let names = outlets.iter().map(|outlet| {
            let Forward { name, from, .. } = &outlet.forward;
            (name.clone(), *from)
        });
        store.begin_forwards(epoch, &names.collect::<Vec<_>>()).await.unwrap();
        self.set_role(Role::Leader { epoch, until: Instant::now() + LONG });
    }

    fn set_role(&self, role: Role) {
        self.handle.update(|state| state.role = role);
    }

    fn set(&self, outlets: Vec<Arc<Outlet>>) {
        configure_claims(&self.handle, &outlets);
        self.outlets.send_replace(outlets);
    }

    fn note_write(&self) {
        self.handle.note(Operation::Write, &Ok(()));
    }

    /// The status of the only forward.
    fn status(&self) -> ForwardStatus {
        self.statuses.borrow()[0].clone()
    }

    /// Waits for a status of the only forward.
    async fn wait_for(&self, is_expected: impl Fn(&ForwardStatus) -> bool) -> ForwardStatus {
        let mut statuses = self.statuses.clone();
        let found = statuses.wait_for(|statuses| is_expected(&statuses[0]));
        let found = tokio::time::timeout(LONG, found).await;
        let found = found.unwrap_or_else(|_| panic!("{:?}", self.status()));
        found.unwrap()[0].clone()
    }

    /// Waits until nothing is due.
    async fn idle(&self) -> ForwardStatus {
        self.wait_for(|status| status.lag == Some(0) && status.state == ForwardState::Idle).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn configure_claims(handle: &StoreHandle, outlets: &[Arc<Outlet>]) {
    let forwards = outlets.iter().map(|outlet| &outlet.forward);
    handle.claims().configure(forwards.map(|forward| (&*forward.name, &forward.select)));
}

/// Takes the lease from whoever has it.
fn next_epoch(store: &MemoryStore) -> Epoch {
    let mut memory = store.memory();
    memory.epoch += 1;
    Epoch(memory.epoch)
}

/// Stores new records of an employee; returns their numbers.
fn add(store: &MemoryStore, records: usize, employee_id: Option<&str>) -> Vec<i64> {
    let now = store.now();
    let mut memory = store.memory();
    let numbers = (0..records).map(|_| {
        let number = memory.last_number + 1;
        let record = Upsert {
            id: id_of(number),
            bytes: Bytes::from_static(br#"{"ip":"10.0.0.1"}"#),
            employee_id: employee_id.map(Into::into),
            priority: None,
            timestamp: None,
            reason: None,
        };
        memory.upsert("denial", record, now);
        number
    });
    numbers.collect()
}

/// The id of the record that had this number first.
fn id_of(number: i64) -> StableId {
    StableId::of_id("denial", &number.to_le_bytes())
}

/// The numbers of records.
fn list(numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    numbers.into_iter().collect()
}

/// What is stored of a forward.
fn stored(store: &MemoryStore, name: &str) -> StoredForward {
    store.memory().forwards[name].clone()
}

/// How often each record became a dead letter.
fn dead_letters(store: &MemoryStore) -> BTreeMap<i64, usize> {
    let mut numbers = BTreeMap::new();
    for (_, letter, _) in &store.memory().dead_letters {
        *numbers.entry(letter.number).or_default() += 1;
    }
    numbers
}

/// Lets all tasks do what they can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}
