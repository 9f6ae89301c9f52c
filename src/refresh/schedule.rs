//! Determines when a source is fetched again.

use std::time::Duration;

use tokio::time::Instant;

/// The longest backoff after the first failure; it doubles with each further one.
const FIRST_MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The shortest backoff after a failure.
const MIN_BACKOFF: Duration = Duration::from_millis(200);

/// The longest backoff after any number of failures, unless `ttl` is shorter or the upstream asks
/// for more.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Spaces a source's attempts: a `ttl` apart while they succeed, sooner after a failure.
#[derive(Debug)]
pub struct Schedule {
    ttl: Duration,
    /// The longest accepted `Retry-After`; a longer one is reduced to this.
    max_retry_after: Duration,
    rng: fastrand::Rng,
}

impl Schedule {
    /// `ttl` is the age at which data is refreshed. A `Retry-After` longer than `max_retry_after`
    /// is reduced to that.
    #[must_use]
    pub fn new(ttl: Duration, max_retry_after: Duration, seed: u64) -> Self {
        Self { ttl, max_retry_after, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The time from the start of one refresh to the start of the next: up to a twentieth less than
    /// `ttl`, so that replicas do not call at the same time and data is refreshed before it is
    /// stale.
    pub fn period(&mut self) -> Duration {
        self.ttl.mul_f64(1.0 - 0.05 * self.rng.f64())
    }

    /// When to fetch a source again after a success: `period` after `started`, but at least a
    /// quarter of `ttl` from `now`, so that a slow upstream gets a pause.
    #[must_use]
    pub fn after_success(&self, started: Instant, period: Duration, now: Instant) -> Instant {
        (started + period).max(now + self.ttl / 4)
    }

    /// When to fetch a source again after `failures` consecutive failures: exponential backoff with
    /// full jitter, and not before `retry_after`.
    pub fn after_failure(
        &mut self,
        failures: u32,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Instant {
        let ceiling = MAX_BACKOFF.min(self.ttl);
        let max_wait =
            FIRST_MAX_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(ceiling);
        let wait = max_wait.mul_f64(self.rng.f64()).max(MIN_BACKOFF.min(ceiling));
        now + wait.max(retry_after.unwrap_or_default().min(self.max_retry_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn failures_back_off_within_bounds() {
        let mut schedule = Schedule::new(TTL, Duration::from_hours(1), 7);
        let now = Instant::now();
        for failures in 1..40 {
            let bound = Duration::from_secs(1 << (failures - 1).min(16)).min(TTL);
            for _ in 0..100 {
                let wait = schedule.after_failure(failures, None, now) - now;
                assert!(
                    (MIN_BACKOFF..=bound).contains(&wait),
                    "{wait:?} after {failures} failures"
                );
            }
        }
    }

    #[test]
    fn retry_after_is_obeyed_within_a_bound() {
        let mut schedule = Schedule::new(TTL, Duration::from_mins(10), 7);
        let now = Instant::now();
        let mut wait =
            |asked| schedule.after_failure(1, Some(Duration::from_secs(asked)), now) - now;
        assert_eq!(wait(90), Duration::from_secs(90));
        assert_eq!(wait(86_400), Duration::from_mins(10));
    }

    #[test]
    fn refreshes_are_a_ttl_apart_and_leave_a_slow_upstream_a_rest() {
        let mut schedule = Schedule::new(TTL, TTL, 7);
        let started = Instant::now();
        for _ in 0..100 {
            let period = schedule.period();
            assert!(period <= TTL && period >= TTL.mul_f64(0.95), "{period:?}");
            assert_eq!(
                schedule.after_success(started, period, started + TTL / 6),
                started + period
            );
            let late = started + TTL * 2;
            assert_eq!(schedule.after_success(started, period, late), late + TTL / 4);
        }
    }
}
