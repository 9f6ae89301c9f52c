use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::StatusCode;
use tower::service_fn;

use super::*;
use crate::config::NamedUpstream;
use crate::metrics::{self, Registry};
use crate::outcome::Outcome;
use crate::upstream::{Answer, Attempt};

const OKTA: SourceId = SourceId::Incidents(0);
const DENIAL: SourceId = SourceId::Incidents(1);
const FILES: SourceId = SourceId::Incidents(2);

/// A source of an upstream of its own, one of the default upstream, and one of files.
fn config() -> Config {
    let mut config = Config::default();
    let settings = config.upstream.clone();
    config.upstreams.push(NamedUpstream { name: "okta".to_owned(), settings });
    config.identities.clear();
    config.sources.retain(|source| ["denial", "probing", "other"].contains(&source.name.as_str()));
    config.sources[0].name = "logins".to_owned();
    config.sources[1].name = "denial".to_owned();
    let Origin::Http(http) = &mut config.sources[0].origin else { unreachable!() };
    http.upstream = "okta".to_owned();
    config.sources[2].origin = Origin::File("/data/*.csv".to_owned());
    config
}

/// Answers by the path that is asked for.
async fn answer(attempt: Attempt) -> Result<Answer, UpstreamError> {
    let url = attempt.request.url.clone();
    match url.path() {
        "/slow" => pending().await,
        "/busy" => Err(UpstreamError::new(Outcome::RateLimited, "busy")
            .with_status(StatusCode::TOO_MANY_REQUESTS)
            .with_retry_after(Some(Duration::from_mins(10)))),
        "/gone" => Err(UpstreamError::new(Outcome::Status, "gone")),
        _ => Ok(Answer::ok(url, Bytes::from_static(b"{}"))),
    }
}

struct Bench {
    registry: Registry,
    metrics: UpstreamMetrics,
}

impl Bench {
    fn new() -> Self {
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        Self { registry, metrics }
    }

    fn build(&self, config: &Config, before: Option<&Upstreams>) -> Upstreams {
        let connector = |_: &str, settings: &_| {
            let transport = service_fn(|attempt: Attempt| answer(attempt).boxed());
            Ok(Connector::over(&transport, settings))
        };
        Upstreams::build(config, before, &self.metrics, 1, connector).unwrap()
    }

    fn start(&self, config: &Config) -> Upstreams {
        let upstreams = self.build(config, None);
        upstreams.activate(&self.metrics);
        upstreams
    }

    fn page(&self) -> String {
        metrics::encode(&self.registry)
    }

    fn value(&self, series: &str) -> Option<String> {
        let page = self.page();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("incident_gateway_")?.strip_prefix(series));
        line.map(|value| value.trim().to_owned())
    }
}

fn request(path: &str) -> Request {
    Request::get(Url::parse("http://api.example.test").unwrap().join(path).unwrap())
}

/// The error of a call, if it fails.
async fn call(upstreams: &Upstreams, source: SourceId, path: &str) -> Option<UpstreamError> {
    let context = CallContext { max_wait: Duration::ZERO, ..CallContext::default() };
    upstreams.fetch(source, request(path), context).await.map(|answer| drop(answer.accept())).err()
}

async fn open_circuit(upstreams: &Upstreams, source: SourceId) {
    while upstreams.breaker_state(source) == Some(BreakerState::Closed) {
        call(upstreams, source, "/gone").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_changed_keeps_what_it_has_learned() {
    let bench = Bench::new();
    let before = bench.start(&config());
    open_circuit(&before, DENIAL).await;
    call(&before, OKTA, "/busy").await;
    let mut slow = Box::pin(before.fetch(OKTA, request("/slow"), CallContext::default()));
    let _ = futures::poll!(&mut slow);

    // In another order, with another schedule, and beside a new source.
    let mut other = config();
    other.sources.rotate_left(1);
    other.cache.ttl = Duration::from_secs(7);
    other.sources.push(config::Source::plain("new", "/new/", &["who"]));
    let after = bench.build(&other, Some(&before));
    let [denial, okta] = ["denial", "logins"].map(|name| after.source(name).unwrap());
    assert_eq!((denial, okta), (SourceId::Incidents(0), SourceId::Incidents(2)));
    assert_eq!(after.breaker_state(denial), Some(BreakerState::Open));
    assert_eq!(after.waits_until(okta), before.waits_until(OKTA));
    assert!(after.waits_until(okta).is_some() && after.waits_until(denial).is_none());
    for name in [DEFAULT_UPSTREAM, "okta"] {
        let of = |upstreams: &Upstreams| {
            let found = upstreams.clients.iter().position(|one| **one.name() == *name);
            Arc::as_ptr(upstreams.clients[found.unwrap()].shared())
        };
        assert_eq!(of(&after), of(&before), "{name}");
    }
    let new = after.source("new").unwrap();
    assert_eq!(after.breaker_state(new), Some(BreakerState::Closed));
    assert!(call(&after, new, "/").await.is_none());
    assert_eq!(after.source("unknown"), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_counts_for_the_limit_of_an_unchanged_upstream() {
    let bench = Bench::new();
    let mut config = config();
    config.upstream.concurrency = config::Concurrency::Fixed(1);
    let before = bench.start(&config);
    let mut slow = Box::pin(before.fetch(DENIAL, request("/slow"), CallContext::default()));
    assert!(futures::poll!(&mut slow).is_pending());
    let after = bench.build(&config, Some(&before));
    assert_eq!((after.load(), after.load().in_flight), (before.load(), 1));
    let mut second = Box::pin(call(&after, DENIAL, "/"));
    assert!(futures::poll!(&mut second).is_pending());
    // A cancelled call makes room at once.
    drop(slow);
    assert_eq!(second.await.map(|error| error.detail), None);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_starts_anew() {
    let bench = Bench::new();
    let before = bench.start(&config());
    open_circuit(&before, DENIAL).await;
    open_circuit(&before, OKTA).await;
    call(&before, OKTA, "/busy").await;

    let mut other = config();
    other.upstreams[0].settings.retries += 1;
    let after = bench.build(&other, Some(&before));
    assert_eq!(after.waits_until(OKTA), None);
    assert_eq!(after.breaker_state(OKTA), Some(BreakerState::Closed));
    assert_eq!(after.breaker_state(DENIAL), Some(BreakerState::Open));

    let mut other = config();
    other.sources[1].identity = Vec::new();
    let after = bench.build(&other, Some(&before));
    assert_eq!(after.breaker_state(OKTA), Some(BreakerState::Open));
    assert_eq!(after.breaker_state(DENIAL), Some(BreakerState::Closed));
    assert_eq!(after.breaker_state(FILES), None);
}

#[tokio::test(start_paused = true)]
async fn metrics_follow_when_the_new_clients_take_over() {
    let bench = Bench::new();
    let before = bench.start(&config());
    call(&before, DENIAL, "/").await;
    open_circuit(&before, OKTA).await;
    let page = bench.page();
    let mut other = config();
    other.upstreams.clear();
    other.sources[0] = config::Source::plain("new", "/new/", &["who"]);
    other.sources[1].identity = Vec::new();
    let after = bench.build(&other, Some(&before));
    drop(bench.build(&config(), Some(&before)));
    assert_eq!(bench.page(), page, "they may never be used");

    after.activate(&bench.metrics);
    let page = bench.page();
    assert!(!page.contains("logins") && !page.contains("okta"), "{page}");
    let ok = |source: &str| {
        bench.value(&format!("upstream_requests_total{{source=\"{source}\",outcome=\"ok\"}}"))
    };
    assert_eq!((ok("denial").as_deref(), ok("new").as_deref()), (Some("1"), Some("0")));
    call(&after, DENIAL, "/").await;
    assert_eq!(ok("denial").as_deref(), Some("2"), "it goes on counting");
    // What is left of the old clients shows nowhere.
    call(&before, OKTA, "/").await;
    assert!(!bench.page().contains("logins"));

    // A source that returns counts from zero, and its circuit is closed.
    let back = bench.build(&config(), Some(&after));
    back.activate(&bench.metrics);
    assert_eq!(ok("logins").as_deref(), Some("0"));
    assert_eq!(bench.value("circuit_state{source=\"logins\"}").as_deref(), Some("0"));
    assert!(bench.value("upstream_concurrency_limit{upstream=\"okta\"}").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_kept_shows_its_state() {
    let bench = Bench::new();
    let before = bench.start(&config());
    open_circuit(&before, DENIAL).await;
    let state = || bench.value("circuit_state{source=\"denial\"}");
    let kept = bench.build(&config(), Some(&before));
    kept.activate(&bench.metrics);
    assert_eq!(state().as_deref(), Some("2"));
    let mut other = config();
    other.upstream.retries += 1;
    let changed = bench.build(&other, Some(&kept));
    assert_eq!(state().as_deref(), Some("2"));
    changed.activate(&bench.metrics);
    assert_eq!(state().as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn many_reloads_leave_no_series_and_no_clients() {
    let bench = Bench::new();
    let mut upstreams = bench.start(&config());
    let lines = |bench: &Bench| bench.page().lines().count();
    let before = lines(&bench);
    let mut old = Vec::new();
    for round in 0..100 {
        let mut other = config();
        other.sources[0].name = format!("logins-{round}");
        other.upstreams[0].name = format!("okta-{round}");
        let Origin::Http(http) = &mut other.sources[0].origin else { unreachable!() };
        http.upstream = format!("okta-{round}");
        let next = bench.build(&other, Some(&upstreams));
        next.activate(&bench.metrics);
        let replaced = std::mem::replace(&mut upstreams, next);
        old.push(Arc::downgrade(replaced.clients[1].shared()));
        assert_eq!(lines(&bench), before, "round {round}");
    }
    assert!(old.iter().all(|shared| shared.strong_count() == 0));
}

#[tokio::test(start_paused = true)]
async fn limits_that_were_found_are_adopted_by_the_name_of_the_upstream() {
    let bench = Bench::new();
    let mut config = config();
    config.upstream.concurrency = config::Concurrency::Auto;
    config.upstreams[0].settings.concurrency = config::Concurrency::Fixed(2);
    let upstreams = bench.build(&config, None);
    let found = |limit| [("default".to_owned(), limit)];
    assert_eq!(upstreams.limits().len(), 1, "a fixed limit was not found");
    let limits =
        [("gone".to_owned(), 9), ("okta".to_owned(), 7), ("default".to_owned(), usize::MAX)];
    upstreams.adopt_limits(&limits);
    assert_eq!(upstreams.limits(), found(config.upstream.max_concurrency));
    upstreams.adopt_limits(&found(5));
    assert_eq!(upstreams.limits(), found(5));
    assert_eq!(upstreams.load().limit, 5 + 2);
}
