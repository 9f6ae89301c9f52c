//! The minimum rate at which a client must read a response.
//!
//! This is a token bucket whose tokens are time. It starts full, with the grace period. Waiting for
//! the client to read spends the time waited; bytes that the client takes earn the time that they
//! would take at the minimum rate, up to the grace period. A client that reads at the minimum rate
//! or faster is therefore never disconnected, whatever the buffer sizes in between, and one that
//! stops reading is disconnected after the grace period.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The minimum rate and its grace period.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct MinSendRate {
    /// Zero disables the check.
    pub bytes_per_second: u64,
    /// How long a client may read nothing at all.
    pub grace: Duration,
}

#[derive(Debug)]
pub(super) struct SendRate {
    limit: MinSendRate,
    allowance: Duration,
    /// When the pending write began to wait for the client.
    blocked_since: Option<Instant>,
    /// Expires at the deadline or earlier, and is then reset. Deadlines only move later, so it need
    /// not be reset for each write that waits, which would cost as much as a small write.
    timer: Option<Pin<Box<Sleep>>>,
}

impl SendRate {
    pub(super) fn new(limit: MinSendRate) -> Self {
        Self { limit, allowance: limit.grace, blocked_since: None, timer: None }
    }

    /// Call when the socket has taken bytes.
    pub(super) fn sent(&mut self, bytes: usize) {
        // The clock is not read unless a write had to wait.
        let Some(since) = self.blocked_since.take() else { return };
        let earned = bytes as f64 / self.limit.bytes_per_second as f64;
        self.allowance = self
            .allowance
            .saturating_sub(since.elapsed())
            .saturating_add(Duration::try_from_secs_f64(earned).unwrap_or(Duration::MAX))
            .min(self.limit.grace);
    }

    /// Call when bytes wait for the client. The wait ends with [`Self::sent`].
    pub(super) fn wait(&mut self) -> Instant {
        *self.blocked_since.get_or_insert_with(Instant::now)
    }

    /// Call when the whole response has been sent. The next one starts with the whole grace period.
    pub(super) fn finished(&mut self) {
        self.blocked_since = None;
        self.allowance = self.limit.grace;
    }

    /// Call when a write is pending. Is ready once the client has been too slow.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.limit.bytes_per_second == 0 {
            return Poll::Pending;
        }
        let deadline = self.wait() + self.allowance;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: MinSendRate =
        MinSendRate { bytes_per_second: 1000, grace: Duration::from_secs(30) };

    /// After how long a client that reads `bytes` every `every` is disconnected, if it is within an
    /// hour.
    async fn disconnected_after(bytes: usize, every: Duration) -> Option<Duration> {
        let mut rate = SendRate::new(LIMIT);
        let start = Instant::now();
        while start.elapsed() < Duration::from_hours(1) {
            if timeout(every, poll_fn(|context| rate.poll_too_slow(context))).await.is_ok() {
                return Some(start.elapsed());
            }
            rate.sent(bytes);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected_after_the_grace_period() {
        assert_eq!(disconnected_after(0, Duration::from_secs(1)).await.unwrap().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_fast_enough_is_never_disconnected() {
        for (bytes, seconds) in [(1_000, 1), (25_000, 25), (1_000_000, 29)] {
            assert_eq!(
                disconnected_after(bytes, Duration::from_secs(seconds)).await,
                None,
                "{seconds} s"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_little_now_and_then_is_disconnected() {
        let took = disconnected_after(100, Duration::from_secs(20)).await.unwrap();
        assert!((30..=31).contains(&took.as_secs()), "{took:?}");
        let took = disconnected_after(900, Duration::from_secs(1)).await.unwrap();
        assert!((290..=300).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn reading_fast_earns_no_more_than_the_grace_period() {
        let mut rate = SendRate::new(LIMIT);
        let too_slow = async |rate: &mut SendRate| {
            timeout(Duration::from_secs(29), poll_fn(|context| rate.poll_too_slow(context))).await
        };
        assert!(too_slow(&mut rate).await.is_err());
        rate.sent(1 << 30);
        assert!(too_slow(&mut rate).await.is_err());
        assert!(too_slow(&mut rate).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn each_response_starts_with_the_whole_grace_period() {
        let mut rate = SendRate::new(LIMIT);
        for _ in 0..10 {
            advance(Duration::from_mins(1)).await;
            let too_slow = poll_fn(|context| rate.poll_too_slow(context));
            assert!(timeout(Duration::from_secs(20), too_slow).await.is_err());
            rate.finished();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_disables_the_check() {
        let mut rate = SendRate::new(MinSendRate { bytes_per_second: 0, ..LIMIT });
        let too_slow = poll_fn(|context| rate.poll_too_slow(context));
        assert!(timeout(Duration::from_hours(1), too_slow).await.is_err());
    }
}
