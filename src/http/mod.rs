//! The HTTP server: what is served on the public and on the admin listener.
//!
//! A request passes through `serve` (connections), `layers` (concerns shared by all routes) and
//! `service` (routing) to the file of its resource. Resources made of incident data go through
//! `snapshot_selection` and `rendered_response`. What a caller may see of the data is their
//! `visibility`: a query cannot be parsed, nor a header, an event stream or a page made, without
//! it.

mod body;
mod conditions;
mod connection;
mod context;
pub mod current_service;
mod events;
mod freshness;
mod history;
mod incidents;
mod layers;
mod metrics;
pub mod negotiate;
mod openapi;
mod page;
mod permission;
mod prefer;
mod problem;
mod query;
mod rendered_response;
mod response_cache;
mod routes;
mod serve;
mod service;
mod snapshot_selection;
mod sources;
mod static_content;
mod summary;
mod tls;
mod visibility;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use body::Body;
pub use connection::ConnectionHandle;
pub use events::event_generation;
pub use prefer::Preferences;
pub use problem::Problem;
pub use query::{AllowedKeys, Query};
pub use serve::{ListenerSettings, Phase, Server};
pub use service::HttpService;
pub use tls::{ServerTls, TlsError};

use self::freshness::FreshnessHeadersCache;
use self::metrics::HttpMetrics;
use self::response_cache::ResponseCache;
use crate::access::Access;
use crate::cache::Cache;
use crate::config::{Admin, Config};
use crate::forward::ForwardStatus;
use crate::metrics::Registry;
use crate::snapshot::Snapshot;
use crate::store::StoreHandle;
use crate::upstream::Upstreams;

/// What all requests share.
pub struct Gateway {
    budget: Duration,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    cache: Arc<Cache>,
    metrics: Arc<HttpMetrics>,
    registry: Arc<Registry>,
    upstreams: Arc<Upstreams>,
    phase: watch::Receiver<Phase>,
    max_requests: usize,
    /// Permits for requests in flight.
    request_permits: Arc<Semaphore>,
    freshness_headers: FreshnessHeadersCache,
    response_cache: ResponseCache,
    events: Arc<events::Feed>,
    access: Arc<Access>,
    admin: Admin,
    allowed_hosts: Option<Arc<[String]>>,
    /// The access control of the newest gateway, which open event streams watch.
    current_access: watch::Sender<Arc<Access>>,
    /// Where the history is kept, if it is.
    store: Option<StoreHandle>,
    /// How far each forward has come, if there can be some.
    forwards: Option<watch::Receiver<Arc<[ForwardStatus]>>>,
    /// Permits for queries of the history.
    history_permits: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway that serves `snapshots`, and the metrics of `registry` at `/metrics`. The ids of
    /// its events begin with `event_generation`; see [`event_generation`].
    #[must_use]
    pub fn new(
        config: &Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        cache: Arc<Cache>,
        mut registry: Registry,
        upstreams: Arc<Upstreams>,
        phase: watch::Receiver<Phase>,
        event_generation: u64,
    ) -> Self {
        let request_permits = Arc::new(Semaphore::new(config.limits.max_requests));
        let max_streams = config.limits.max_events;
        let events = events::Feed::start(snapshots.clone(), max_streams, event_generation);
        Self {
            budget: config.response_budget,
            snapshots,
            cache,
            metrics: Arc::new(HttpMetrics::register(&mut registry)),
            registry: Arc::new(registry),
            upstreams,
            phase,
            max_requests: config.limits.max_requests,
            request_permits,
            freshness_headers: FreshnessHeadersCache::default(),
            response_cache: ResponseCache::default(),
            events,
            access: Access::open(),
            admin: config.admin,
            allowed_hosts: config.allowed_hosts.clone(),
            current_access: watch::Sender::new(Access::open()),
            store: None,
            forwards: None,
            history_permits: Arc::new(Semaphore::new(history::MAX_QUERIES)),
        }
    }

    /// Sets who may see what. Without it everybody may see everything.
    #[must_use]
    pub fn with_access(self, access: Arc<Access>) -> Self {
        self.current_access.send_replace(Arc::clone(&access));
        Self { access, ..self }
    }

    /// Sets where the history is kept. Without it there is none.
    #[must_use]
    pub fn with_store(self, store: StoreHandle) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Sets how far each forward has come. Without it there are none.
    #[must_use]
    pub fn with_forwards(self, forwards: watch::Receiver<Arc<[ForwardStatus]>>) -> Self {
        Self { forwards: Some(forwards), ..self }
    }

    /// The gateway of another configuration, with the same snapshots, metrics, event streams, store
    /// and statuses of forwards.
    /// `cache` and `upstreams` may be those of this gateway, or others. The other limit on event
    /// streams holds from now on. Call [`Self::end_revoked_streams`] before the other gateway
    /// serves.
    #[must_use]
    pub fn reconfigured(
        &self,
        config: &Config,
        cache: Arc<Cache>,
        upstreams: Arc<Upstreams>,
        access: Arc<Access>,
    ) -> Self {
        self.events.set_max_streams(config.limits.max_events);
        let max_requests = config.limits.max_requests;
        // Requests that are in flight do not count towards another limit.
        let request_permits = if max_requests == self.max_requests {
            Arc::clone(&self.request_permits)
        } else {
            Arc::new(Semaphore::new(max_requests))
        };
        Self {
            budget: config.response_budget,
            snapshots: self.snapshots.clone(),
            cache,
            metrics: Arc::clone(&self.metrics),
            registry: Arc::clone(&self.registry),
            upstreams,
            phase: self.phase.clone(),
            max_requests,
            request_permits,
            freshness_headers: FreshnessHeadersCache::default(),
            response_cache: ResponseCache::default(),
            events: Arc::clone(&self.events),
            access,
            admin: config.admin,
            allowed_hosts: config.allowed_hosts.clone(),
            current_access: self.current_access.clone(),
            store: self.store.clone(),
            forwards: self.forwards.clone(),
            history_permits: Arc::clone(&self.history_permits),
        }
    }

    /// Ends the open event streams that this gateway's access control does not grant any more.
    pub fn end_revoked_streams(&self) {
        self.current_access.send_replace(Arc::clone(&self.access));
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Whether the process has been asked to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }
}
