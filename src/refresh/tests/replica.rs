//! A refresh with a store in memory, and what stores its snapshots as the recorder does.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::script::*;
use crate::refresh::*;
use crate::snapshot::SourceStatus;
use crate::sources::{SourceId, definitions};
use crate::store::testing::MemoryStore;
use crate::store::{
    Content, Epoch, KeptUp, RecordChanges, Role, SequenceItem, SourceReport, SourceWrite, StableId,
    Store as _, StoreHandle, Upsert, Version,
};

/// A process with a store.
pub(super) struct Replica {
    pub(super) bench: Bench,
    pub(super) handle: StoreHandle,
    store: Arc<MemoryStore>,
    task: JoinHandle<()>,
    pub(super) refresh: RefreshHandle,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The sources of [`settings`], as a process keeps them up.
pub(super) fn kept_up() -> KeptUp {
    let settings = settings();
    let sources = settings.sources.iter();
    let sources = sources.map(|source| (source.name.to_string(), source.definition.fingerprint()));
    KeptUp(Arc::new(sources.collect()))
}

impl Replica {
    /// A process whose store has not answered yet.
    pub(super) fn start(store: &Arc<MemoryStore>, answers: [Vec<Answer>; 3]) -> Self {
        Self::start_with(store, answers, settings())
    }

    pub(super) fn start_with(
        store: &Arc<MemoryStore>,
        answers: [Vec<Answer>; 3],
        settings: Settings,
    ) -> Self {
        let handle = StoreHandle::new(Arc::clone(store) as _);
        let (bench, refresh) = prepare(answers, settings, WallClock::system());
        let refresh = refresh.with_store(StoreLink::from(&handle));
        let reconfigure = refresh.handle();
        let task = tokio::spawn(refresh.run());
        Self { bench, handle, store: Arc::clone(store), task, refresh: reconfigure }
    }

    /// Gives it the lease.
    pub(super) async fn lead(&self, epoch: u64) {
        self.store.memory().epoch = epoch;
        let heads = self.store.heads().await.unwrap();
        let until = Instant::now() + Duration::from_hours(10);
        self.handle.update(|state| {
            state.heads = Some(Arc::new(heads));
            state.role = Role::Leader { epoch: Epoch(epoch), until };
        });
    }

    /// Lets it follow a process that keeps these sources up.
    pub(super) async fn follow(&self, kept_up: KeptUp) {
        let heads = self.store.heads().await.unwrap();
        self.handle.update(|state| {
            state.heads = Some(Arc::new(heads));
            state.role = Role::Follower { kept_up };
        });
    }

    /// Lets it look each second for what is stored, until the task is aborted.
    pub(super) fn keep_following(&self) -> JoinHandle<()> {
        let (store, handle) = (Arc::clone(&self.store), self.handle.clone());
        tokio::spawn(async move {
            loop {
                let heads = store.heads().await.unwrap();
                handle.update(|state| {
                    state.heads = Some(Arc::new(heads));
                    state.role = Role::Follower { kept_up: kept_up() };
                });
                tokio::time::sleep(seconds(1)).await;
            }
        })
    }

    pub(super) fn detach(&self) {
        self.handle.update(|state| state.role = Role::Detached);
    }

    /// Stores what it publishes under this lease, until the task is aborted.
    pub(super) fn keep_recording(&self, epoch: u64) -> JoinHandle<()> {
        let (store, mut snapshots) = (Arc::clone(&self.store), self.bench.snapshots.clone());
        tokio::spawn(async move {
            let mut recorder = Recorder { store, epoch, written: BTreeMap::new() };
            loop {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                recorder.record(&snapshot).await;
                if snapshots.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    /// How many calls it has made.
    pub(super) fn calls(&self) -> usize {
        self.bench.script.calls.lock().unwrap().len()
    }

    pub(super) fn status(&self, source: SourceId) -> SourceStatus {
        self.bench.snapshot().sources[source].clone()
    }

    pub(super) fn age(&self, source: SourceId) -> Duration {
        self.status(source).age(Instant::now()).expect("there is data")
    }
}

/// Writes each source whole.
struct Recorder {
    store: Arc<MemoryStore>,
    epoch: u64,
    /// What was last written of each source.
    written: BTreeMap<String, String>,
}

impl Recorder {
    async fn record(&mut self, snapshot: &Snapshot) {
        let definitions = definitions(&crate::config::Config::default());
        for (id, status) in snapshot.sources.entries() {
            if status.origin.and_then(|origin| origin.lease) != Some(self.epoch) {
                continue;
            }
            let known = format!(
                "{:?} {} {:?}",
                status.fetched_at,
                status.consecutive_failures,
                snapshot.view.id()
            );
            if self.written.insert(status.name.to_string(), known.clone()) == Some(known) {
                continue;
            }
            let content = match id {
                SourceId::Table(index) => {
                    let table = snapshot.view.tables()[index].as_ref().unwrap();
                    Content::Table(table.to_bytes())
                }
                SourceId::Incidents(index) => {
                    let batch = snapshot.view.batches()[index].as_ref().unwrap();
                    let bytes = batch.records().iter().map(|record| batch.bytes(record));
                    let bytes: Vec<Vec<u8>> = bytes.map(<[u8]>::to_vec).collect();
                    changes(&self.store, &status.name, &bytes)
                }
            };
            let age = status.age(Instant::now()).filter(|_| status.consecutive_failures == 0);
            let write = SourceWrite {
                name: status.name.to_string(),
                fingerprint: definitions[id].fingerprint(),
                based_on: None,
                age,
                report: report(status),
                content: Some(content).filter(|_| age.is_some()),
            };
            self.store.write(Epoch(self.epoch), write).await.unwrap();
        }
    }
}

fn report(status: &SourceStatus) -> SourceReport {
    let error = status.last_error.as_ref();
    SourceReport {
        records: status.records,
        bytes: status.bytes,
        pages: status.pages,
        consecutive_failures: status.consecutive_failures,
        last_error: error.map(|error| (error.kind.as_str().to_owned(), error.detail.clone())),
        last_duration: status.last_duration.map(|duration| duration.as_secs_f64()),
        resume: status.resume,
        ..SourceReport::default()
    }
}

/// The changes from what is stored of a source to these records.
fn changes(store: &MemoryStore, name: &str, records: &[Vec<u8>]) -> Content {
    let memory = store.memory();
    let stored: Vec<(StableId, Version)> = memory
        .records
        .iter()
        .filter(|(_, row)| row.source == name && row.last_seen.is_none())
        .map(|(version, row)| (row.record.id, *version))
        .collect();
    let ids: Vec<StableId> = records.iter().map(|bytes| StableId::of_bytes(name, bytes)).collect();
    let mut changes = RecordChanges::default();
    for (id, bytes) in ids.iter().zip(records) {
        if let Some((_, version)) = stored.iter().find(|(known, _)| known == id) {
            changes.sequence.push(SequenceItem::Stored(*version));
            continue;
        }
        let known = changes.upserts.iter().position(|upsert| upsert.id == *id);
        let index = known.unwrap_or_else(|| {
            changes.upserts.push(Upsert {
                id: *id,
                bytes: Bytes::from(bytes.clone()),
                employee_id: None,
                priority: None,
                timestamp: None,
                reason: None,
            });
            changes.upserts.len() - 1
        });
        changes.sequence.push(SequenceItem::Upsert(index));
    }
    let left = stored.iter().filter(|(id, _)| !ids.contains(id));
    changes.left = left.map(|(_, version)| *version).collect();
    Content::Records(changes)
}

/// Stores last good data of this age: of the table an object of addresses, of an incident source
/// its records.
pub(super) async fn stored(
    store: &Arc<MemoryStore>,
    source: SourceId,
    age: Duration,
    content: Stored<'_>,
    report: SourceReport,
) {
    let name = names()[source].to_string();
    let content = match content {
        Stored::Table(body) => {
            let table = crate::identity::IdentityTable::decode(Bytes::from(body.to_owned()));
            Some(Content::Table(table.unwrap().to_bytes()))
        }
        Stored::Records(whos) => {
            let records: Vec<Vec<u8>> = whos.iter().enumerate().map(record_bytes).collect();
            Some(changes(store, &name, &records))
        }
        Stored::Unchanged => None,
    };
    let fingerprint = settings().sources[source].definition.fingerprint();
    let epoch = Epoch(store.memory().epoch);
    let write = SourceWrite { name, fingerprint, based_on: None, age: Some(age), report, content };
    store.write(epoch, write).await.unwrap();
}

fn record_bytes((index, who): (usize, &&str)) -> Vec<u8> {
    format!(r#"{{"who":{who},"priority":"low","timestamp":{index}}}"#).into_bytes()
}

/// What is stored of a source.
#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    Table(&'a str),
    Records(&'a [&'a str]),
    Unchanged,
}

/// Stores last good data of all sources: an employee in `denial` and one in `probing`.
pub(super) async fn store_all(store: &Arc<MemoryStore>, age: Duration) {
    let report = || SourceReport { last_duration: Some(1.0), ..SourceReport::default() };
    stored(store, SourceId::Table(0), age, Stored::Table("{}"), report()).await;
    stored(store, DENIAL, age, Stored::Records(&["7"]), report()).await;
    stored(store, PROBING, age, Stored::Records(&["8"]), report()).await;
}

/// How each source answers in a test of one employee each.
pub(super) fn answers() -> [Vec<Answer>; 3] {
    [vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(1, &["8"])]]
}
