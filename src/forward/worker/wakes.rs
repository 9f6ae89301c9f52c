//! When there may be more to do.

use tokio::time::Instant;

/// Collects when there may be more to do if nothing happens before.
pub(super) struct Wakes {
    pub(super) now: Instant,
    earliest: Option<Instant>,
}

impl Wakes {
    pub(super) fn new(now: Instant) -> Self {
        Self { now, earliest: None }
    }

    /// Whether to wait, and then until when.
    pub(super) fn until(&mut self, at: Option<Instant>) -> bool {
        self.earliest = self.earliest.into_iter().chain(at).min();
        at.is_some()
    }

    /// The earliest time that was collected.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }
}
