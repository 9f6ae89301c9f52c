//! A gateway in this process, over views made of given bodies, asked without a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use incident_gateway::cache::Cache;
use incident_gateway::clock::{FetchTime, WallClock};
use incident_gateway::config::Config;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::http::{Body, Gateway, Phase};
use incident_gateway::identity::IdentityTable;
use incident_gateway::join::join;
use incident_gateway::metrics;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::{self, Policy, Snapshot, SourceStatus, View};
use incident_gateway::sources::{PerSource, SourceId};
use incident_gateway::upstream::{Endpoint, Upstream, UpstreamMetrics};
use tokio::sync::watch;
use tokio::time::Instant;

/// What a source has: `None` when it has not come.
pub(crate) type Bodies<'a> = Vec<Option<&'a str>>;

/// A gateway over snapshots that the test publishes.
pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    views: AtomicU64,
}

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    /// A gateway with the default configuration and nothing to serve yet.
    pub(crate) fn new() -> Self {
        Self::configured(Config::default())
    }

    /// A gateway with this configuration and nothing to serve yet.
    pub(crate) fn configured(config: Config) -> Self {
        let endpoints = Endpoint::all(&config);
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        let upstream =
            Arc::new(Upstream::new(&config.upstream, endpoints.as_slice(), &metrics, 1).unwrap());
        let cache = Arc::new(Cache::new(config.cache.max_bytes, 2));
        let (phase, phases) = watch::channel(Phase::Serving);
        let sources = endpoints.map(|_, endpoint| SourceStatus::new(Arc::clone(&endpoint.name)));
        let first = Snapshot {
            view: Arc::new(view(&config, 0, None, &[])),
            sources: Arc::new(sources),
            policy: policy(&config),
        };
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        snapshot::metrics::register(&mut registry, receiver.clone());
        let gateway =
            Gateway::new(&config, receiver, Arc::clone(&cache), registry, upstream, phases);
        Self {
            config,
            gateway: Arc::new(gateway),
            cache,
            phase,
            snapshots,
            views: AtomicU64::new(1),
        }
    }

    /// A gateway that has all sources: the given bodies by name, and empty ones else.
    pub(crate) fn with(bodies: &[(&str, &str)]) -> Self {
        let site = Self::new();
        site.publish_named(bodies);
        site
    }

    /// A gateway over the repository's fixtures.
    pub(crate) fn with_fixtures() -> Self {
        let site = Self::new();
        let identities = fixture("identities");
        let bodies: Vec<String> =
            site.config.sources.iter().map(|source| fixture(&source.name)).collect();
        site.publish(Some(&identities), bodies.iter().map(|body| Some(body.as_str())).collect());
        site
    }

    /// Publishes the given bodies by name, and empty ones for the sources that are not named.
    pub(crate) fn publish_named(&self, bodies: &[(&str, &str)]) {
        let body =
            |wanted: &str| bodies.iter().find(|(name, _)| *name == wanted).map(|(_, body)| *body);
        let incidents = self
            .config
            .sources
            .iter()
            .map(|source| body(&source.name).or(Some(r#"{"results":[]}"#)));
        self.publish(body("identities").or(Some("{}")), incidents.collect());
    }

    /// A view of these bodies that nobody is served yet.
    pub(crate) fn unpublished(&self, identities: Option<&str>, bodies: &Bodies<'_>) -> Arc<View> {
        Arc::new(view(&self.config, self.views.fetch_add(1, Ordering::Relaxed), identities, bodies))
    }

    /// Publishes these bodies as fetched now; a source without one is missing.
    #[expect(clippy::needless_pass_by_value, reason = "callers build the list for this call")]
    pub(crate) fn publish(&self, identities: Option<&str>, bodies: Bodies<'_>) {
        let view = self.unpublished(identities, &bodies);
        let before = Arc::clone(&self.snapshots.borrow());
        let sources = before.sources.map(|source, before| {
            let body = match source {
                SourceId::Identities => identities,
                SourceId::Incidents(index) => bodies.get(index).copied().flatten(),
            };
            SourceStatus {
                fetched_at: body.map(|_| FetchTime::now(&WallClock::system())),
                last_success: body.map(|_| SystemTime::now()),
                last_attempt: Some(SystemTime::now()),
                bytes: body.map_or(0, str::len),
                was_attempted: true,
                next_attempt: Some(Instant::now() + self.config.cache.ttl),
                ..SourceStatus::new(Arc::clone(&before.name))
            }
        });
        let sources = Arc::new(sources);
        let snapshot = Snapshot { view, sources, policy: policy(&self.config) };
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Publishes the same view with other states.
    pub(crate) fn publish_states(&self, change: impl Fn(&mut SourceStatus)) {
        let before = Arc::clone(&self.snapshots.borrow());
        let mut sources = PerSource::clone(&before.sources);
        sources.iter_mut().for_each(change);
        let sources = Arc::new(sources);
        self.snapshots.send_replace(Arc::new(Snapshot { sources, ..(*before).clone() }));
    }

    /// The answer to a request, its body not read yet.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Arc::clone(&self.gateway).answer(request.body(()).unwrap()).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let (parts, body) = self.ask(Method::GET, path, headers).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        ttl: config.cache.ttl,
        grace: config.upstream.timeout,
        stale_for: config.cache.stale_for,
    }
}

/// A view of these bodies, with the configured sources.
pub(crate) fn view(
    config: &Config,
    id: u64,
    identities: Option<&str>,
    bodies: &[Option<&str>],
) -> View {
    let names: Vec<Arc<str>> =
        config.sources.iter().map(|source| Arc::from(source.name.as_str())).collect();
    let batches = config.sources.iter().enumerate().map(|(index, source)| {
        let body = Bytes::from(bodies.get(index).copied().flatten()?.to_owned());
        Some(Arc::new(Incidents::decode(body, &SourceFields::new(&source.identity)).unwrap()))
    });
    let identities =
        identities.map(|body| IdentityTable::decode(Bytes::from(body.to_owned())).unwrap());
    let batches: Box<[_]> = batches.collect();
    let index = join(identities.as_ref(), &batches);
    View::new(id, names.into(), batches, index).with_fields(config.known_fields())
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A program that `.ci/install-web` installs; `None`, said loudly, where it has not been run. With
/// `INCIDENT_GATEWAY_NO_SKIP` set, as in CI, its absence is a failure.
pub(crate) fn tool(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INCIDENT_GATEWAY_WEB_TOOLS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/web-tools")),
        PathBuf::from,
    );
    let tool = root.join(path);
    if tool.exists() {
        return Some(tool);
    }
    assert!(
        std::env::var_os("INCIDENT_GATEWAY_NO_SKIP").is_none(),
        "{test}: no {path}; run .ci/install-web"
    );
    eprintln!("SKIPPED {test}: no {path}; run .ci/install-web");
    None
}
