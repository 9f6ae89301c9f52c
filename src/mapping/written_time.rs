//! A time as it is written, before it is an instant.

use jiff::civil::DateTime;

/// A time as it is written: of a clock, at an offset from UTC if one is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct WrittenTime {
    /// To the second.
    pub(super) clock: DateTime,
    /// What is finer, and a leap second.
    pub(super) micros: i64,
    /// In seconds, east of Greenwich.
    pub(super) offset: Option<i32>,
}
