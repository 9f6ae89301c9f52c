//! How the layers of the upstream stage work together, on paused time, over a transport that does
//! as it is told.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use incident_gateway::config::Concurrency;
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{BreakerState, UpstreamError};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::support::metrics_page::value;
use crate::support::scripted_stack::{Act, ScriptedStack};

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_made_again() {
    let stack = ScriptedStack::new([]);
    stack.earn().await;
    stack.acts.lock().unwrap().extend([Act::Break, Act::Status(503), Act::Answer]);
    let fetched = stack.call(3).await.unwrap();
    assert_eq!((fetched.attempts(), fetched.duration()), (3, Duration::from_secs(1)));
    let _ = fetched.accept();
    assert_eq!(stack.counted("s3"), [("ok", 2), ("status", 1), ("body", 1)]);
    assert_eq!(value(&stack.registry, "upstream_retries_total{source=\"s3\"}"), "2");
    assert_eq!(
        value(&stack.registry, "upstream_request_duration_seconds_count{source=\"s3\"}"),
        "4"
    );
    assert_eq!(stack.upstream.breaker_state(3), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_budget_while_the_upstream_is_down() {
    let stack = ScriptedStack::new(std::iter::repeat_n(Act::Status(500), 1000));
    for refresh in 1..=3 {
        let began = Instant::now();
        for answer in join_all((0..8).map(|source| stack.fetch(source))).await {
            assert_eq!(answer.unwrap_err().kind, Outcome::Status);
        }
        assert_eq!(stack.retried(), 2 * refresh, "two retries for the eight calls of a refresh");
        sleep(Duration::from_secs(30).saturating_sub(began.elapsed())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_retried() {
    for code in [204, 301, 400, 401, 403, 404, 410, 501] {
        let stack = ScriptedStack::new([]);
        stack.earn().await;
        stack.acts.lock().unwrap().push_back(Act::Status(code));
        stack.fetch(0).await.unwrap_err();
        assert_eq!(stack.retried(), 0, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_during_backoff_or_verification() {
    let stack = ScriptedStack::with(|settings| settings.concurrency = Concurrency::Fixed(1), []);
    stack.earn().await;
    stack.acts.lock().unwrap().push_back(Act::Break);
    let first = stack.call(0);
    let second = async {
        tokio::task::yield_now().await;
        stack.call(1).await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    let first = first.unwrap();
    assert_eq!(first.attempts(), 2);
    let order: Vec<_> =
        stack.made.lock().unwrap().iter().skip(8).map(|made| (made.source, made.number)).collect();
    assert_eq!(order, [(0, 1), (1, 1), (0, 2)], "the other went in while the first backed off");
    assert_eq!(stack.upstream.load().in_flight, 0, "two bodies are waiting for their verdict");
    assert_eq!(value(&stack.registry, "upstream_in_flight{upstream=\"default\"}"), "0");
    stack.fetch(2).await.unwrap();
    let _ = (first.accept(), second.accept());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_bounds_each_attempt() {
    let stack = ScriptedStack::with(|settings| settings.retries = 1, []);
    stack.earn().await;
    stack.acts.lock().unwrap().extend([Act::Hang, Act::Hang]);
    let began = Instant::now();
    let error = stack.fetch(0).await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.as_str()),
        (Outcome::Timeout, "no whole answer came within 10s")
    );
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
    assert_eq!(stack.counted("s0"), [("ok", 1), ("timeout", 2)]);
    assert_eq!(stack.upstream.load().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_body_counts_as_one_failure() {
    let stack = ScriptedStack::new([]);
    for refusal in 1..=5 {
        assert_eq!(stack.upstream.breaker_state(0), BreakerState::Closed);
        let fetched = stack.call(0).await.unwrap();
        assert_eq!(
            stack.counted("s0").iter().map(|(_, count)| count).sum::<u64>(),
            refusal - 1,
            "not yet judged"
        );
        let error = fetched.reject(UpstreamError::new(Outcome::Decode, "the body is not JSON"));
        assert_eq!((error.kind, error.status), (Outcome::Decode, Some(StatusCode::OK)));
        assert_eq!(stack.counted("s0"), [("decode", refusal)]);
    }
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Open);
    assert_eq!(value(&stack.registry, "circuit_state{source=\"s0\"}"), "2");

    let error = stack.fetch(0).await.unwrap_err();
    assert_eq!(error.kind, Outcome::CircuitOpen);
    let wait = error.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(30));
    assert_eq!(stack.made.lock().unwrap().len(), 5, "the upstream did not see it");
    assert_eq!(stack.counted("s0"), [("decode", 5), ("circuit_open", 1)]);
    assert_eq!(
        value(&stack.registry, "upstream_request_duration_seconds_count{source=\"s0\"}"),
        "5"
    );
    stack.fetch(1).await.expect("the other sources are let through");

    advance(wait).await;
    let probe = stack.call(0).await.unwrap();
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::HalfOpen, "until its body is judged");
    assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::CircuitOpen, "one probe at a time");
    let _ = probe.accept();
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Closed);
    assert_eq!(value(&stack.registry, "circuit_state{source=\"s0\"}"), "0");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_ends_the_retries_with_the_last_real_failure() {
    let stack = ScriptedStack::new([]);
    stack.earn().await;
    stack.earn().await;
    stack.acts.lock().unwrap().extend([Act::Break; 20]);
    for _ in 0..2 {
        assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::Body, "not circuit_open");
    }
    assert_eq!(stack.counted("s0"), [("ok", 2), ("body", 5)], "three tries, then two");
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_does_not_block_the_circuit() {
    let stack = ScriptedStack::new(std::iter::repeat_n(Act::Status(404), 5));
    for _ in 0..5 {
        stack.fetch(0).await.unwrap_err();
    }
    let wait = stack.fetch(0).await.unwrap_err().retry_after.unwrap();
    advance(wait).await;
    stack.acts.lock().unwrap().push_back(Act::Hang);
    assert!(
        timeout(Duration::from_secs(1), stack.fetch(0)).await.is_err(),
        "given up while it hangs"
    );
    drop(stack.call(0).await.unwrap());
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::HalfOpen);
    stack.fetch(0).await.unwrap();
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Closed);
    let expected = [("ok", 2), ("status", 5), ("circuit_open", 1)];
    assert_eq!(
        stack.counted("s0"),
        expected,
        "a body without a verdict came whole; a call given up counts not at all"
    );
    assert_eq!(stack.upstream.load().in_flight, 0);
}
