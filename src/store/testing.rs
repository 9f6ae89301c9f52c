//! A store in memory for unit tests. It counts its operations, and can fail, hang, lose its lease
//! or lose the answer of a write. Its clock is tokio's.

mod forwarding;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{
    DeadLetter, Epoch, ForwardClaim, Heads, HistoryFilter, HistoryPage, HistoryQuery,
    HistorySummary, KeptUp, Lease, RecordChunk, SourceHead, SourceReport, SourceWrite, Store,
    StoreError, StoreFuture, StoreKey, StoredForward, StoredRecord, Upsert, Version, Written,
};
use crate::sources::Fingerprint;

/// A stored record.
#[derive(Clone, Debug)]
pub(crate) struct StoredRow {
    pub(crate) number: i64,
    /// The number that it had first.
    pub(crate) first_number: i64,
    pub(crate) source: String,
    pub(crate) record: Upsert,
    pub(crate) first_seen: SystemTime,
    /// `None` while it is current.
    pub(crate) last_seen: Option<SystemTime>,
}

/// What is stored of a source.
#[derive(Clone, Debug)]
pub(crate) struct StoredSource {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) revision: i64,
    pub(crate) fetched_at: SystemTime,
    pub(crate) report: SourceReport,
    pub(crate) sequence: Vec<Version>,
    pub(crate) table: Option<Vec<u8>>,
}

/// What is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) records: BTreeMap<Version, StoredRow>,
    pub(crate) sources: BTreeMap<String, StoredSource>,
    pub(crate) limits: Vec<(String, usize)>,
    /// The last writes that succeeded.
    pub(crate) writes: Vec<SourceWrite>,
    /// The newest lease.
    pub(crate) epoch: u64,
    /// What another process keeps up while it holds the lease.
    pub(crate) other: Option<KeptUp>,
    last_version: i64,
    pub(crate) last_number: i64,
    /// The greatest number after the first write of records, by source.
    first_through: BTreeMap<String, i64>,
    /// What is stored of forwards.
    pub(crate) forwards: BTreeMap<String, StoredForward>,
    /// Dead letters, with the name of their forward and when they were stored.
    pub(crate) dead_letters: Vec<(String, DeadLetter, SystemTime)>,
    pub(crate) last_revision: i64,
    generation: u64,
    forgotten: u64,
    /// `forgotten` when this process first read or wrote, or first did so after it was told.
    read_forgotten: Option<u64>,
    calls: BTreeMap<&'static str, usize>,
    fault: Option<StoreError>,
    /// The source whose writes fail.
    unwritable: Option<&'static str>,
    loses_answers: bool,
    delay: Duration,
}

/// A store in memory.
pub(crate) struct MemoryStore {
    memory: Mutex<Memory>,
    is_hanging: watch::Sender<bool>,
    started: Instant,
}

impl MemoryStore {
    /// An empty store, whose lease nobody holds.
    pub(crate) fn new() -> Arc<Self> {
        let (memory, is_hanging) = (Mutex::default(), watch::Sender::new(false));
        Arc::new(Self { memory, is_hanging, started: Instant::now() })
    }

    /// What is stored, to look at or to change.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no operation panics")
    }

    /// How often an operation was called, by the name of its method.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.memory().calls.get(operation).copied().unwrap_or_default()
    }

    /// Lets all operations fail, or succeed again.
    pub(crate) fn fail(&self, fault: Option<StoreError>) {
        self.memory().fault = fault;
    }

    /// Lets the writes of a source fail, or succeed again.
    pub(crate) fn fail_writes_of(&self, source: Option<&'static str>) {
        self.memory().unwritable = source;
    }

    /// Lets all operations hang, or go on.
    pub(crate) fn hang(&self, is_hanging: bool) {
        self.is_hanging.send_replace(is_hanging);
    }

    /// Sets how long each operation takes.
    pub(crate) fn delay(&self, delay: Duration) {
        self.memory().delay = delay;
    }

    /// Lets writes take effect and then fail, as if the connection broke after COMMIT.
    pub(crate) fn lose_answers(&self, loses_answers: bool) {
        self.memory().loses_answers = loses_answers;
    }

    /// Its clock.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000) + self.started.elapsed()
    }

    fn operation<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        apply: impl FnOnce(&mut Memory, SystemTime) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        async move {
            *self.memory().calls.entry(name).or_default() += 1;
            let delay = self.memory().delay;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let mut is_hanging = self.is_hanging.subscribe();
            is_hanging.wait_for(|is_hanging| !is_hanging).await.expect("the store lives");
            let now = self.now();
            let mut memory = self.memory();
            match memory.fault.clone() {
                Some(fault) => Err(fault),
                None => apply(&mut memory, now),
            }
        }
        .boxed()
    }
}

impl Memory {
    /// The current records of a source in upstream order.
    pub(crate) fn current(&self, source: &str) -> Vec<&StoredRow> {
        let sequence = self.sources.get(source).map_or(&[][..], |source| &source.sequence);
        sequence.iter().filter_map(|version| self.records.get(version)).collect()
    }

    fn check(&self, epoch: Epoch) -> Result<(), StoreError> {
        if self.other.is_some() || epoch.0 != self.epoch {
            return Err(StoreError::LeaseLost);
        }
        Ok(())
    }

    /// Deletes the records for which `is_deleted` returns true.
    fn delete(&mut self, is_deleted: impl Fn(&StoredRow) -> bool) -> u64 {
        let before = self.records.len();
        self.records.retain(|_, row| !is_deleted(row));
        (before - self.records.len()) as u64
    }
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        self.operation("prepare", |_, _| Ok(()))
    }

    fn take_generation(&self, at_least: u64) -> StoreFuture<'_, u64> {
        self.operation("take_generation", move |memory, _| {
            memory.generation = at_least.max(memory.generation + 1);
            Ok(memory.generation)
        })
    }

    fn acquire_or_renew<'a>(&'a self, _: &'a KeptUp) -> StoreFuture<'a, Lease> {
        const LEASE: Duration = Duration::from_secs(10);
        let until = Instant::now() + LEASE;
        self.operation("acquire_or_renew", move |memory, _| match &memory.other {
            Some(kept_up) => Ok(Lease::Other { kept_up: kept_up.clone() }),
            None => {
                memory.epoch = memory.epoch.max(1);
                Ok(Lease::Held { epoch: Epoch(memory.epoch), until })
            }
        })
    }

    fn release(&self, epoch: Epoch) -> StoreFuture<'_, ()> {
        self.operation("release", move |memory, _| {
            memory.check(epoch)?;
            memory.epoch += 1;
            Ok(())
        })
    }

    fn notified(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn heads(&self) -> StoreFuture<'_, Heads> {
        self.operation("heads", |memory, now| {
            let head = |(name, source): (&String, &StoredSource)| SourceHead {
                name: name.clone(),
                fingerprint: source.fingerprint,
                revision: source.revision,
                age: now.duration_since(source.fetched_at).unwrap_or_default(),
                fetched_at: source.fetched_at,
                report: source.report.clone(),
            };
            let sources = memory.sources.iter().map(head).collect();
            Ok(Heads { sources, limits: memory.limits.clone() })
        })
    }

    fn sequence<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Vec<Version>> {
        self.operation("sequence", move |memory, _| {
            memory.read_forgotten.get_or_insert(memory.forgotten);
            let source = memory.sources.get(source);
            Ok(source.map_or_else(Vec::new, |source| source.sequence.clone()))
        })
    }

    fn records<'a>(&'a self, versions: &'a [Version]) -> StoreFuture<'a, RecordChunk> {
        self.operation("records", move |memory, _| {
            let mut chunk = RecordChunk::default();
            for version in versions {
                let Some(StoredRow { record, .. }) = memory.records.get(version) else { continue };
                chunk.push(StoredRecord {
                    version: *version,
                    id: record.id,
                    bytes: &record.bytes,
                    employee_id: record.employee_id.as_deref(),
                    priority: record.priority,
                    timestamp: record.timestamp,
                    reason: record.reason,
                });
            }
            Ok(chunk)
        })
    }

    fn table<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.operation("table", move |memory, _| {
            Ok(memory.sources.get(source).and_then(|source| source.table.clone()))
        })
    }

    fn write(&self, epoch: Epoch, write: SourceWrite) -> StoreFuture<'_, Written> {
        self.operation("write", move |memory, now| {
            memory.check(epoch)?;
            if memory.unwritable.is_some_and(|source| source == write.name) {
                return Err(StoreError::Unavailable("the disk is full".to_owned()));
            }
            let written = memory.write(write, now)?;
            if memory.loses_answers {
                return Err(StoreError::Unavailable("the answer was lost".to_owned()));
            }
            Ok(written)
        })
    }

    fn retain_sources<'a>(&'a self, epoch: Epoch, names: &'a [String]) -> StoreFuture<'a, ()> {
        self.operation("retain_sources", move |memory, _| {
            memory.check(epoch)?;
            let is_gone = |name: &String| !names.contains(name);
            for (name, source) in &mut memory.sources {
                if is_gone(name) && !source.sequence.is_empty() {
                    source.sequence.clear();
                    memory.last_revision += 1;
                    source.revision = memory.last_revision;
                }
            }
            for row in memory.records.values_mut() {
                if is_gone(&row.source) && row.last_seen.is_none() {
                    let last_success = memory.sources[&row.source].fetched_at;
                    row.last_seen = Some(last_success.max(row.first_seen));
                }
            }
            Ok(())
        })
    }

    fn save_limits<'a>(
        &'a self,
        epoch: Epoch,
        limits: &'a [(String, usize)],
    ) -> StoreFuture<'a, ()> {
        self.operation("save_limits", move |memory, _| {
            memory.check(epoch)?;
            memory.limits = limits.to_vec();
            Ok(())
        })
    }

    fn delete_expired<'a>(
        &'a self,
        epoch: Epoch,
        keep: Duration,
        forwards: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64> {
        self.operation("delete_expired", move |memory, now| {
            memory.check(epoch)?;
            Ok(memory.delete_expired(keep, forwards, now))
        })
    }

    fn key(&self) -> StoreFuture<'_, StoreKey> {
        self.operation("key", |_, _| Err(no_queries()))
    }

    fn history(&self, _: HistoryQuery) -> StoreFuture<'_, HistoryPage> {
        self.operation("history", |_, _| Err(no_queries()))
    }

    fn summary(&self, _: HistoryFilter) -> StoreFuture<'_, HistorySummary> {
        self.operation("summary", |_, _| Err(no_queries()))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        self.operation("count", |memory, _| Ok(memory.records.len() as u64))
    }

    fn forget<'a>(&'a self, employee_id: &'a str) -> StoreFuture<'a, u64> {
        self.operation("forget", move |memory, _| {
            memory.forgotten += 1;
            let is_of_employee = |of: Option<&str>| of == Some(employee_id);
            let deleted = memory.records.values().map(|row| &row.record);
            let deleted = deleted.filter(|record| is_of_employee(record.employee_id.as_deref()));
            let deleted: Vec<_> = deleted.map(|record| record.id).collect();
            memory.dead_letters.retain(|(_, letter, _)| {
                !is_of_employee(letter.employee_id.as_deref()) && !deleted.contains(&letter.id)
            });
            Ok(memory.delete(|row| is_of_employee(row.record.employee_id.as_deref())))
        })
    }
}

fn no_queries() -> StoreError {
    StoreError::Unavailable("a store in memory answers no questions to the history".to_owned())
}

/// The bytes of stored rows, as text.
pub(crate) fn texts(rows: &[&StoredRow]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    rows.iter().map(|row| text(&row.record.bytes)).collect()
}
