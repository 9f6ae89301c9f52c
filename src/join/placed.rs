//! A record in its place.

use std::cmp::Ordering;

use crate::decode::{Record, Span};

/// A record in an employee's group. There are as many as records, so it is kept to 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placed {
    /// Seconds since the epoch, finite.
    pub timestamp: f64,
    /// Where its tail stands: all that it has after the opening brace.
    start: u32,
    length: u16,
    /// The source's index, and two flags below it.
    source: u16,
}

const HAS_TYPE: u16 = 1;
const HAS_EMPLOYEE_ID: u16 = 2;
const FLAGS: u32 = 2;

/// The largest index of a source.
pub(super) const MAX_SOURCE: u16 = u16::MAX >> FLAGS;

/// The length of a tail that is as long or longer.
const LONG: u16 = u16::MAX;

impl Placed {
    #[inline]
    pub(super) fn new(record: &Record, source: u16) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags =
            flag(record.has_type(), HAS_TYPE) | flag(record.has_employee_id(), HAS_EMPLOYEE_ID);
        let unplaced = Self {
            timestamp: record.timestamp(),
            start: 0,
            length: 0,
            source: source << FLAGS | flags,
        };
        unplaced.at(record.tail())
    }

    /// The order of a group: by time, ties in the order of the sources, then upstream order.
    #[inline]
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let place = |placed: &Self| (placed.source(), placed.start);
        self.timestamp.total_cmp(&other.timestamp).then_with(|| place(self).cmp(&place(other)))
    }

    /// The same record with its tail elsewhere.
    #[inline]
    fn at(&self, tail: Span) -> Self {
        Self { start: tail.start, length: u16::try_from(tail.length).unwrap_or(LONG), ..*self }
    }

    /// The same record, copied to a text that has the gateway's `type` in place of its own.
    #[must_use]
    pub fn copied_to(&self, tail: Span) -> Self {
        let copy = self.at(tail);
        Self { source: copy.source & !HAS_TYPE, ..copy }
    }

    /// Where its tail stands: all that it has after the opening brace. `long` finds the tails of 64
    /// KiB and more by their begin.
    #[must_use]
    #[inline]
    pub fn tail(&self, long: impl FnOnce(u32) -> Span) -> Span {
        match self.length {
            LONG => long(self.start),
            length => Span { start: self.start, length: length.into() },
        }
    }

    /// Whether the tail has 64 KiB or more, so that its length stands elsewhere.
    #[must_use]
    #[inline]
    pub fn is_long(&self) -> bool {
        self.length == LONG
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
