//! A model of how concurrent calls slow each other down.
//!
//! At the real upstream, a lone call takes about 1.5 s, and seven concurrent calls take about 4 s
//! each. The model here fits both with one factor `F`: with `n` calls in flight, each progresses at
//! the rate `1 / (1 + F·(n−1)²)`. A lone call takes `latency`, and `n` calls that start together
//! take `latency × (1 + F·(n−1)²)`. As with a shared resource that thrashes, throughput first rises
//! with the number of concurrent calls and then falls. It is highest with about five calls at the
//! default factor.
//!
//! Calls start and end, so the rate changes while a call is in flight. A virtual clock keeps that
//! simple: it runs at the current rate, and a call is done when the clock has advanced by the
//! call's work since the call started.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Work of less than this that remains is a rounding error.
const ROUNDING_ERROR_SECONDS: f64 = 1e-6;

/// The shared resource that all calls work on.
#[derive(Debug)]
pub(super) struct Contention {
    factor: f64,
    clock: watch::Sender<Clock>,
}

#[derive(Debug)]
struct Clock {
    in_flight: u32,
    /// Seconds of work done by a call that has been in flight since the clock was last idle, as of
    /// `updated_at`.
    worked: f64,
    updated_at: Instant,
}

impl Contention {
    /// `factor` is the `F` of the model: finite and not negative.
    pub(super) fn new(factor: f64) -> Self {
        Self {
            factor,
            clock: watch::Sender::new(Clock {
                in_flight: 0,
                worked: 0.0,
                updated_at: Instant::now(),
            }),
        }
    }

    /// Makes a call, and completes when it is done. `work` is how long the call takes when it is
    /// alone. Dropping the future ends the call.
    pub(super) async fn work(&self, work: Duration) {
        let mut clock = self.clock.subscribe();
        let done = self.enter() + work.as_secs_f64();
        let _call = CallInFlight(self);
        loop {
            let left = {
                let clock = clock.borrow_and_update();
                (done - self.worked(&clock)) / self.rate(clock.in_flight)
            };
            if left <= ROUNDING_ERROR_SECONDS {
                return;
            }
            // The sender lives in `self`, so `changed` cannot fail.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs_f64(left)) => {}
                _ = clock.changed() => {}
            }
        }
    }

    /// Completes once exactly this many calls are in flight.
    #[cfg(test)]
    pub(super) async fn wait_for_in_flight(&self, count: u32) {
        let mut clock = self.clock.subscribe();
        clock.wait_for(|clock| clock.in_flight == count).await.expect("the sender lives in self");
    }

    /// Starts a call, and returns the reading of the clock.
    fn enter(&self) -> f64 {
        let mut entered = 0.0;
        self.clock.send_modify(|clock| {
            self.advance(clock);
            entered = clock.worked;
            clock.in_flight += 1;
        });
        entered
    }

    fn leave(&self) {
        self.clock.send_modify(|clock| {
            self.advance(clock);
            clock.in_flight -= 1;
            // No call refers to the old reading any more, and small numbers are more precise.
            if clock.in_flight == 0 {
                clock.worked = 0.0;
            }
        });
    }

    fn advance(&self, clock: &mut Clock) {
        clock.worked = self.worked(clock);
        clock.updated_at = Instant::now();
    }

    fn worked(&self, clock: &Clock) -> f64 {
        clock.worked + clock.updated_at.elapsed().as_secs_f64() * self.rate(clock.in_flight)
    }

    fn rate(&self, in_flight: u32) -> f64 {
        let others = f64::from(in_flight.saturating_sub(1));
        1.0 / (1.0 + self.factor * others * others)
    }
}

/// A call in flight, which ends on drop.
struct CallInFlight<'a>(&'a Contention);

impl Drop for CallInFlight<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::demo::{CONTENTION, LATENCY};

    async fn timed(future: impl Future) -> f64 {
        let start = Instant::now();
        future.await;
        start.elapsed().as_secs_f64()
    }

    #[track_caller]
    fn assert_close(seconds: f64, expected: f64) {
        // tokio's timers have a resolution of 1 ms, and each change of rate may round once.
        assert!((seconds - expected).abs() < 0.02, "{seconds} s, expected about {expected} s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_defaults_match_the_real_upstream() {
        let contention = Contention::new(CONTENTION);
        assert_close(timed(contention.work(LATENCY)).await, 1.5);
        let seven = join_all((0..7).map(|_| timed(contention.work(LATENCY)))).await;
        for seconds in seven {
            assert_close(seconds, 4.0);
        }
        assert_close(timed(contention.work(LATENCY)).await, 1.5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_concurrent_calls_are_faster_than_one_or_all() {
        async fn refresh(calls_at_once: usize) -> f64 {
            let contention = Contention::new(CONTENTION);
            let permits = tokio::sync::Semaphore::new(calls_at_once);
            timed(join_all((0..8).map(|_| async {
                let _permit = permits.acquire().await;
                contention.work(LATENCY).await;
            })))
            .await
        }
        let (one, four, eight) = (refresh(1).await, refresh(4).await, refresh(8).await);
        assert_close(one, 12.0);
        assert!(four < 0.9 * eight && eight < one, "1: {one} s, 4: {four} s, 8: {eight} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_call_slows_the_first_only_from_then_on() {
        // Two calls run at 1 / (1 + 1) of the speed. The first has 0.5 s of work behind it when the
        // second starts, so 0.5 s are left, which take 1 s. By then the second has done 0.5 s, and
        // does the rest alone in 0.5 s.
        let contention = Contention::new(1.0);
        let work = Duration::from_secs(1);
        let second = async {
            sleep(Duration::from_millis(500)).await;
            timed(contention.work(work)).await
        };
        let (first, second) = tokio::join!(timed(contention.work(work)), second);
        assert_close(first, 1.5);
        assert_close(second, 1.5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_no_longer_slows_others() {
        let contention = Arc::new(Contention::new(1.0));
        let work = Duration::from_secs(1);
        let dropped = tokio::spawn({
            let contention = contention.clone();
            async move { contention.work(work).await }
        });
        let staying = tokio::spawn({
            let contention = contention.clone();
            async move { timed(contention.work(work)).await }
        });
        contention.wait_for_in_flight(2).await;
        advance(Duration::from_secs(1)).await;
        dropped.abort();
        // Half of the work was done in the first second, at half the speed.
        assert_close(staying.await.unwrap(), 1.5);
        contention.wait_for_in_flight(0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_work_takes_no_time() {
        let contention = Contention::new(CONTENTION);
        assert_close(timed(join_all((0..100).map(|_| contention.work(Duration::ZERO)))).await, 0.0);
    }
}
