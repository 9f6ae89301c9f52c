use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tower::retry::Policy as _;

use super::{FIRST_MAX_BACKOFF, MAX_BACKOFF, RetryBudget, RetryPolicy, is_retryable};
use crate::metrics;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::upstream::breaker::Breaker;
use crate::upstream::call::{Attempt, CallContext};
use crate::upstream::{UpstreamError, UpstreamMetrics};

fn policy(retries: usize, earned: usize, seed: u64) -> RetryPolicy {
    let source: Arc<str> = "denial".into();
    let metrics = UpstreamMetrics::register(&mut metrics::registry()).source(&source);
    let budget = Arc::new(RetryBudget::new());
    for _ in 0..earned {
        budget.deposit();
    }
    RetryPolicy {
        source: Arc::clone(&source),
        retries,
        budget,
        breaker: Arc::new(Breaker::new(source, metrics.clone(), fastrand::Rng::with_seed(seed))),
        jitter: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
        metrics,
    }
}

fn attempt() -> Attempt {
    let request = Request::get("http://upstream.test/".parse().unwrap());
    Attempt::first(0, request, CallContext::default())
}

fn reset() -> UpstreamError {
    UpstreamError::new(Outcome::Body, "reset")
}

/// How long it waits before the next try; `None` when there is none.
async fn wait(
    policy: &mut RetryPolicy,
    attempt: &mut Attempt,
    error: &UpstreamError,
) -> Option<Duration> {
    let began = Instant::now();
    policy.retry(attempt, &mut Err::<(), _>(error.clone()))?.await;
    Some(began.elapsed())
}

#[test]
fn transient_failures_are_retryable() {
    let of = |kind| UpstreamError::new(kind, "scripted");
    for kind in [Outcome::Connect, Outcome::Body, Outcome::Timeout] {
        assert!(is_retryable(&of(kind)), "{kind}");
    }
    for kind in
        [Outcome::Ok, Outcome::Decode, Outcome::TooLarge, Outcome::CircuitOpen, Outcome::Status]
    {
        assert!(!is_retryable(&of(kind)), "{kind}");
    }
    let retried = |kind| {
        let is_retried =
            |code: &u16| is_retryable(&of(kind).with_status(StatusCode::from_u16(*code).unwrap()));
        (100..600).filter(is_retried).collect::<Vec<_>>()
    };
    assert_eq!(retried(Outcome::Status), [429, 500, 502, 503, 504]);
    let token_endpoint: Vec<_> = [429].into_iter().chain(500..600).collect();
    assert_eq!(retried(Outcome::Auth), token_endpoint);
    assert!(is_retryable(&of(Outcome::Auth)), "the token endpoint gave no answer");
    let asked = of(Outcome::RateLimited).with_status(StatusCode::TOO_MANY_REQUESTS);
    assert!(is_retryable(&asked));
    assert!(!is_retryable(&of(Outcome::RateLimited)), "it was not called");
}

#[tokio::test(start_paused = true)]
async fn backs_off_exponentially_with_full_jitter() {
    let (mut shortest, mut longest) = ([Duration::MAX; 5], [Duration::ZERO; 5]);
    for seed in 0..200 {
        let (mut policy, mut attempt) = (policy(5, 100, seed), attempt());
        for round in 0..5 {
            let waited = wait(&mut policy, &mut attempt, &reset()).await.unwrap();
            shortest[round] = shortest[round].min(waited);
            longest[round] = longest[round].max(waited);
        }
        assert_eq!(attempt.number, 6);
    }
    for round in 0..5 {
        let most = (FIRST_MAX_BACKOFF * (1 << round)).min(MAX_BACKOFF);
        assert!(shortest[round] < most / 10, "round {round} can be short: {:?}", shortest[round]);
        // The clock counts whole milliseconds, rounded up.
        assert!(
            longest[round] <= most + Duration::from_millis(1),
            "round {round}: {:?}",
            longest[round]
        );
        assert!(longest[round] > most * 9 / 10, "round {round} can be long: {:?}", longest[round]);
    }
}

#[tokio::test(start_paused = true)]
async fn obeys_a_short_retry_after_and_fails_on_a_long_one() {
    let (mut policy, busy) = (policy(9, 100, 0), UpstreamError::new(Outcome::Status, "busy"));
    let busy = busy.with_status(StatusCode::SERVICE_UNAVAILABLE);
    let asked = busy.clone().with_retry_after(Some(Duration::from_secs(3)));
    let waited = wait(&mut policy, &mut attempt(), &asked).await.unwrap();
    assert!(
        waited >= Duration::from_secs(3) && waited <= Duration::from_secs(3) + FIRST_MAX_BACKOFF,
        "{waited:?}"
    );
    let asked = busy.with_retry_after(Some(MAX_BACKOFF + Duration::from_secs(1)));
    assert_eq!(wait(&mut policy, &mut attempt(), &asked).await, None);
}

#[tokio::test(start_paused = true)]
async fn stops_after_the_configured_retries() {
    let (mut policy, mut attempt) = (policy(2, 100, 0), attempt());
    assert!(wait(&mut policy, &mut attempt, &reset()).await.is_some());
    assert!(wait(&mut policy, &mut attempt, &reset()).await.is_some());
    assert!(wait(&mut policy, &mut attempt, &reset()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn eight_calls_deposit_two_retries() {
    let mut policy = policy(2, 8, 0);
    let mut granted = 0;
    for _ in 0..8 {
        granted += usize::from(wait(&mut policy, &mut attempt(), &reset()).await.is_some());
    }
    assert_eq!(granted, 2);
}

#[tokio::test(start_paused = true)]
async fn deposits_expire_after_a_minute() {
    let mut policy = policy(2, 8, 0);
    tokio::time::advance(Duration::from_secs(67)).await;
    assert_eq!(wait(&mut policy, &mut attempt(), &reset()).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_ends_the_retries_without_a_withdrawal() {
    let mut policy = policy(2, 4, 0);
    policy.breaker.trip();
    assert_eq!(wait(&mut policy, &mut attempt(), &reset()).await, None);
    assert!(policy.budget.withdraw(), "the one retry that was earned is still there");
}
