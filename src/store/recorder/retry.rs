//! When an operation that has failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The failures of an operation since it last succeeded.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    at: Option<Instant>,
}

impl Retry {
    /// Notes a failure; the next pause is twice as long as the one before, up to a bound.
    pub(super) fn note_failure(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + pause.min(MAX_PAUSE));
    }

    /// How often the operation has failed since it last succeeded.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the operation has failed since it last succeeded.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Until when the operation is not to be tried again.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.at.filter(|at| *at > now)
    }
}
