//! Spaces the requests to an upstream evenly (`rate`).

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep_until};

use super::lock;
use crate::config::Rate;

/// Lets requests through one at a time, at least an interval after the one before. Unlike a window
/// that admits so many requests at once, this never lets a burst through.
#[derive(Debug)]
pub(super) struct RateLimiter {
    interval: Duration,
    /// The earliest time of the next request.
    next: Mutex<Instant>,
    /// The call at the head of the queue holds the lock, which is fair.
    queue: tokio::sync::Mutex<()>,
}

/// The turn of the call at the head of the queue, until it is dropped.
pub(super) struct Turn<'a> {
    limiter: &'a RateLimiter,
    _head: MutexGuard<'a, ()>,
}

impl RateLimiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            interval: rate.per / rate.requests.max(1),
            next: Mutex::new(Instant::now()),
            queue: tokio::sync::Mutex::default(),
        }
    }

    /// Queues, and waits for the time of the next request.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let head = self.queue.lock().await;
        self.wait().await;
        Turn { limiter: self, _head: head }
    }

    /// Waits until a request may be sent, which must then happen at once. It is for requests of
    /// calls that hold a permit: they must not queue, since the head of the queue may be waiting
    /// for that permit.
    pub(super) async fn take_next(&self) {
        while !self.try_take() {
            self.wait().await;
        }
    }

    /// Waits for the time of the next request.
    async fn wait(&self) {
        loop {
            let next = *lock(&self.next);
            if next <= Instant::now() {
                return;
            }
            sleep_until(next).await;
        }
    }

    /// Whether a request may be sent now, which must then happen.
    fn try_take(&self) -> bool {
        let (mut next, now) = (lock(&self.next), Instant::now());
        let is_due = *next <= now;
        if is_due {
            *next = now + self.interval;
        }
        is_due
    }
}

impl Turn<'_> {
    /// Uses the turn: the request is sent now. False if a request that did not queue has gone
    /// before.
    #[must_use]
    pub(super) fn take(self) -> bool {
        self.limiter.try_take()
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
                assert!(limiter.turn().await.take());
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
        assert!(limiter.turn().await.take());
        let started = Instant::now();
        drop(limiter.turn().await);
        assert!(limiter.turn().await.take());
        assert!(started.elapsed() <= Duration::from_millis(1001));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_queue_goes_before_the_head_of_the_queue() {
        let limiter = per_second(1);
        let turn = limiter.turn().await;
        limiter.take_next().await;
        assert!(!turn.take());
        let started = Instant::now();
        assert!(limiter.turn().await.take());
        assert!(started.elapsed() >= Duration::from_secs(1));
    }
}
