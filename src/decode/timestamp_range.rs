//! The range of a batch's timestamps.

use super::record::Record;

/// The earliest and the latest valid timestamp of a batch, in seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct TimestampRange {
    /// The earliest; infinity if there is none.
    pub earliest: f64,
    /// The latest; negative infinity if there is none.
    pub latest: f64,
}

impl TimestampRange {
    pub(super) const EMPTY: Self = Self { earliest: f64::INFINITY, latest: f64::NEG_INFINITY };

    /// The range of the timestamps of records.
    pub(super) fn of(records: &[Record]) -> Self {
        let mut range = Self::EMPTY;
        for record in records {
            range.include(record.timestamp);
        }
        range
    }

    #[inline]
    pub(super) fn include(&mut self, timestamp: f64) {
        // An invalid timestamp is NaN, which `min` and `max` ignore.
        self.earliest = self.earliest.min(timestamp);
        self.latest = self.latest.max(timestamp);
    }
}

impl Default for TimestampRange {
    fn default() -> Self {
        Self::EMPTY
    }
}
