//! The store in a PostgreSQL database, which several processes may share.
//!
//! One of them holds the lease: a row with an epoch and the time at which it expires. Each
//! transaction that writes locks that row before it commits, if the row still has the epoch.
//! Whoever takes a lease that has expired first ends the sessions of its former holder, so that a
//! process that was stopped in the middle of a write neither commits it nor delays others.
//!
//! All times are those of the database's clock; this process's wall clock does not matter.

mod codes;
mod connect;
mod deletion;
mod due;
mod fault;
mod forgotten;
mod forwarding;
mod history;
mod lane;
mod lease;
mod listen;
mod read;
mod report;
mod schema;
mod summary;
#[cfg(test)]
mod tests;
mod upsert;
mod write;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::fault::{Failure, Place};
use self::forgotten::Forgotten;
use self::lane::{Lane, ServerBounds};
use self::lease::HeldEpoch;
use self::listen::Listener;
use super::{
    Advance, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, ForwardStore, Heads, HistoryFilter,
    HistoryPage, HistoryQuery, HistorySummary, KeptUp, Lease, RecordChunk, SourceWrite, Store,
    StoreError, StoreFuture, StoreKey, StoredForward, Version, Written,
};
use crate::config::{ForwardFrom, Postgres};
use crate::hex;

/// How long an operation of one kind may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// In all, with the wait for a connection.
    operation: Duration,
    server: ServerBounds,
}

impl Bounds {
    const fn from_secs(operation: u64, statement: u64, lock: u64) -> Self {
        Self {
            operation: Duration::from_secs(operation),
            server: ServerBounds {
                statement: Duration::from_secs(statement),
                lock: Duration::from_secs(lock),
            },
        }
    }
}

/// Short, so that a renewal that hangs can be tried again before the lease expires.
const SESSION: Bounds = Bounds::from_secs(4, 3, 2);

/// Reading up to 10,000 large records.
const READ: Bounds = Bounds::from_secs(30, 25, 5);

const HISTORY: Bounds = Bounds::from_secs(30, 25, 5);

/// A first write may have millions of records, of which a statement writes a few thousand.
const WRITE: Bounds = Bounds::from_secs(600, 30, 20);

/// One statement ends all records of a source.
const RETAIN: Bounds = Bounds::from_secs(600, 120, 20);

/// Shorter than the lease lasts, without which a forward cannot move.
const FORWARD: Bounds = Bounds::from_secs(8, 6, 4);

/// Counting all records that a forward has yet to send.
const COUNT: Bounds = Bounds::from_secs(15, 12, 5);

const MIGRATION: Bounds = Bounds::from_secs(300, 240, 60);

/// The lease is renewed, and the schema prepared, by one connection, which nothing else uses.
const SESSION_CONNECTIONS: usize = 1;

/// Sources are restored by these.
const READ_CONNECTIONS: usize = 2;

/// What is written is written in order.
const WRITE_CONNECTIONS: usize = 1;

const HISTORY_CONNECTIONS: usize = 2;

/// What forwards read, and where they stand.
const FORWARD_CONNECTIONS: usize = 2;

/// Counts may take long; nothing else waits for them.
const COUNT_CONNECTIONS: usize = 1;

/// How many questions to the history may be asked and wait at a time.
const MAX_HISTORY_QUERIES: usize = 32;

/// A PostgreSQL database.
pub struct PostgresStore {
    place: Place,
    /// Identifies this process among those that share the database, and its sessions.
    instance: String,
    session: Lane,
    reads: Lane,
    writes: Lane,
    histories: Lane,
    forwards: Lane,
    counts: Lane,
    history_queries: Semaphore,
    listener: Listener,
    /// Whether the schema was found to be this program's.
    is_prepared: AtomicBool,
    /// The version of the schema, as last seen.
    schema_version: AtomicI32,
    forgotten: Forgotten,
    held: HeldEpoch,
}

impl PostgresStore {
    /// The store in this database. It is not connected to before [`Store::prepare`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if the authorities to check its certificate with cannot be read.
    pub fn new(config: &Postgres) -> Result<Self, StoreError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).expect("the system has random numbers");
        let id = hex::digits(id);
        let id = id.as_flattened().iter().copied().map(char::from);
        // PostgreSQL shortens names of more than 63 bytes.
        let instance: String = "incident-gateway-".chars().chain(id).collect();
        let tls = connect::tls(config)?;
        let client = connect::client_config(config, &instance);
        Ok(Self {
            place: Place::new(config),
            session: Lane::new(&client, &tls, SESSION_CONNECTIONS),
            reads: Lane::new(&client, &tls, READ_CONNECTIONS),
            writes: Lane::new(&client, &tls, WRITE_CONNECTIONS),
            histories: Lane::new(&client, &tls, HISTORY_CONNECTIONS),
            forwards: Lane::new(&client, &tls, FORWARD_CONNECTIONS),
            counts: Lane::new(&client, &tls, COUNT_CONNECTIONS),
            history_queries: Semaphore::new(MAX_HISTORY_QUERIES),
            listener: Listener::new(client, tls, &instance),
            instance,
            is_prepared: AtomicBool::new(false),
            schema_version: AtomicI32::new(schema::SCHEMA_VERSION),
            forgotten: Forgotten::default(),
            held: HeldEpoch::default(),
        })
    }

    /// Runs an operation, unless the schema has become newer than this program.
    async fn run<T>(
        &self,
        bounds: Bounds,
        operation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        self.check_schema(self.schema_version.load(Ordering::Relaxed))?;
        self.run_unchecked(bounds, operation).await
    }

    async fn run_unchecked<T>(
        &self,
        bounds: Bounds,
        operation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        let result = timeout(bounds.operation, operation).await.unwrap_or(Err(Failure::TimedOut));
        result.map_err(|failure| {
            if failure.is_missing_table() {
                self.is_prepared.store(false, Ordering::Relaxed);
            }
            self.place.describe(failure)
        })
    }

    /// Notes the version of the schema, and fails if this program is too old for it.
    fn check_schema(&self, version: i32) -> Result<(), StoreError> {
        self.schema_version.store(version, Ordering::Relaxed);
        if version <= schema::SCHEMA_VERSION {
            return Ok(());
        }
        // Not `Unusable`: a process that serves goes on without the store.
        Err(StoreError::Unavailable(schema::newer(version, &self.place)))
    }

    async fn prepare_schema(&self) -> Result<(), StoreError> {
        if self.is_prepared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let migrated = async {
            let connection = self.session.connection(MIGRATION.server).await?;
            schema::migrate(connection, &self.place).await
        };
        self.run_unchecked(MIGRATION, migrated).await?;
        self.is_prepared.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.prepare_schema())
    }

    fn take_generation(&self, at_least: u64) -> StoreFuture<'_, u64> {
        Box::pin(self.run(SESSION, self.next_generation(at_least)))
    }

    fn acquire_or_renew<'a>(&'a self, kept_up: &'a KeptUp) -> StoreFuture<'a, Lease> {
        Box::pin(self.run_unchecked(SESSION, self.acquire_or_renew_lease(kept_up)))
    }

    fn release(&self, epoch: Epoch) -> StoreFuture<'_, ()> {
        Box::pin(self.run(SESSION, self.release_lease(epoch)))
    }

    fn notified(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.listener.notified())
    }

    fn heads(&self) -> StoreFuture<'_, Heads> {
        Box::pin(self.run(READ, self.read_heads()))
    }

    fn sequence<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Vec<Version>> {
        Box::pin(self.run(READ, self.read_sequence(source)))
    }

    fn records<'a>(&'a self, versions: &'a [Version]) -> StoreFuture<'a, RecordChunk> {
        Box::pin(self.run(READ, self.read_records(versions)))
    }

    fn table<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(self.run(READ, self.read_table(source)))
    }

    fn write(&self, epoch: Epoch, write: SourceWrite) -> StoreFuture<'_, Written> {
        Box::pin(self.run(WRITE, self.write_source(epoch, write)))
    }

    fn retain_sources<'a>(&'a self, epoch: Epoch, names: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(self.run(RETAIN, self.retain_only(epoch, names)))
    }

    fn save_limits<'a>(
        &'a self,
        epoch: Epoch,
        limits: &'a [(String, usize)],
    ) -> StoreFuture<'a, ()> {
        Box::pin(self.run(READ, self.write_limits(epoch, limits)))
    }

    fn delete_expired<'a>(
        &'a self,
        epoch: Epoch,
        keep: Duration,
        forwards: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64> {
        Box::pin(self.run(READ, self.delete_one_batch(epoch, keep, forwards)))
    }

    fn key(&self) -> StoreFuture<'_, StoreKey> {
        Box::pin(self.run(HISTORY, self.read_key()))
    }

    fn history(&self, query: HistoryQuery) -> StoreFuture<'_, HistoryPage> {
        Box::pin(async move { self.run(HISTORY, self.read_history(&query)).await })
    }

    fn summary(&self, filter: HistoryFilter) -> StoreFuture<'_, HistorySummary> {
        Box::pin(async move { self.run(HISTORY, self.read_summary(&filter)).await })
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.run(READ, self.read_count()))
    }

    fn forget<'a>(&'a self, employee_id: &'a str) -> StoreFuture<'a, u64> {
        Box::pin(self.run(WRITE, self.forget_employee(employee_id)))
    }
}

impl ForwardStore for PostgresStore {
    fn begin_forwards<'a>(
        &'a self,
        epoch: Epoch,
        forwards: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()> {
        Box::pin(self.run(FORWARD, self.begin_positions(epoch, forwards)))
    }

    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>> {
        Box::pin(self.run(FORWARD, self.read_forwards()))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        Box::pin(async move { self.run(READ, self.read_due(&query)).await })
    }

    fn count_due(&self, range: DueRange) -> StoreFuture<'_, u64> {
        Box::pin(async move { self.run(COUNT, self.read_due_count(&range)).await })
    }

    fn advance(&self, epoch: Epoch, advance: Advance) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.run(FORWARD, self.advance_forward(epoch, &advance)).await })
    }
}
