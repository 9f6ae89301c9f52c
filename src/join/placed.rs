//! A record in its place.

use std::cmp::Ordering;

use crate::decode::{Record, Span};

/// A record in an employee's group. There are as many as records, so it is kept to 24 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placed {
    /// Seconds since the epoch, finite.
    pub timestamp: f64,
    /// Where its tail stands: all that it has after the opening brace.
    start: u32,
    length: u32,
    /// The source's index, and two flags below it.
    source: u16,
}

const HAS_TYPE: u16 = 1;
const HAS_EMPLOYEE_ID: u16 = 2;
const FLAGS: u32 = 2;

/// The largest index of a source.
pub(super) const MAX_SOURCE: u16 = u16::MAX >> FLAGS;

impl Placed {
    #[inline]
    pub(super) fn new(record: &Record, source: u16) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags =
            flag(record.has_type(), HAS_TYPE) | flag(record.has_employee_id(), HAS_EMPLOYEE_ID);
        let tail = record.tail();
        Self {
            timestamp: record.timestamp(),
            start: tail.start,
            length: tail.length,
            source: source << FLAGS | flags,
        }
    }

    /// The order of a group: by time, ties in the order of the sources, then upstream order.
    #[inline]
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let place = |placed: &Self| (placed.source(), placed.start);
        self.timestamp.total_cmp(&other.timestamp).then_with(|| place(self).cmp(&place(other)))
    }

    /// Where its tail stands in its source's body: all that it has after the opening brace.
    #[must_use]
    #[inline]
    pub fn tail(&self) -> Span {
        Span { start: self.start, length: self.length }
    }

    /// The index of its source.
    #[must_use]
    #[inline]
    pub fn source(&self) -> usize {
        (self.source >> FLAGS).into()
    }

    /// Whether the record has a member `type` of its own.
    #[must_use]
    #[inline]
    pub fn has_type(&self) -> bool {
        self.source & HAS_TYPE != 0
    }

    /// Whether the record has a member `employee_id` of its own.
    #[must_use]
    #[inline]
    pub fn has_employee_id(&self) -> bool {
        self.source & HAS_EMPLOYEE_ID != 0
    }
}
