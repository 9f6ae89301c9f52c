//! Spaces the requests to an upstream evenly (`rate`).

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

use crate::config::Rate;

/// Lets one request through at a time, at least an interval after the one before. Unlike a window
/// that admits so many requests at once, this never sends a burst.
#[derive(Debug)]
pub(super) struct RateLimiter {
    interval: Duration,
    /// The earliest time of the next request. Whoever holds the lock has the turn; the lock is
    /// fair, so the turns are in order.
    next: Mutex<Instant>,
}

/// The turn to send the next request. No other can be had until this one is used or dropped.
pub(super) struct Turn<'a> {
    interval: Duration,
    next: MutexGuard<'a, Instant>,
}

impl RateLimiter {
    pub(super) fn new(rate: Rate) -> Self {
        let interval = rate.per / rate.requests.max(1);
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for the time of the next request.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let next = self.next.lock().await;
        sleep_until(*next).await;
        Turn { interval: self.interval, next }
    }
}

impl Turn<'_> {
    /// Uses the turn: the request is sent now.
    pub(super) fn take(mut self) {
        *self.next = Instant::now() + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn per_second(requests: u32) -> RateLimiter {
        RateLimiter::new(Rate { requests, per: Duration::from_secs(1) })
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_evenly_also_after_a_pause() {
        let limiter = per_second(10);
        let started = Instant::now();
        for pause in [0, 0, 1000, 0] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let times = join_all((0..5).map(|_| async {
                limiter.turn().await.take();
                started.elapsed()
            }));
            let times = times.await;
            for pair in times.windows(2) {
                let gap = pair[1].saturating_sub(pair[0]).as_millis();
                assert!((100..=102).contains(&gap), "{times:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_not_used_is_the_next_ones() {
        let limiter = per_second(1);
        limiter.turn().await.take();
        let started = Instant::now();
        drop(limiter.turn().await);
        limiter.turn().await.take();
        assert!(started.elapsed() <= Duration::from_millis(1001));
    }
}
