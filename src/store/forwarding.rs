//! What the store keeps of forwards: how far each has come, and what its receiver has refused.

use super::{Epoch, HistoryRow, StableId, StoreFuture};
use crate::config::{ForwardFrom, Selection};

/// The operations of a [`Store`](super::Store) for forwarding. What is said there of bounds, of
/// dropped futures and of the [`Epoch`] holds here too.
///
/// A forward goes through the records in the order of their numbers. Its position is the number up
/// to which all records that it selects are done: sent, or put aside as dead letters.
pub trait ForwardStore: Send + Sync + 'static {
    /// Begins the positions of those of these forwards that have none.
    /// [`StoredForward::start`] follows from [`ForwardFrom`]; the position is the same number, or
    /// 0.
    fn begin_forwards<'a>(
        &'a self,
        epoch: Epoch,
        forwards: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()>;

    /// What is stored of all forwards, configured or not, by name.
    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>>;

    /// The next records that a forward sends.
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage>;

    /// How many records there are that a forward has yet to send.
    fn count_due(&self, range: DueRange) -> StoreFuture<'_, u64>;

    /// Moves the position of a forward, adds to its counts, keeps its new dead letters and its
    /// report, in one transaction. It fails with [`StoreError::Outdated`](super::StoreError) if the
    /// position is not [`Advance::from`], as after an advance whose outcome was unknown. A dead
    /// letter whose record was deleted meanwhile, as by `forget`, is counted, but not kept.
    fn advance(&self, epoch: Epoch, advance: Advance) -> StoreFuture<'_, ()>;
}

/// What is stored of a forward.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredForward {
    /// Its name.
    pub name: String,
    /// The number up to which all records that it selects are done.
    pub position: i64,
    /// For a forward that began at [`ForwardFrom::Now`]: the greatest number that was taken when
    /// it began. `None` for one that began with the oldest record.
    pub start: Option<i64>,
    /// How many records were sent since the position began.
    pub sent: u64,
    /// How many records have become dead letters since then: refused by the receiver, or deleted
    /// by `keep` before they were sent.
    pub dead_letters: u64,
    /// Its last trouble.
    pub report: ForwardReport,
}

/// The last trouble of a forward.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ForwardReport {
    /// Whether its last request has failed, so that it is tried again.
    pub is_retrying: bool,
    /// Why its last request failed, or its last record was refused; for the operator.
    pub last_error: Option<String>,
}

/// The records that a forward has yet to send: those that it selects with a number above `after`.
///
/// With a `start`, records are left out that were stored before it began, and those of the first
/// stored refresh of their source. That is about when a record was stored first: when it gets its
/// employee later, it takes a new number, but is left out nevertheless.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DueRange {
    /// The number above which records are.
    pub after: i64,
    /// As [`StoredForward::start`].
    pub start: Option<i64>,
    /// Which records are selected.
    pub selection: Selection,
}

/// Asks for the next records that a forward sends.
#[derive(Clone, Debug, PartialEq)]
pub struct DueQuery {
    /// From which records.
    pub range: DueRange,
    /// The most records.
    pub limit: usize,
    /// The page ends early where the bytes of its records reach this many, but has at least one
    /// record if one was found.
    pub max_bytes: usize,
}

/// Some of the records that a forward has yet to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// The records, in the order of their numbers. Their `last_seen` and `is_current` mean nothing.
    pub rows: Vec<HistoryRow>,
    /// All records up to this number are in the page, were in one before, or are not selected. At
    /// least `after`.
    pub through: i64,
    /// Whether there was nothing behind `through`. A page may also end because it has enough, or
    /// because many records in a row are not selected.
    pub is_end: bool,
}

/// How a forward has gone on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advance {
    /// The forward's name.
    pub name: String,
    /// Its position before.
    pub from: i64,
    /// Its position from now on; at least `from`.
    pub to: i64,
    /// How many records were sent.
    pub sent: u64,
    /// The records that the receiver has refused.
    pub dead_letters: Vec<DeadLetter>,
    /// Its last trouble.
    pub report: ForwardReport,
}

/// A record that a receiver has refused. It is kept as long as `store.keep`, by the store's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The record's number.
    pub number: i64,
    /// Its stable id.
    pub id: StableId,
    /// The name of its source.
    pub source: String,
    /// Its employee, by whom `forget` deletes the dead letter too.
    pub employee_id: Option<String>,
    /// The HTTP status of the answer, or of the record's item in it.
    pub status: u16,
    /// The begin of what the receiver said, at most 200 bytes.
    pub answer: String,
}

/// What a forward that is configured means for the deletion of expired records.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardClaim {
    /// Its name.
    pub name: String,
    /// Which records it selects. Those that are deleted before they were sent are counted among its
    /// dead letters.
    pub selection: Selection,
    /// The records above its position up to this number are being sent, and are not deleted.
    pub sending_through: i64,
    /// Records above its position that are done, in order. They may be deleted, and are not counted
    /// among its dead letters.
    pub done: Vec<i64>,
}
