//! How long to wait before an operation that has failed is tried again.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// So that the store is used soon after it is back, and a lease is renewed before it runs out.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Pauses that double up to a bound. Each is between half and all of that, so that processes do not
/// try again all at once.
pub(super) struct Backoff {
    next: Duration,
    jitter: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { next: FIRST_PAUSE, jitter: fastrand::Rng::with_seed(seed) }
    }

    /// The pause after a failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + self.jitter.f64() / 2.0);
        self.next = (self.next * 2).min(MAX_PAUSE);
        pause
    }

    /// Begins again after a success.
    pub(super) fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again_after_a_success() {
        for seed in 0..20 {
            let mut backoff = Backoff::new(seed);
            for _ in 0..2 {
                let mut most = FIRST_PAUSE;
                for _ in 0..10 {
                    let pause = backoff.pause();
                    assert!(most / 2 <= pause && pause <= most, "{pause:?} of {most:?}");
                    most = (most * 2).min(MAX_PAUSE);
                }
                assert_eq!(most, MAX_PAUSE);
                backoff.reset();
            }
        }
    }
}
