//! Questions to the history, and their answers.

use std::fmt;

use crate::decode::Priority;
use crate::join::Reason;
use crate::store::StableId;

/// Which records of the history are asked for. A condition that is `None` holds for all; no
/// condition holds for a record that lacks the member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryFilter {
    /// The employees.
    pub employees: Option<Vec<String>>,
    /// The names of sources, configured or not.
    pub types: Option<Vec<String>>,
    /// The priorities.
    pub priorities: Option<Vec<Priority>>,
    /// The earliest time, in seconds since the epoch.
    pub since: Option<f64>,
    /// The time before which records are, in seconds since the epoch.
    pub until: Option<f64>,
    /// Whether the record is current.
    pub current: Option<bool>,
}

/// A page of the history: newest first by time, records without a time last, ties by number,
/// greatest first.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryQuery {
    /// Which records.
    pub filter: HistoryFilter,
    /// The last record of the page before this one.
    pub after: Option<HistoryPosition>,
    /// The most records.
    pub limit: usize,
    /// The page ends early where the bytes of its records reach this many, but has at least one
    /// record if there are any.
    pub max_bytes: usize,
}

/// The position of a record in the order of the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPosition {
    /// Its time, if it has one.
    pub timestamp: Option<f64>,
    /// Its number.
    pub number: i64,
}

/// A page of the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryPage {
    /// The records.
    pub rows: Vec<HistoryRow>,
    /// The position of the last record, if more records follow.
    pub next: Option<HistoryPosition>,
}

/// A record of the history. Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    /// Its stable id.
    pub id: StableId,
    /// Its number.
    pub number: i64,
    /// The name of its source.
    pub source: String,
    /// Its employee.
    pub employee_id: Option<String>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Its time.
    pub timestamp: Option<f64>,
    /// Why it has no employee.
    pub reason: Option<Reason>,
    /// When it was first seen.
    pub first_seen: f64,
    /// When it was last seen: for a current record, when its source last succeeded.
    pub last_seen: f64,
    /// Whether it is current.
    pub is_current: bool,
    /// Its bytes: of a mapped source, in their envelope.
    pub bytes: Vec<u8>,
}

/// A key that each store has made at random when it was created. It stays as long as the store, and
/// all processes that share it read the same.
#[derive(Clone, Eq, PartialEq)]
pub struct StoreKey(pub [u8; 16]);

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

/// How many employees a [`HistorySummary`] names, if there are so many.
pub const MAX_TOP_EMPLOYEES: usize = 20;

/// Counts of the records that have an employee, a priority and a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistorySummary {
    /// A cell for each source and priority with at least one record, in the order of the names.
    pub cells: Vec<SummaryCell>,
    /// How many records without an employee there are, whatever the filter.
    pub unattributed: u64,
    /// How many employees there are.
    pub employees: u64,
    /// The employees with most records, [`MAX_TOP_EMPLOYEES`] or more if there are so many: most
    /// first, then by the number of critical ones, then in the order of the document
    /// ([`OrderKey`](crate::join::OrderKey)).
    pub top_employees: Vec<SummaryEmployee>,
}

/// The records of a source with a priority.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryCell {
    /// The name of the source.
    pub source: String,
    /// The priority.
    pub priority: Priority,
    /// How many records.
    pub count: u64,
    /// The earliest time.
    pub earliest: f64,
    /// The latest time.
    pub latest: f64,
}

/// The records of an employee.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryEmployee {
    /// The id.
    pub employee_id: String,
    /// How many records, by priority from low to critical.
    pub priorities: [u64; 4],
    /// The latest time.
    pub latest: f64,
}
