use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::advance;

use super::{Limiter, Load, Permit, Signal};
use crate::config::Concurrency;
use crate::metrics;
use crate::outcome::Outcome;
use crate::upstream::UpstreamError;
use crate::upstream::UpstreamMetrics;

fn limiter(concurrency: Concurrency, max_limit: usize) -> Arc<Limiter> {
    let metrics = UpstreamMetrics::register(&mut metrics::registry()).concurrency("default");
    Arc::new(Limiter::new(concurrency, max_limit, metrics))
}

async fn acquire(limiter: &Arc<Limiter>, sources: std::ops::Range<usize>) -> Vec<Permit> {
    let mut permits = Vec::new();
    for source in sources {
        permits.push(limiter.acquire(source).await);
    }
    permits
}

fn release(permits: impl IntoIterator<Item = Permit>, signal: Signal) {
    for mut permit in permits {
        permit.signal = signal;
        drop(permit);
    }
}

#[test]
fn failures_are_classified_as_signs_of_load() {
    let status = |code| {
        Err::<(), _>(
            UpstreamError::new(Outcome::Status, "")
                .with_status(StatusCode::from_u16(code).unwrap()),
        )
    };
    let error = |kind| Err::<(), _>(UpstreamError::new(kind, ""));
    assert_eq!(Signal::of::<()>(&Ok(()), false), Signal::Answered);
    assert_eq!(Signal::of(&error(Outcome::Timeout), false), Signal::TimedOut);
    assert_eq!(Signal::of(&status(429), false), Signal::PushedBack);
    assert_eq!(Signal::of(&status(503), false), Signal::PushedBack);
    assert_eq!(
        Signal::of(&status(503), true),
        Signal::Uninformative,
        "a probe tells of its source alone"
    );
    assert_eq!(Signal::of(&status(500), false), Signal::Uninformative);
    for kind in [Outcome::Connect, Outcome::Body, Outcome::Decode, Outcome::TooLarge] {
        assert_eq!(Signal::of(&error(kind), false), Signal::Uninformative, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_limit_never_changes() {
    let limiter = limiter(Concurrency::Fixed(2), 1);
    let mut permits = acquire(&limiter, 0..2).await;
    let third = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire(2).await }
    });
    advance(Duration::from_secs(1)).await;
    assert!(!third.is_finished());
    permits.pop();
    permits.push(third.await.unwrap());
    release(permits, Signal::TimedOut);
    assert_eq!(limiter.load(), Load { in_flight: 0, limit: 2 });
}

#[tokio::test(start_paused = true)]
async fn starts_low_and_within_the_maximum() {
    assert_eq!(limiter(Concurrency::Auto, 8).load().limit, 3);
    assert_eq!(limiter(Concurrency::Auto, 2).load().limit, 2);
    assert_eq!(limiter(Concurrency::Auto, 0).load().limit, 1);
    assert_eq!(limiter(Concurrency::Fixed(0), 8).load().limit, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_takes_effect_as_calls_end() {
    let limiter = limiter(Concurrency::Auto, 8);
    let mut permits = acquire(&limiter, 0..3).await;
    advance(Duration::from_secs(10)).await;
    release(permits.drain(..2), Signal::TimedOut);
    assert_eq!(limiter.load(), Load { in_flight: 1, limit: 2 });
    // The second to leave was the one that lowered the limit, so its place is gone and one is left.
    permits.extend(acquire(&limiter, 0..1).await);
    let more = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(1)).await;
    assert!(more.is_err(), "the limit is 2");
    drop(permits);
    let permits = acquire(&limiter, 0..2).await;
    assert_eq!(limiter.load(), Load { in_flight: 2, limit: 2 });
    drop(permits);
}

#[tokio::test(start_paused = true)]
async fn one_refresh_lowers_the_limit_once_and_never_below_one() {
    let limiter = limiter(Concurrency::Auto, 8);
    for expected in [2, 1, 1] {
        let permits = acquire(&limiter, 0..limiter.load().limit).await;
        advance(Duration::from_secs(10)).await;
        release(permits, Signal::PushedBack);
        assert_eq!(limiter.load().limit, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn one_failing_source_does_not_lower_the_limit() {
    for signal in [Signal::TimedOut, Signal::PushedBack] {
        let limiter = limiter(Concurrency::Auto, 8);
        for _ in 0..10 {
            let mut permits = acquire(&limiter, 0..3).await;
            let ill = permits.pop().unwrap();
            advance(Duration::from_secs(1)).await;
            release([ill], signal);
            release(permits, Signal::Answered);
            assert!(limiter.load().limit >= 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_reached_does_not_change() {
    for signal in [Signal::Answered, Signal::TimedOut, Signal::PushedBack] {
        let limiter = limiter(Concurrency::Auto, 8);
        for _ in 0..50 {
            let permits = acquire(&limiter, 0..2).await;
            advance(Duration::from_secs(1)).await;
            release(permits, signal);
        }
        assert_eq!(limiter.load().limit, 3, "{signal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_limit_holds_within_the_bounds_and_the_search_goes_on_from_there() {
    let fixed = limiter(Concurrency::Fixed(2), 9);
    fixed.adopt(5);
    assert_eq!((fixed.found(), fixed.load().limit), (None, 2));
    let auto = limiter(Concurrency::Auto, 6);
    for (adopted, limit) in [(5, 5), (0, 1), (700, 6), (4, 4)] {
        auto.adopt(adopted);
        assert_eq!((auto.found(), auto.load().limit), (Some(limit), limit));
    }
    let permits = acquire(&auto, 0..4).await;
    assert_eq!(auto.load().in_flight, 4);
    auto.adopt(2);
    advance(Duration::from_secs(1)).await;
    release(permits, Signal::Answered);
    // Calls of another limit are no measurement, so that nothing has changed.
    assert_eq!(auto.load(), Load { in_flight: 0, limit: 2 });
    // Overload lowers it, as any limit.
    let permits = acquire(&auto, 0..2).await;
    advance(Duration::from_secs(1)).await;
    release(permits, Signal::PushedBack);
    assert_eq!(auto.load().limit, 1);
}
