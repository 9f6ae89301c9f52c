//! The rate of an upstream, and the waits that it asks for, on paused time over a transport that
//! does as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use incident_gateway::config::{Concurrency, Rate};
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{BreakerState, CallContext, OnRetry};
use tokio::time::{Instant, sleep, timeout};

use crate::support::metrics_page::value;
use crate::support::scripted_stack::{Act, ScriptedStack};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rate(requests: u32, per: Duration) -> Rate {
    Rate { requests, per }
}

/// The times between the calls that reached the transport.
fn gaps(stack: &ScriptedStack) -> Vec<Duration> {
    stack.times.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Checks that calls are one interval apart, by a clock that counts whole milliseconds.
fn assert_spaced(stack: &ScriptedStack, interval: Duration) {
    for gap in gaps(stack) {
        let most = interval + Duration::from_millis(2);
        assert!(gap >= interval && gap <= most, "{:?}", gaps(stack));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_spaced_evenly_and_hold_no_permit_meanwhile() {
    let stack = ScriptedStack::with(|settings| settings.rate = Some(rate(4, seconds(1))), []);
    let all = join_all((0..8).map(|source| stack.fetch(source)));
    let watch = async {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(stack.upstream.load().in_flight, 1, "seven calls wait for their turn");
    };
    let (answers, ()) = tokio::join!(all, watch);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(gaps(&stack).len(), 7);
    assert_spaced(&stack, Duration::from_millis(250));
    // Turns that nobody used are lost: a pause is followed by no burst.
    sleep(seconds(60)).await;
    stack.times.lock().unwrap().clear();
    stack.earn().await;
    assert_spaced(&stack, Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_permits_are_not_sent_in_a_burst() {
    let stack = ScriptedStack::with(
        |settings| {
            settings.concurrency = Concurrency::Fixed(2);
            settings.rate = Some(rate(10, seconds(1)));
        },
        [],
    );
    stack.earn().await;
    // Two calls of a second each: the permits come in pairs, the calls do not.
    assert!(
        gaps(&stack).iter().all(|gap| *gap >= Duration::from_millis(100)),
        "{:?}",
        gaps(&stack)
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_counts_neither_for_the_deadline_nor_as_latency() {
    let stack = ScriptedStack::with(
        |settings| {
            settings.timeout = seconds(2);
            settings.rate = Some(rate(12, seconds(60)));
        },
        [],
    );
    let answers = join_all((0..8).map(|source| stack.call(source))).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.duration(), seconds(1));
        let _ = answer.accept();
    }
    assert_spaced(&stack, seconds(5));
}

#[tokio::test(start_paused = true)]
async fn retries_take_a_turn() {
    let stack = ScriptedStack::with(|settings| settings.rate = Some(rate(6, seconds(60))), []);
    stack.earn().await;
    stack.acts.lock().unwrap().push_back(Act::Status(500));
    stack.earn().await;
    assert_eq!((stack.retried(), gaps(&stack).len()), (1, 16));
    assert_spaced(&stack, seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_up_is_the_next_ones() {
    let stack = ScriptedStack::with(|settings| settings.rate = Some(rate(1, seconds(10))), []);
    stack.fetch(0).await.unwrap();
    assert!(timeout(seconds(5), stack.fetch(1)).await.is_err());
    stack.fetch(2).await.unwrap();
    assert_spaced(&stack, seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_holds_for_every_source_until_it_ends() {
    for status in [429, 503] {
        let stack = ScriptedStack::new([Act::Wait(status, 120)]);
        let error = stack.fetch(0).await.unwrap_err();
        assert_eq!(error.retry_after, Some(seconds(120)), "it is for the caller to come back");
        let until = Instant::now() + seconds(120);
        assert_eq!(stack.upstream.waits_until(), Some(until));
        sleep(seconds(20)).await;
        for source in 0..8 {
            let error = stack.fetch(source).await.unwrap_err();
            assert_eq!((error.kind, error.status), (Outcome::RateLimited, None), "{error}");
            assert_eq!(error.retry_after, Some(seconds(100)));
        }
        assert_eq!(stack.made.lock().unwrap().len(), 1, "the upstream saw no other call");
        assert_eq!(stack.upstream.load().in_flight, 0);
        assert_eq!(stack.counted("s1"), [("rate_limited", 1)]);
        let duration = "upstream_request_duration_seconds_count{source=\"s1\"}";
        assert_eq!(value(&stack.registry, duration), "0", "no call was made");
        sleep(seconds(101)).await;
        assert_eq!(stack.upstream.waits_until(), None);
        stack.earn().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_out_by_every_call() {
    let stack = ScriptedStack::new([]);
    stack.earn().await;
    stack.acts.lock().unwrap().push_back(Act::Wait(429, 4));
    let started = Instant::now();
    let first = stack.call(0);
    let second = async {
        sleep(Duration::from_millis(10)).await;
        let answer = stack.call(1).await;
        (answer, started.elapsed())
    };
    let (first, (second, took)) = tokio::join!(first, second);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.attempts(), second.attempts()), (2, 1));
    assert!(took >= seconds(5) && took < Duration::from_millis(5010), "{took:?}");
    let _ = (first.accept(), second.accept());
    assert_eq!(stack.counted("s0"), [("ok", 2), ("rate_limited", 1)]);
    assert_eq!(stack.counted("s1"), [("ok", 2)]);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_call_has_queued_is_no_part_of_its_longest_wait() {
    let stack = ScriptedStack::with(|settings| settings.rate = Some(rate(6, seconds(60))), []);
    stack.acts.lock().unwrap().extend([Act::Answer, Act::Wait(429, 4)]);
    let started = Instant::now();
    let results = join_all((0..3).map(|source| stack.fetch(source))).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(started.elapsed().as_secs(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_allow_a_longer_wait() {
    let stack = ScriptedStack::new([]);
    stack.earn().await;
    stack.acts.lock().unwrap().push_back(Act::Wait(429, 60));
    let retries = Arc::new(Mutex::new(Vec::new()));
    let started = Instant::now();
    let on_retry = OnRetry::new({
        let retries = Arc::clone(&retries);
        move |error, next| {
            retries.lock().unwrap().push((error.kind, next - started));
        }
    });
    let patient =
        CallContext { max_wait: seconds(120), on_retry, page: 2, ..CallContext::default() };
    let (first, second) = tokio::join!(stack.call_with(0, patient.clone()), async {
        sleep(seconds(1)).await;
        stack.call_with(1, patient.clone()).await
    });
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.attempts(), second.attempts()), (2, 1));
    let _ = (first.accept(), second.accept());
    let retries = retries.lock().unwrap().clone();
    assert_eq!(retries.len(), 1, "the second call only waited");
    let (kind, next) = retries[0];
    assert_eq!(kind, Outcome::RateLimited);
    assert!(next >= seconds(60) && next <= Duration::from_millis(60_500), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_later_page_needs_no_budget_for_the_waits_that_it_is_asked_for() {
    let page = |page| CallContext { page, max_wait: seconds(120), ..CallContext::default() };
    let stack = ScriptedStack::new([Act::Wait(429, 60)]);
    let error = stack.call_with(0, page(1)).await.unwrap_err();
    assert_eq!(error.kind, Outcome::RateLimited, "a first page has the budget of other calls");
    sleep(seconds(61)).await;
    stack.acts.lock().unwrap().extend([Act::Wait(429, 60), Act::Wait(503, 60)]);
    let answer = stack.call_with(0, page(2)).await.unwrap();
    assert_eq!(answer.attempts(), 3);
    let _ = answer.accept();
    stack.acts.lock().unwrap().extend([Act::Wait(429, 60); 3]);
    assert!(stack.call_with(0, page(2)).await.is_err(), "within `retries`");
    sleep(seconds(61)).await;
    stack.acts.lock().unwrap().push_back(Act::Status(500));
    assert!(stack.call_with(0, page(2)).await.is_err(), "nothing was asked for");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_permit_are_not_made_once_the_upstream_asks_for_a_wait() {
    let one_at_a_time = |settings: &mut incident_gateway::config::Upstream| {
        settings.concurrency = Concurrency::Fixed(1);
    };
    let stack = ScriptedStack::with(one_at_a_time, [Act::Wait(429, 60)]);
    let results = join_all((0..8).map(|source| stack.fetch(source))).await;
    assert!(
        results.iter().all(|result| {
            result.as_ref().is_err_and(|error| error.kind == Outcome::RateLimited)
        })
    );
    assert_eq!(stack.made.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_do_not_open_the_circuit() {
    let stack = ScriptedStack::new([]);
    for _ in 0..10 {
        stack.acts.lock().unwrap().push_back(Act::Wait(429, 10));
        assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::RateLimited);
        assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::RateLimited);
        sleep(seconds(11)).await;
    }
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Closed);
    assert_eq!(stack.counted("s0"), [("rate_limited", 20)]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_meets_a_rate_limit_leaves_the_circuit_half_open() {
    let stack = ScriptedStack::new([Act::Status(404); 5]);
    for _ in 0..5 {
        stack.fetch(0).await.unwrap_err();
    }
    sleep(seconds(30)).await;
    stack.acts.lock().unwrap().push_back(Act::Wait(429, 10));
    assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::RateLimited);
    assert_eq!(stack.fetch(0).await.unwrap_err().kind, Outcome::RateLimited);
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::HalfOpen);
    sleep(seconds(11)).await;
    stack.fetch(0).await.unwrap();
    assert_eq!(stack.upstream.breaker_state(0), BreakerState::Closed);
}
