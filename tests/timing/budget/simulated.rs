//! The budget over many seeded schedules of latencies, faults and requests, on paused time: there
//! is no noise there, so it has to hold to the millisecond.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use incident_gateway::cache::Cache;
use incident_gateway::clock::WallClock;
use incident_gateway::config::Config;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::http::{Gateway, Phase};
use incident_gateway::identity::IdentityTable;
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;
use incident_gateway::refresh::{
    Batch, Fetch, FetchedBatch, Fetcher, Refresh, RefreshMetrics, Repeat, RunOptions, Settings,
};
use incident_gateway::sources::SourceId;
use incident_gateway::upstream::{UpstreamError, UpstreamMetrics, Upstreams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::gateway::GOOD;

/// A moody upstream: each call takes its time, and then answers, fails, or has taken too long.
struct Moody {
    config: Config,
    rng: Mutex<fastrand::Rng>,
    /// How often, of 100 calls, one fails.
    failing: u32,
    /// The most that a call takes.
    slowest: Duration,
    in_flight: Arc<[AtomicUsize; GOOD.len()]>,
}

impl Fetcher for Moody {
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let source = fetch.source;
        let position = match source {
            SourceId::Table(table) => table,
            SourceId::Incidents(index) => index + 1,
        };
        let in_flight = Arc::clone(&self.in_flight);
        assert_eq!(
            in_flight[position].fetch_add(1, Ordering::SeqCst),
            0,
            "one call a source, however many wait"
        );
        let mut rng = self.rng.lock().unwrap();
        let took = self.slowest.mul_f64(rng.f64());
        let kinds = [Outcome::Status, Outcome::Body, Outcome::Decode, Outcome::CircuitOpen];
        let failure = (rng.u32(..100) < self.failing).then(|| kinds[rng.usize(..kinds.len())]);
        let retry_after = rng.bool().then(|| Duration::from_secs(rng.u64(..20)));
        let deadline = self.config.upstream.timeout;
        let failure = if took > deadline { Some(Outcome::Timeout) } else { failure };
        let body = Bytes::from_static(GOOD[position].1.as_bytes());
        let batch = match source {
            SourceId::Table(_) => Batch::Identities(Arc::new(IdentityTable::decode(body).unwrap())),
            SourceId::Incidents(index) => {
                let fields = SourceFields::new(&self.config.sources[index].identity_fields());
                Batch::Incidents(Arc::new(Incidents::decode(body, &fields).unwrap()))
            }
        };
        async move {
            sleep(took.min(deadline)).await;
            in_flight[position].fetch_sub(1, Ordering::SeqCst);
            match failure {
                Some(kind) => Err(UpstreamError::new(kind, "moody").with_retry_after(retry_after)),
                None => Ok(FetchedBatch::new(batch, took)),
            }
        }
        .boxed()
    }
}

/// How a request asks.
#[derive(Clone, Debug)]
struct Ask {
    at: Duration,
    path: &'static str,
    prefer: Option<&'static str>,
}

const PATHS: [&str; 8] = [
    "/incidents",
    "/incidents",
    "/incidents?complete=true",
    "/incidents?complete=false",
    "/incidents?priority=high,critical",
    "/incidents/100",
    "/unattributed",
    "/summary",
];

const PREFER: [Option<&str>; 7] = [
    None,
    None,
    Some("wait=0"),
    Some("wait=1"),
    Some("wait=60"),
    Some("handling=strict"),
    Some("handling=lenient, wait=1"),
];

impl Ask {
    fn strict(&self) -> bool {
        let preferred = self.prefer == Some("handling=strict");
        if self.path.contains("complete=") { self.path.ends_with("true") } else { preferred }
    }

    /// The longest that it may take.
    fn most(&self, budget: Duration) -> Duration {
        let wait = self.prefer.and_then(|prefer| prefer.split_once("wait=")?.1.parse().ok());
        wait.map_or(budget, |wait| budget.min(Duration::from_secs(wait)))
    }

    /// What `Preference-Applied` must say: `complete` in the query overrules `handling`.
    fn applied(&self) -> &'static str {
        match self.prefer {
            Some("handling=strict") if self.path.ends_with("complete=false") => "",
            Some("handling=lenient, wait=1") if self.path.ends_with("complete=true") => "wait=1",
            prefer => prefer.unwrap_or_default(),
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// One upstream's moods and one crowd's requests.
async fn play(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = Config::default();
    config.cache.ttl = Duration::from_secs([1, 5, 30][rng.usize(..3)]);
    config.cache.stale_for = Duration::from_secs([30, 60, 3600][rng.usize(..3)]);
    let mut registry = metrics::registry();
    let metrics = UpstreamMetrics::register(&mut registry);
    let refresh_metrics = RefreshMetrics::register(&mut registry);
    let upstream = Arc::new(Upstreams::new(&config, &metrics, seed).unwrap());
    let cache = Arc::new(Cache::new(config.cache.max_bytes, 4));
    let origin = Moody {
        config: config.clone(),
        rng: Mutex::new(rng.fork()),
        failing: [0, 5, 30, 90][rng.usize(..4)],
        slowest: Duration::from_millis([20, 1500, 4000, 12_000][rng.usize(..4)]),
        in_flight: Arc::default(),
    };
    let options = RunOptions { seed, repeat: Repeat::Always, clock: WallClock::system() };
    let settings = Settings::new(&config);
    let (refresh, snapshots) =
        Refresh::new(Arc::new(origin), Arc::clone(&cache), refresh_metrics, settings, options);
    let (_phase, phases) = watch::channel(Phase::Serving);
    let gateway = Arc::new(Gateway::new(&config, snapshots, cache, registry, upstream, phases, 7));
    let refresh = tokio::spawn(refresh.run());
    let start = Instant::now();
    let asks: Vec<Ask> = (0..60)
        .map(|number| Ask {
            // Half of them while it is cold.
            at: Duration::from_millis(rng.u64(..if number % 2 == 0 { 6_000 } else { 120_000 })),
            path: PATHS[rng.usize(..PATHS.len())],
            prefer: PREFER[rng.usize(..PREFER.len())],
        })
        .collect();
    let asked: Vec<_> = asks
        .into_iter()
        .map(|ask| tokio::spawn(check(Arc::clone(&gateway), ask, config.clone(), start, seed)))
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
    refresh.abort();
}

async fn check(gateway: Arc<Gateway>, ask: Ask, config: Config, start: Instant, seed: u64) {
    sleep_until(start + ask.at).await;
    let mut request = Request::builder().uri(ask.path).header("host", "test");
    if let Some(prefer) = ask.prefer {
        request = request.header("prefer", prefer);
    }
    let before = gateway.snapshot();
    let asked = Instant::now();
    let (head, body) = Arc::clone(&gateway).answer(request.body(()).unwrap()).await.into_parts();
    let took = asked.elapsed();
    let body = body.collect().await.unwrap().to_bytes();
    let (status, headers) = (head.status.as_u16(), &head.headers);
    let name = format!("seed {seed}, {ask:?}: {status} after {took:?}, {headers:?}");
    // The timer counts whole milliseconds.
    assert!(took <= ask.most(config.response_budget) + Duration::from_millis(1), "{name}");
    if !before.is_loading() && before.has_data() && !ask.strict() {
        assert_eq!(took, Duration::ZERO, "data that is there is given at once: {name}");
    }
    let completeness = header(headers, "incident-completeness");
    let sources: Vec<&str> = header(headers, "incident-sources")
        .split(", ")
        .map(|source| {
            source.split(';').find_map(|parameter| parameter.strip_prefix("state=")).unwrap()
        })
        .collect();
    assert_eq!(sources.len(), GOOD.len(), "{name}");
    let expected = match () {
        () if sources.contains(&"missing") => "partial",
        () if sources.contains(&"stale") => "stale",
        () => "complete",
    };
    assert_eq!(completeness, expected, "{name}");
    assert_eq!(header(headers, "preference-applied"), ask.applied(), "{name}");
    assert!(header(headers, "vary").contains("Prefer"), "{name}");
    if status != 200 {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let problem = problem["type"].as_str().unwrap().rsplit(':').next().unwrap();
        let lawful = match (status, problem) {
            (503, "no-data") => completeness == "partial",
            (503, "incomplete") => ask.strict() && completeness != "complete",
            (404, "unknown-employee") => ask.path == "/incidents/100" && completeness == "partial",
            _ => false,
        };
        assert!(lawful, "{problem}, {name}");
        assert!(
            status == 404 || header(headers, "retry-after").parse::<u64>().unwrap() >= 1,
            "{name}"
        );
        assert_eq!(header(headers, "cache-control"), "no-store", "{name}");
        return;
    }
    assert!(!ask.strict() || completeness == "complete", "{name}");
    let age: u64 = header(headers, "age").parse().unwrap();
    assert!(age <= config.cache.stale_for.as_secs(), "{name}");
    let control = header(headers, "cache-control");
    if completeness == "partial" {
        assert_eq!(control, "private, max-age=0", "{name}");
    } else {
        let max_age = control
            .strip_prefix("private, max-age=")
            .and_then(|rest| rest.split(',').next())
            .unwrap();
        assert!(
            (age..=config.cache.ttl.as_secs().max(age)).contains(&max_age.parse().unwrap()),
            "{name}"
        );
        assert!(
            control.contains("stale-while-revalidate=") && control.contains("stale-if-error="),
            "{name}"
        );
    }
    let cache_status = header(headers, "cache-status");
    match cache_status.strip_prefix("incident-gateway; hit; ttl=") {
        Some(ttl) => {
            let ttl: i64 = ttl.parse().unwrap();
            assert_eq!(ttl < 0, age >= config.cache.ttl.as_secs() && ttl != 0, "{name}");
        }
        None => assert_eq!(cache_status, "incident-gateway; fwd=miss; collapsed", "{name}"),
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_late_or_untrue_over_many_schedules() {
    for seed in 0..150 {
        play(seed).await;
    }
}
