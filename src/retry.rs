//! Exponential backoff: when what has failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// How long is waited after failures in a row: the first pause doubles up to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The pause after the first failure.
    pub first: Duration,
    /// The bound of all pauses.
    pub longest: Duration,
}

/// The failures of an operation since it last succeeded.
#[derive(Debug)]
pub struct Retry {
    pauses: Pauses,
    jitter: Option<fastrand::Rng>,
    failures: u32,
    at: Option<Instant>,
}

impl Retry {
    /// No failure yet. Each pause will be between half and all of its bound, so that several who
    /// have failed do not try again at the same time. `seed` determines that jitter.
    #[must_use]
    pub fn new(pauses: Pauses, seed: u64) -> Self {
        let jitter = Some(fastrand::Rng::with_seed(seed));
        Self { jitter, ..Self::without_jitter(pauses) }
    }

    /// The same with pauses of exactly their bounds, for what no two do at the same time.
    #[must_use]
    pub fn without_jitter(pauses: Pauses) -> Self {
        Self { pauses, jitter: None, failures: 0, at: None }
    }

    /// Notes a failure. Returns when to try again: after the next pause, or after `at_least` if
    /// that is longer.
    pub fn note_failure(&mut self, now: Instant, at_least: Duration) -> Instant {
        let Pauses { first, longest } = self.pauses;
        let bound = first.saturating_mul(2_u32.saturating_pow(self.failures)).min(longest);
        let part = self.jitter.as_mut().map_or(1.0, |jitter| 0.5 + jitter.f64() / 2.0);
        let at = now + bound.mul_f64(part).max(at_least);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(at);
        at
    }

    /// Notes a success.
    pub fn note_success(&mut self) {
        self.failures = 0;
        self.at = None;
    }

    /// How many failures there were since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when nothing is to be tried.
    #[must_use]
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.at.filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses =
        Pauses { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again_after_a_success() {
        let now = Instant::now();
        let jittered = (0..20).map(|seed| (Retry::new(PAUSES, seed), 0.5));
        for (mut retry, least) in jittered.chain([(Retry::without_jitter(PAUSES), 1.0)]) {
            for _ in 0..2 {
                let mut bound = PAUSES.first;
                for failures in 1..10 {
                    let at = retry.note_failure(now, Duration::ZERO);
                    assert_eq!((retry.waits_until(now), retry.failures()), (Some(at), failures));
                    assert_eq!(retry.waits_until(at), None);
                    assert!(bound.mul_f64(least) <= at - now && at - now <= bound);
                    bound = (bound * 2).min(PAUSES.longest);
                }
                assert_eq!(bound, PAUSES.longest);
                let longer = PAUSES.longest + Duration::from_secs(1);
                assert_eq!(retry.note_failure(now, longer), now + longer);
                assert!(retry.note_failure(now, PAUSES.first) - now <= PAUSES.longest);
                retry.note_success();
                assert_eq!((retry.waits_until(now), retry.failures()), (None, 0));
            }
        }
    }
}
