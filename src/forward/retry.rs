//! When what has failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

const MAX_PAUSE: Duration = Duration::from_mins(1);

/// The longest time that a receiver may ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The failures in a row of a receiver or of a store. Pauses double up to a bound. Each is between
/// half and all of that, so that several do not try again at the same time.
#[derive(Debug)]
pub(super) struct Retry {
    failures: u32,
    at: Option<Instant>,
    jitter: fastrand::Rng,
}

impl Retry {
    pub(super) fn new(seed: u64) -> Self {
        Self { failures: 0, at: None, jitter: fastrand::Rng::with_seed(seed) }
    }

    /// Notes a failure. The pause is at least as long as the receiver has asked for.
    pub(super) fn note_failure(&mut self, now: Instant, retry_after: Option<Duration>) {
        let most = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        let pause = most.mul_f64(0.5 + self.jitter.f64() / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)));
    }

    pub(super) fn note_success(&mut self) {
        self.failures = 0;
        self.at = None;
    }

    /// How many failures there were since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when nothing is to be tried.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.at.filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_not_below_what_the_receiver_asks_for() {
        let now = Instant::now();
        let pause = |retry: &Retry| retry.waits_until(now).unwrap() - now;
        for seed in 0..20 {
            let mut retry = Retry::new(seed);
            for _ in 0..2 {
                let mut most = FIRST_PAUSE;
                for failures in 1..10 {
                    retry.note_failure(now, None);
                    assert_eq!(retry.failures(), failures);
                    assert!(most / 2 <= pause(&retry) && pause(&retry) <= most);
                    most = (most * 2).min(MAX_PAUSE);
                }
                assert_eq!(most, MAX_PAUSE);
                retry.note_failure(now, Some(Duration::from_secs(1)));
                assert!(pause(&retry) >= MAX_PAUSE / 2);
                retry.note_failure(now, Some(Duration::from_secs(61)));
                assert_eq!(pause(&retry), Duration::from_secs(61));
                retry.note_failure(now, Some(Duration::MAX));
                assert_eq!(pause(&retry), MAX_RETRY_AFTER);
                retry.note_success();
                assert_eq!((retry.waits_until(now), retry.failures()), (None, 0));
            }
        }
    }
}
