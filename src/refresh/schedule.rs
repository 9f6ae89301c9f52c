//! Determines when a source is fetched again.

use std::time::Duration;

use tokio::time::Instant;

/// The longest backoff after the first failure; it doubles with each further one.
const FIRST_MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The shortest backoff after a failure.
const MIN_BACKOFF: Duration = Duration::from_millis(200);

/// The longest backoff after any number of failures.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The longest time that an upstream may ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Spaces a source's attempts: its interval apart while they succeed, sooner after a failure.
#[derive(Clone, Debug)]
pub struct Schedule {
    ttl: Duration,
    rng: fastrand::Rng,
}

/// How often a source is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interval {
    /// Every `cache.ttl`, together with other such sources.
    Ttl,
    /// At times of its own, this far apart.
    Every(Duration),
}

/// How a fetch ended, which determines when the next is due.
#[derive(Clone, Copy, Debug)]
pub(super) enum LastFetch {
    /// It succeeded.
    Succeeded {
        /// When the refresh that it belonged to was started.
        refresh_started: Instant,
        ended: Instant,
    },
    /// It failed, and its upstream asked not to be called before this time.
    Failed { not_before: Instant },
}

impl Schedule {
    /// `ttl` is the interval of sources that set none (`cache.ttl`).
    #[must_use]
    pub fn new(ttl: Duration, seed: u64) -> Self {
        Self { ttl, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Replaces `cache.ttl`.
    pub(super) fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    /// How long the interval is.
    pub(super) fn length(&self, interval: Interval) -> Duration {
        match interval {
            Interval::Ttl => self.ttl,
            Interval::Every(every) => every,
        }
    }

    /// The time from the start of one refresh to the start of the next: up to a twentieth less than
    /// the interval, so that replicas do not call at the same time and data is refreshed before it
    /// is stale.
    pub fn period(&mut self, interval: Interval) -> Duration {
        self.length(interval).mul_f64(1.0 - 0.05 * self.rng.f64())
    }

    /// When to fetch a source again after a success: `period` after `started`, but at least a
    /// quarter of the interval from `now`, so that a slow upstream gets a pause.
    #[must_use]
    pub fn after_success(
        &self,
        interval: Interval,
        started: Instant,
        period: Duration,
        now: Instant,
    ) -> Instant {
        (started + period).max(now + self.length(interval) / 4)
    }

    /// When to fetch a source again after `failures` consecutive failures: exponential backoff with
    /// full jitter, and not before `retry_after`.
    pub fn after_failure(
        &mut self,
        interval: Interval,
        failures: u32,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Instant {
        let shortest = self.length(interval).min(self.ttl);
        let ceiling = match interval {
            // The others of its round are asked as often.
            Interval::Ttl => MAX_BACKOFF.min(shortest),
            Interval::Every(_) => MAX_BACKOFF.max(shortest),
        };
        let first = FIRST_MAX_BACKOFF.min(shortest);
        let max_wait = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(ceiling);
        let wait = max_wait.mul_f64(self.rng.f64()).max(MIN_BACKOFF.min(first));
        (now + wait).max(Self::not_before(retry_after, now))
    }

    /// When the wait ends that an upstream has asked for, as far as it is obeyed.
    #[must_use]
    pub(super) fn not_before(retry_after: Option<Duration>, now: Instant) -> Instant {
        now + retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn failures_back_off_within_bounds() {
        let mut schedule = Schedule::new(TTL, 7);
        let now = Instant::now();
        let seconds = Duration::from_secs;
        for (interval, first, ceiling) in [
            (Interval::Ttl, seconds(1), TTL),
            (Interval::Every(seconds(300)), seconds(1), TTL),
            (Interval::Every(Duration::from_millis(500)), Duration::from_millis(500), TTL),
        ] {
            for failures in 1..40 {
                let bound = (first * (1 << (failures - 1).min(16))).min(ceiling);
                for _ in 0..100 {
                    let wait = schedule.after_failure(interval, failures, None, now) - now;
                    assert!(
                        (MIN_BACKOFF..=bound).contains(&wait),
                        "{wait:?} after {failures} failures"
                    );
                }
            }
        }
    }

    #[test]
    fn a_long_interval_does_not_delay_the_next_attempt_beyond_the_ttl() {
        let mut schedule = Schedule::new(Duration::from_mins(5), 7);
        let now = Instant::now();
        let every = Interval::Every(Duration::from_hours(1));
        let waits = (0..1000).map(|_| schedule.after_failure(every, 99, None, now) - now);
        let longest = waits.max().unwrap();
        assert!(longest > Duration::from_mins(4) && longest <= Duration::from_mins(5));
    }

    #[test]
    fn retry_after_is_obeyed_within_a_bound() {
        let mut schedule = Schedule::new(TTL, 7);
        let now = Instant::now();
        let mut wait = |asked| {
            let asked = Some(Duration::from_secs(asked));
            schedule.after_failure(Interval::Ttl, 1, asked, now) - now
        };
        assert_eq!(wait(90), Duration::from_secs(90));
        assert_eq!(wait(86_400), Duration::from_hours(1));
    }

    #[test]
    fn refreshes_are_an_interval_apart_and_leave_a_slow_upstream_a_rest() {
        let mut schedule = Schedule::new(TTL, 7);
        let started = Instant::now();
        for (interval, length) in [
            (Interval::Ttl, TTL),
            (Interval::Every(Duration::from_mins(5)), Duration::from_mins(5)),
        ] {
            for _ in 0..100 {
                let period = schedule.period(interval);
                assert!(period <= length && period >= length.mul_f64(0.95), "{period:?}");
                assert_eq!(
                    schedule.after_success(interval, started, period, started + length / 6),
                    started + period
                );
                let late = started + length * 2;
                let due = schedule.after_success(interval, started, period, late);
                assert_eq!(due, late + length / 4);
            }
        }
    }
}
