//! The store in a `SQLite` file, for one process.
//!
//! Operations run on threads of their own: writes on one of low priority, reads for the refresh and
//! for forwards on two of low priority, and questions to the history on two of ordinary priority.
//! Readers have connections of their own, and see the last transaction that was committed
//! (write-ahead log), so that no write holds them up.

mod counters;
mod expiry;
mod fault;
mod forgotten;
mod forwarding;
mod forwarding_due;
mod history;
mod indexes;
mod lane;
mod open;
mod opened_file;
mod ranges;
mod read;
mod record_set;
mod schema;
mod sequences;
mod summary;
mod upkeep;
mod values;
mod write;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::time::Instant;

use self::fault::Fault;
use self::forgotten::Forgotten;
use self::lane::Lane;
pub use self::open::Access;
use self::open::Cache;
use self::opened_file::OpenedFile;
use super::{
    Advance, Content, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, ForwardStore, Heads,
    HistoryFilter, HistoryPage, HistoryQuery, HistorySummary, KeptUp, Lease, RecordChunk,
    SourceWrite, Store, StoreError, StoreFuture, StoreKey, StoredForward, Version, Written,
};
use crate::background::CpuPool;
use crate::clock::WallClock;
use crate::config::ForwardFrom;

/// How long an operation may take, its wait for others included. A first write of many records on a
/// slow disk takes minutes.
const WRITE_BOUND: Duration = Duration::from_mins(5);
const READ_BOUND: Duration = Duration::from_secs(30);

/// How many operations of a kind wait or run.
const MAX_OPERATIONS: usize = 64;

/// How many questions to the history wait or run; more are refused.
const MAX_HISTORY_QUERIES: usize = 32;

/// How many threads answer questions to the history.
const HISTORY_THREADS: usize = 2;

/// How many threads read for the refresh and for forwards.
const READ_THREADS: usize = 2;

/// After a write of this many records, the write-ahead log is emptied.
const LARGE_WRITE_RECORDS: usize = 10_000;

/// The one process has the lease for ever.
const EPOCH: Epoch = Epoch(1);
const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

/// A store in a `SQLite` file.
pub struct SqliteStore {
    access: Access,
    clock: WallClock,
    writer: Lane,
    readers: Lane,
    history: Lane,
    forgotten: Arc<Forgotten>,
    opened: OpenedFile,
}

impl SqliteStore {
    /// The store in the file at `path`, which is absolute. The file is opened by
    /// [`Store::prepare`].
    ///
    /// # Errors
    ///
    /// When the system refuses threads.
    pub fn open(path: &Path, access: Access, clock: WallClock) -> Result<Arc<Self>, StoreError> {
        let opened = OpenedFile::new(path);
        let lane = |pool: std::io::Result<CpuPool>, cache, places| match pool {
            Ok(pool) => Ok(Lane::new(pool, opened.clone(), cache, places)),
            Err(error) => Err(StoreError::Unavailable(format!(
                "cannot start threads for the history database: {error}"
            ))),
        };
        let reader = CpuPool::new("store-read", Some(READ_THREADS));
        let history = CpuPool::of_ordinary_priority("history", Some(HISTORY_THREADS));
        Ok(Arc::new(Self {
            access,
            clock,
            writer: lane(CpuPool::new("store-write", Some(1)), Cache::Large, MAX_OPERATIONS)?,
            readers: lane(reader, Cache::Small, MAX_OPERATIONS)?,
            history: lane(history, Cache::Large, MAX_HISTORY_QUERIES)?,
            forgotten: Arc::default(),
            opened,
        }))
    }

    fn now(&self) -> f64 {
        values::seconds(self.clock.now())
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.readers.run(READ_BOUND, work).boxed()
    }

    fn modify<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let opened = self.opened.clone();
        self.writer
            .run(WRITE_BOUND, move |connection| {
                opened.check_file()?;
                work(connection)
            })
            .boxed()
    }

    fn modify_as<T: Send + 'static>(
        &self,
        epoch: Epoch,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        if epoch != EPOCH {
            return async { Err(StoreError::LeaseLost) }.boxed();
        }
        self.modify(work)
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.history.try_run(READ_BOUND, work).boxed()
    }

    /// Empties the write-ahead log behind a large write, unless a reader needs it.
    fn empty_log(&self) {
        self.writer.start(|connection| {
            connection.busy_timeout(Duration::ZERO)?;
            upkeep::truncate_log(connection)?;
            open::wait_for_locks(connection)
        });
    }
}

impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        let (opened, access) = (self.opened.clone(), self.access);
        async move {
            let open = self.writer.run_unconnected(WRITE_BOUND, move || opened.open(access));
            if let Some(connection) = open.await? {
                self.writer.put(connection);
            }
            Ok(())
        }
        .boxed()
    }

    fn take_generation(&self, at_least: u64) -> StoreFuture<'_, u64> {
        self.modify(move |connection| upkeep::take_generation(connection, at_least))
    }

    fn acquire_or_renew<'a>(&'a self, _: &'a KeptUp) -> StoreFuture<'a, Lease> {
        let until = Instant::now() + FOREVER;
        self.read(move |_| Ok(Lease::Held { epoch: EPOCH, until }))
    }

    /// The process is about to end: the database becomes one file.
    fn release(&self, epoch: Epoch) -> StoreFuture<'_, ()> {
        self.modify_as(epoch, |connection| {
            connection.busy_timeout(Duration::ZERO)?;
            // If a reader needs the log, the next process moves it into the database.
            let _ = upkeep::truncate_log(connection)?;
            open::wait_for_locks(connection)
        })
    }

    fn notified(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn heads(&self) -> StoreFuture<'_, Heads> {
        let now = self.now();
        self.read(move |connection| read::heads(connection, now))
    }

    fn sequence<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Vec<Version>> {
        let (source, forgotten) = (source.to_owned(), Arc::clone(&self.forgotten));
        self.read(move |connection| read::sequence(connection, &forgotten, &source))
    }

    fn records<'a>(&'a self, versions: &'a [Version]) -> StoreFuture<'a, RecordChunk> {
        let mut versions = versions.to_owned();
        self.read(move |connection| read::records(connection, &mut versions))
    }

    fn table<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        let source = source.to_owned();
        self.read(move |connection| read::table(connection, &source))
    }

    fn write(&self, epoch: Epoch, write: SourceWrite) -> StoreFuture<'_, Written> {
        async move {
            let is_large = match &write.content {
                Some(Content::Records(changes)) => {
                    changes.upserts.len() + changes.left.len() >= LARGE_WRITE_RECORDS
                }
                _ => false,
            };
            let (forgotten, now) = (Arc::clone(&self.forgotten), self.now());
            let written = self.modify_as(epoch, move |connection| {
                write::write(connection, &forgotten, now, &write)
            });
            let written = written.await?;
            if is_large {
                self.empty_log();
            }
            Ok(written)
        }
        .boxed()
    }

    fn retain_sources<'a>(&'a self, epoch: Epoch, names: &'a [String]) -> StoreFuture<'a, ()> {
        let names = names.to_owned();
        self.modify_as(epoch, move |connection| upkeep::retain_sources(connection, &names))
    }

    fn save_limits<'a>(
        &'a self,
        epoch: Epoch,
        limits: &'a [(String, usize)],
    ) -> StoreFuture<'a, ()> {
        let limits = limits.to_owned();
        self.modify_as(epoch, move |connection| upkeep::save_limits(connection, &limits))
    }

    fn delete_expired<'a>(
        &'a self,
        epoch: Epoch,
        keep: Duration,
        forwards: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64> {
        let before = self.now() - keep.as_secs_f64();
        let claims = forwards.to_owned();
        self.modify_as(epoch, move |connection| expiry::delete_batch(connection, before, &claims))
    }

    fn key(&self) -> StoreFuture<'_, StoreKey> {
        self.ask(|connection| read::key(connection))
    }

    fn history(&self, query: HistoryQuery) -> StoreFuture<'_, HistoryPage> {
        self.ask(move |connection| history::page(connection, &query))
    }

    fn summary(&self, filter: HistoryFilter) -> StoreFuture<'_, HistorySummary> {
        self.ask(move |connection| summary::summary(connection, &filter))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        self.read(|connection| read::count(connection))
    }

    fn forget<'a>(&'a self, employee_id: &'a str) -> StoreFuture<'a, u64> {
        let employee_id = employee_id.to_owned();
        self.modify(move |connection| upkeep::forget(connection, &employee_id))
    }
}

impl ForwardStore for SqliteStore {
    fn begin_forwards<'a>(
        &'a self,
        epoch: Epoch,
        forwards: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()> {
        let forwards = forwards.to_owned();
        self.modify_as(epoch, move |connection| forwarding::begin_forwards(connection, &forwards))
    }

    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>> {
        self.read(|connection| forwarding::forwards(connection))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        self.read(move |connection| forwarding_due::page(connection, &query))
    }

    fn count_due(&self, range: DueRange) -> StoreFuture<'_, u64> {
        self.read(move |connection| forwarding_due::count(connection, &range))
    }

    fn advance(&self, epoch: Epoch, advance: Advance) -> StoreFuture<'_, ()> {
        let now = self.now();
        self.modify_as(epoch, move |connection| forwarding::advance(connection, now, &advance))
    }
}
