//! The store: the history of records, last good data, and what processes that share it agree on.
//!
//! [`Store`] is what the product needs of a database. It has two implementations, for SQLite (one
//! process) and for PostgreSQL (several). Nothing that callers wait for depends on it, but for the
//! history: the refresh publishes first, and what it has published is stored behind it.

mod claims;
mod codes;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
mod forwarding;
mod handle;
mod history;
mod lease;
mod metrics;
pub mod postgres;
mod record;
mod recorder;
mod sequence;
mod session;
mod source;
pub mod sqlite;
mod state;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use futures::future::BoxFuture;

pub use claims::{Claims, Deletion};
pub use error::StoreError;
pub use forwarding::{
    Advance, DeadLetter, DuePage, DueQuery, DueRange, ForwardClaim, ForwardReport, ForwardStore,
    StoredForward,
};
pub use handle::{Operation, StoreHandle};
pub use history::{
    HistoryFilter, HistoryPage, HistoryPosition, HistoryQuery, HistoryRow, HistorySummary,
    MAX_TOP_EMPLOYEES, StoreKey, SummaryCell, SummaryEmployee,
};
pub use lease::{Epoch, Lease};
pub use metrics::StoreMetrics;
pub use record::{RecordChunk, StableId, StoredRecord, Upsert, Version};
pub use recorder::Recorder;
pub use session::{
    Beginnings, Departure, Session, SessionHandle, SessionOptions, SessionSettings, first_answer,
};
pub use source::{
    Content, Heads, RecordChanges, SequenceItem, SourceHead, SourceReport, SourceWrite, Written,
};
pub use state::{KeptUp, Role, StoreState};

/// The result of an operation of a [`Store`].
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A database that remembers.
///
/// Every operation is bounded in time, and fails with [`StoreError::Unavailable`] when the bound is
/// exceeded. Dropping a future gives its operation up; a transaction is then rolled back or
/// completed, never left open.
///
/// Operations that write take the [`Epoch`] of the lease under which they write, and fail with
/// [`StoreError::LeaseLost`] if it is not the newest any more, or has expired.
pub trait Store: ForwardStore {
    /// `sqlite` or `postgres`, for logs and `/sources`.
    fn kind(&self) -> &'static str;

    /// Makes the store ready: connects, creates or migrates the schema. It may be called again
    /// after a failure, and does nothing when the store is ready.
    fn prepare(&self) -> StoreFuture<'_, ()>;

    /// Takes a number that no process has had before on this store: greater than `at_least` and all
    /// numbers that were taken. Event ids begin with it.
    fn take_generation(&self, at_least: u64) -> StoreFuture<'_, u64>;

    // The lease. SQLite has one process, which always gets it.

    /// Takes the lease if nobody holds it, or renews that of this process. `kept_up` says what this
    /// process refreshes while it is the holder.
    fn acquire_or_renew<'a>(&'a self, kept_up: &'a KeptUp) -> StoreFuture<'a, Lease>;

    /// Gives the lease back, so that another process can take it at once.
    fn release(&self, epoch: Epoch) -> StoreFuture<'_, ()>;

    /// Waits until another process has written, as far as the database tells. Without
    /// notifications it waits for ever, so callers poll as well.
    fn notified(&self) -> BoxFuture<'_, ()>;

    // What processes read, to serve it.

    /// What is stored of each source, without its records.
    fn heads(&self) -> StoreFuture<'_, Heads>;

    /// The versions of the records of a source's last good data, in upstream order. A version is
    /// repeated if equal records are. Versions that [`Self::records`] does not know were deleted.
    fn sequence<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Vec<Version>>;

    /// The records with these versions, in any order. At most 10,000 at a time.
    fn records<'a>(&'a self, versions: &'a [Version]) -> StoreFuture<'a, RecordChunk>;

    /// The content of an identity table, as it was written.
    fn table<'a>(&'a self, source: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;

    // What the holder of the lease writes.

    /// Writes what a refresh of a source has brought, in one transaction. It fails with
    /// [`StoreError::Outdated`] if the source has another revision than
    /// [`SourceWrite::based_on`]. A failure of a source that has no data under its fingerprint
    /// stores nothing.
    fn write(&self, epoch: Epoch, write: SourceWrite) -> StoreFuture<'_, Written>;

    /// Makes the records of all sources but these no longer current. Nothing else of them is served
    /// any more: they have no head, an empty sequence and no table.
    fn retain_sources<'a>(&'a self, epoch: Epoch, names: &'a [String]) -> StoreFuture<'a, ()>;

    /// Keeps the concurrency limits that were found, by the name of the upstream.
    fn save_limits<'a>(
        &'a self,
        epoch: Epoch,
        limits: &'a [(String, usize)],
    ) -> StoreFuture<'a, ()>;

    /// Deletes one batch of records that have not been current for `keep`, and of dead letters that
    /// are older; returns how many of both. Zero means that there are none left; then nothing was
    /// written. Records that one of the forwards is sending are left, and those that it has not
    /// sent are counted among its dead letters. Forwards that have not begun claim and count
    /// nothing.
    fn delete_expired<'a>(
        &'a self,
        epoch: Epoch,
        keep: Duration,
        forwards: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64>;

    // The history.

    /// The store's key.
    fn key(&self) -> StoreFuture<'_, StoreKey>;

    /// One page of the history.
    fn history(&self, query: HistoryQuery) -> StoreFuture<'_, HistoryPage>;

    /// Counts of the history.
    fn summary(&self, filter: HistoryFilter) -> StoreFuture<'_, HistorySummary>;

    /// How many records there are, current or not.
    fn count(&self) -> StoreFuture<'_, u64>;

    /// Deletes all records of an employee; returns how many. The dead letters of these records and
    /// of the employee go with them. It needs no lease. The holder notices by
    /// [`StoreError::Forgotten`] at its next write.
    fn forget<'a>(&'a self, employee_id: &'a str) -> StoreFuture<'a, u64>;
}
