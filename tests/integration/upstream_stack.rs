//! How the layers of the upstream stage work together, on paused time, over a transport that does
//! as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::metrics_page::{calls, value};
use crate::support::one_source::get;
use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::metrics::{self, Registry};
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{
    Answer, Attempt, BreakerState, CallContext, UnverifiedAnswer, Upstream, UpstreamError,
    UpstreamMetrics,
};
use tokio::time::{Instant, advance, sleep, timeout};

#[derive(Clone, Copy)]
enum Act {
    /// A good answer after a second.
    Answer,
    /// A broken connection after a second.
    Break,
    /// This status at once.
    Status(u16),
    /// Nothing, ever.
    Hang,
}

/// The stack over a transport that takes one act a call from a list, and then answers.
struct Bench {
    upstream: Upstream,
    registry: Registry,
    acts: Arc<Mutex<VecDeque<Act>>>,
    made: Arc<Mutex<Vec<Attempt>>>,
}

async fn act(act: Act) -> Result<Bytes, UpstreamError> {
    match act {
        Act::Answer => {
            sleep(Duration::from_secs(1)).await;
            Ok(Bytes::from_static(b"{}"))
        }
        Act::Break => {
            sleep(Duration::from_secs(1)).await;
            Err(UpstreamError::new(Outcome::Body, "broken"))
        }
        Act::Status(code) => Err(UpstreamError::new(Outcome::Status, "status")
            .with_status(StatusCode::from_u16(code).unwrap())),
        Act::Hang => std::future::pending().await,
    }
}

fn bench_with(
    change: impl FnOnce(&mut config::Upstream),
    acts: impl IntoIterator<Item = Act>,
) -> Bench {
    let mut settings = Config::default().upstream;
    settings.concurrency = Concurrency::Fixed(8);
    change(&mut settings);
    let names: Vec<_> = (0..8).map(|i| format!("s{i}").into()).collect();
    let mut registry = metrics::registry();
    let metrics = UpstreamMetrics::register(&mut registry);
    let acts = Arc::new(Mutex::new(acts.into_iter().collect::<VecDeque<_>>()));
    let made = Arc::new(Mutex::new(Vec::new()));
    let transport = tower::service_fn({
        let (acts, made) = (Arc::clone(&acts), Arc::clone(&made));
        move |attempt: Attempt| {
            let url = attempt.request.url.clone();
            made.lock().unwrap().push(attempt);
            let body = act(acts.lock().unwrap().pop_front().unwrap_or(Act::Answer));
            async { Ok(Answer::ok(url, body.await?)) }
        }
    });
    let upstream = Upstream::with_transport("default", &settings, &names, &transport, &metrics, 1);
    Bench { upstream, registry, acts, made }
}

fn bench(acts: impl IntoIterator<Item = Act>) -> Bench {
    bench_with(|_| {}, acts)
}

impl Bench {
    async fn fetch(&self, source: usize) -> Result<Bytes, UpstreamError> {
        Ok(self.call(source).await?.accept())
    }

    /// Fetches a source, and leaves it to the test to accept the answer.
    async fn call(&self, source: usize) -> Result<UnverifiedAnswer, UpstreamError> {
        let request = get(&self.upstream, "/");
        self.upstream.fetch(source, request, CallContext::default()).await
    }

    /// What the metrics count for a source, by outcome, without the zeros.
    fn counted(&self, source: &str) -> Vec<(&'static str, u64)> {
        let all = Outcome::ALL
            .into_iter()
            .map(Outcome::as_str)
            .map(|outcome| (outcome, calls(&self.registry, source, outcome)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn retried(&self) -> usize {
        self.made.lock().unwrap().iter().filter(|attempt| attempt.number > 1).count()
    }

    /// Good answers of all sources, which earn retries.
    async fn earn(&self) {
        for answer in join_all((0..8).map(|source| self.fetch(source))).await {
            answer.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_made_again() {
    let bench = bench([]);
    bench.earn().await;
    bench.acts.lock().unwrap().extend([Act::Break, Act::Status(503), Act::Answer]);
    let fetched = bench.call(3).await.unwrap();
    assert_eq!((fetched.attempts(), fetched.duration()), (3, Duration::from_secs(1)));
    let _ = fetched.accept();
    assert_eq!(bench.counted("s3"), [("ok", 2), ("status", 1), ("body", 1)]);
    assert_eq!(value(&bench.registry, "upstream_retries_total{source=\"s3\"}"), "2");
    assert_eq!(
        value(&bench.registry, "upstream_request_duration_seconds_count{source=\"s3\"}"),
        "4"
    );
    assert_eq!(bench.upstream.breaker_state(3), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_budget_while_the_upstream_is_down() {
    let bench = bench(std::iter::repeat_n(Act::Status(500), 1000));
    for refresh in 1..=3 {
        let began = Instant::now();
        for answer in join_all((0..8).map(|source| bench.fetch(source))).await {
            assert_eq!(answer.unwrap_err().kind, Outcome::Status);
        }
        assert_eq!(bench.retried(), 2 * refresh, "two retries for the eight calls of a refresh");
        sleep(Duration::from_secs(30).saturating_sub(began.elapsed())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_retried() {
    for code in [204, 301, 400, 401, 403, 404, 410, 501] {
        let bench = bench([]);
        bench.earn().await;
        bench.acts.lock().unwrap().push_back(Act::Status(code));
        bench.fetch(0).await.unwrap_err();
        assert_eq!(bench.retried(), 0, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_during_backoff_or_verification() {
    let bench = bench_with(|settings| settings.concurrency = Concurrency::Fixed(1), []);
    bench.earn().await;
    bench.acts.lock().unwrap().push_back(Act::Break);
    let first = bench.call(0);
    let second = async {
        tokio::task::yield_now().await;
        bench.call(1).await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    let first = first.unwrap();
    assert_eq!(first.attempts(), 2);
    let order: Vec<_> =
        bench.made.lock().unwrap().iter().skip(8).map(|made| (made.source, made.number)).collect();
    assert_eq!(order, [(0, 1), (1, 1), (0, 2)], "the other went in while the first backed off");
    assert_eq!(bench.upstream.load().in_flight, 0, "two bodies are waiting for their verdict");
    assert_eq!(value(&bench.registry, "upstream_in_flight{upstream=\"default\"}"), "0");
    bench.fetch(2).await.unwrap();
    let _ = (first.accept(), second.accept());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_bounds_each_attempt() {
    let bench = bench_with(|settings| settings.retries = 1, []);
    bench.earn().await;
    bench.acts.lock().unwrap().extend([Act::Hang, Act::Hang]);
    let began = Instant::now();
    let error = bench.fetch(0).await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.as_str()),
        (Outcome::Timeout, "no whole answer came within 10s")
    );
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
    assert_eq!(bench.counted("s0"), [("ok", 1), ("timeout", 2)]);
    assert_eq!(bench.upstream.load().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_body_counts_as_one_failure() {
    let bench = bench([]);
    for refusal in 1..=5 {
        assert_eq!(bench.upstream.breaker_state(0), BreakerState::Closed);
        let fetched = bench.call(0).await.unwrap();
        assert_eq!(
            bench.counted("s0").iter().map(|(_, count)| count).sum::<u64>(),
            refusal - 1,
            "not yet judged"
        );
        let error = fetched.reject(UpstreamError::new(Outcome::Decode, "the body is not JSON"));
        assert_eq!((error.kind, error.status), (Outcome::Decode, Some(StatusCode::OK)));
        assert_eq!(bench.counted("s0"), [("decode", refusal)]);
    }
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::Open);
    assert_eq!(value(&bench.registry, "circuit_state{source=\"s0\"}"), "2");

    let error = bench.fetch(0).await.unwrap_err();
    assert_eq!(error.kind, Outcome::CircuitOpen);
    let wait = error.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(30));
    assert_eq!(bench.made.lock().unwrap().len(), 5, "the upstream did not see it");
    assert_eq!(bench.counted("s0"), [("decode", 5), ("circuit_open", 1)]);
    assert_eq!(
        value(&bench.registry, "upstream_request_duration_seconds_count{source=\"s0\"}"),
        "5"
    );
    bench.fetch(1).await.expect("the other sources are let through");

    advance(wait).await;
    let probe = bench.call(0).await.unwrap();
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::HalfOpen, "until its body is judged");
    assert_eq!(bench.fetch(0).await.unwrap_err().kind, Outcome::CircuitOpen, "one probe at a time");
    let _ = probe.accept();
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::Closed);
    assert_eq!(value(&bench.registry, "circuit_state{source=\"s0\"}"), "0");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_ends_the_retries_with_the_last_real_failure() {
    let bench = bench([]);
    bench.earn().await;
    bench.earn().await;
    bench.acts.lock().unwrap().extend([Act::Break; 20]);
    for _ in 0..2 {
        assert_eq!(bench.fetch(0).await.unwrap_err().kind, Outcome::Body, "not circuit_open");
    }
    assert_eq!(bench.counted("s0"), [("ok", 2), ("body", 5)], "three tries, then two");
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_does_not_block_the_circuit() {
    let bench = bench(std::iter::repeat_n(Act::Status(404), 5));
    for _ in 0..5 {
        bench.fetch(0).await.unwrap_err();
    }
    let wait = bench.fetch(0).await.unwrap_err().retry_after.unwrap();
    advance(wait).await;
    bench.acts.lock().unwrap().push_back(Act::Hang);
    assert!(
        timeout(Duration::from_secs(1), bench.fetch(0)).await.is_err(),
        "given up while it hangs"
    );
    drop(bench.call(0).await.unwrap());
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::HalfOpen);
    bench.fetch(0).await.unwrap();
    assert_eq!(bench.upstream.breaker_state(0), BreakerState::Closed);
    let expected = [("ok", 2), ("status", 5), ("circuit_open", 1)];
    assert_eq!(
        bench.counted("s0"),
        expected,
        "a body without a verdict came whole; a call given up counts not at all"
    );
    assert_eq!(bench.upstream.load().in_flight, 0);
}
