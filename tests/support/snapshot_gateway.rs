//! A gateway in this process without an upstream or sockets: the test publishes its snapshots, and
//! calls its public service directly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use incident_gateway::access::{Access, AccessMetrics};
use incident_gateway::cache::Cache;
use incident_gateway::clock::{FetchTime, WallClock};
use incident_gateway::config::Config;
use incident_gateway::forward::ForwardStatus;
use incident_gateway::http::{Body, Gateway, Phase};
use incident_gateway::metrics;
use incident_gateway::refresh::SourceSettings;
use incident_gateway::snapshot::{self, Snapshot, SourceStatus, View};
use incident_gateway::sources::{PerSource, SourceId};
use incident_gateway::store::StoreHandle;
use incident_gateway::upstream::{UpstreamMetrics, Upstreams};
use tokio::sync::watch;
use tokio::time::Instant;

use super::views::{fixture, view};

/// The body of each incident source; `None` for a source without data.
pub(crate) type Bodies<'a> = Vec<Option<&'a str>>;

/// A gateway that serves the snapshots that the test publishes.
pub(crate) struct SnapshotGateway {
    pub(crate) config: Config,
    /// The gateway itself.
    pub(crate) inner: Arc<Gateway>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) forwards: watch::Sender<Arc<[ForwardStatus]>>,
    views: AtomicU64,
}

/// A response with its whole body.
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

impl SnapshotGateway {
    /// A gateway with the default configuration and no data.
    pub(crate) fn new() -> Self {
        Self::configured(Config::default())
    }

    /// A gateway with this configuration and no data.
    pub(crate) fn configured(config: Config) -> Self {
        Self::assembled(config, None)
    }

    /// The same with this store.
    pub(crate) fn with_store(config: Config, store: StoreHandle) -> Self {
        Self::assembled(config, Some(store))
    }

    fn assembled(config: Config, store: Option<StoreHandle>) -> Self {
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        let upstream = Arc::new(Upstreams::new(&config, &metrics, 1).unwrap());
        let cache = Arc::new(Cache::new(config.cache.max_bytes, 2));
        let (phase, phases) = watch::channel(Phase::Serving);
        let sources = SourceSettings::all(&config).map(|_, source| source.first_status());
        let first = Snapshot {
            view: Arc::new(view(&config, 0, None, &[])),
            sources: Arc::new(sources),
            had_data: false,
        };
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        snapshot::metrics::register(&mut registry, receiver.clone());
        let access = Access::new(&config, None, &AccessMetrics::register(&mut registry)).unwrap();
        let gateway =
            Gateway::new(&config, receiver, Arc::clone(&cache), registry, upstream, phases, 7)
                .with_access(access);
        let (forwards, statuses) = watch::channel(Arc::default());
        let gateway = gateway.with_forwards(statuses);
        let gateway = match store {
            Some(store) => gateway.with_store(store),
            None => gateway,
        };
        let (inner, views) = (Arc::new(gateway), AtomicU64::new(1));
        Self { config, inner, cache, phase, snapshots, forwards, views }
    }

    /// A gateway with data from all sources: the named bodies, and empty ones for other sources.
    pub(crate) fn with(bodies: &[(&str, &str)]) -> Self {
        let gateway = Self::new();
        gateway.publish_named(bodies);
        gateway
    }

    /// A gateway with the data of `fixtures/`.
    pub(crate) fn with_fixtures() -> Self {
        let gateway = Self::new();
        gateway.publish_fixtures();
        gateway
    }

    /// Publishes the data of `fixtures/`.
    pub(crate) fn publish_fixtures(&self) {
        let identities = fixture("identities");
        let bodies: Vec<String> =
            self.config.sources.iter().map(|source| fixture(&source.name)).collect();
        self.publish(Some(&identities), bodies.iter().map(|body| Some(body.as_str())).collect());
    }

    /// Publishes the named bodies, and empty ones for other sources.
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

    /// A view of these bodies that is not published.
    pub(crate) fn unpublished(&self, identities: Option<&str>, bodies: &Bodies<'_>) -> Arc<View> {
        Arc::new(view(&self.config, self.views.fetch_add(1, Ordering::Relaxed), identities, bodies))
    }

    /// Publishes these bodies as fetched now; a source without a body is missing.
    #[expect(clippy::needless_pass_by_value, reason = "callers build the list for this call")]
    pub(crate) fn publish(&self, identities: Option<&str>, bodies: Bodies<'_>) {
        let view = self.unpublished(identities, &bodies);
        let before = Arc::clone(&self.snapshots.borrow());
        let sources = before.sources.map(|source, before| {
            let body = match source {
                SourceId::Table(_) => identities,
                SourceId::Incidents(index) => bodies.get(index).copied().flatten(),
            };
            SourceStatus {
                fetched_at: body.map(|_| FetchTime::now(&WallClock::system())),
                last_success: body.map(|_| SystemTime::now()),
                last_attempt: Some(SystemTime::now()),
                bytes: body.map_or(0, str::len),
                was_attempted: true,
                next_attempt: Some(Instant::now() + self.config.cache.ttl),
                upstream: before.upstream.clone(),
                ..SourceStatus::new(Arc::clone(&before.name), before.policy)
            }
        });
        let sources = Arc::new(sources);
        let snapshot = Snapshot { view, sources, had_data: false };
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Publishes the current view with changed states of its sources.
    pub(crate) fn publish_states(&self, change: impl Fn(&mut SourceStatus)) {
        let before = Arc::clone(&self.snapshots.borrow());
        let mut sources = PerSource::clone(&before.sources);
        sources.iter_mut().for_each(change);
        let sources = Arc::new(sources);
        self.snapshots.send_replace(Arc::new(Snapshot { sources, ..(*before).clone() }));
    }

    /// The response to a request; its body has not been read.
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
        Arc::clone(&self.inner).answer(request.body(()).unwrap()).await
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
