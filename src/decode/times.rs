//! What the timestamps of a batch have in common.

/// The valid timestamps of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The least; infinity where there is none.
    pub earliest: f64,
    /// The greatest; negative infinity where there is none.
    pub latest: f64,
}

impl Times {
    pub(super) const NONE: Self = Self { earliest: f64::INFINITY, latest: f64::NEG_INFINITY };

    #[inline]
    pub(super) fn note(&mut self, timestamp: f64) {
        // An invalid one is NaN, which `min` and `max` pass over.
        self.earliest = self.earliest.min(timestamp);
        self.latest = self.latest.max(timestamp);
    }
}
