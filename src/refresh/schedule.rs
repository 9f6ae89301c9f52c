//! When a source is due again.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait after a failure is at most this, the next twice as much, and so on.
const BACKOFF: Duration = Duration::from_secs(1);

/// The least wait after a failure.
const BACKOFF_FLOOR: Duration = Duration::from_millis(200);

/// The longest wait after a failure, unless `ttl` is shorter or the upstream asks for more.
const BACKOFF_CEILING: Duration = Duration::from_secs(30);

/// Spaces a source's attempts: a `ttl` apart while they succeed, sooner after a failure.
#[derive(Debug)]
pub struct Schedule {
    ttl: Duration,
    /// The longest `Retry-After` that is obeyed.
    patience: Duration,
    rng: fastrand::Rng,
}

impl Schedule {
    /// `ttl` is the age at which data is refreshed; a `Retry-After` beyond `patience` is cut to it.
    #[must_use]
    pub fn new(ttl: Duration, patience: Duration, seed: u64) -> Self {
        Self { ttl, patience, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The time from the start of one refresh to the start of the next: up to a twentieth less than
    /// `ttl`, so that replicas spread and data is renewed ahead of need.
    pub fn period(&mut self) -> Duration {
        self.ttl.mul_f64(1.0 - 0.05 * self.rng.f64())
    }

    /// When to refresh a source whose attempt has succeeded, `period` after `started`; when that is
    /// past already, because the upstream takes longer than `ttl`, it still gets a rest.
    #[must_use]
    pub fn after_success(&self, started: Instant, period: Duration, now: Instant) -> Instant {
        (started + period).max(now + self.ttl / 4)
    }

    /// When to try a source again whose last `failures` attempts failed: exponential back-off with
    /// full jitter, and not before `retry_after`.
    pub fn after_failure(
        &mut self,
        failures: u32,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Instant {
        let ceiling = BACKOFF_CEILING.min(self.ttl);
        let bound = BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(ceiling);
        let wait = bound.mul_f64(self.rng.f64()).max(BACKOFF_FLOOR.min(ceiling));
        now + wait.max(retry_after.unwrap_or_default().min(self.patience))
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
                    (BACKOFF_FLOOR..=bound).contains(&wait),
                    "{wait:?} after {failures} failures"
                );
            }
        }
    }

    #[test]
    fn retry_after_is_obeyed_as_far_as_patience_goes() {
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
