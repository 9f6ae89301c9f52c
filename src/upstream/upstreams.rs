//! All upstreams, and which of them each source is fetched from.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Url;
use tokio::time::Instant;

use super::transport::Transport;
use super::{
    BreakerState, CallContext, Load, SetupError, UnverifiedAnswer, Upstream, UpstreamError,
    UpstreamMetrics,
};
use crate::config::{self, Config, DEFAULT_UPSTREAM, HttpOrigin, Origin};
use crate::request::{Pager, Request, RequestTimes};
use crate::sources::{PerSource, SourceId, names};

/// Where a source is fetched from.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// The index of its upstream.
    upstream: usize,
    /// The index of the source among those of the upstream.
    source: usize,
}

/// A client for each upstream that a source is fetched from. Share it behind an [`Arc`].
#[derive(Debug)]
pub struct Upstreams {
    upstreams: Vec<Upstream>,
    /// `None` for a source of files.
    routes: PerSource<Option<Route>>,
}

impl Upstreams {
    /// Creates the clients. `seed` determines the jitter, trace ids and span ids.
    ///
    /// # Errors
    ///
    /// When the request of a source cannot be made, for example because its path gives no URL below
    /// its upstream's base URL, or when TLS cannot be set up.
    pub fn new(config: &Config, metrics: &UpstreamMetrics, seed: u64) -> Result<Self, SetupError> {
        Self::build(config, seed, |name, settings, sources, seed| {
            Upstream::new(name, settings, sources, metrics, seed)
        })
    }

    /// Creates the clients of a new configuration. Upstreams and sources that have not changed keep
    /// what they have learned: connections, limits, waits, access tokens, circuits.
    ///
    /// # Errors
    ///
    /// As those of [`Self::new`]; then nothing has changed.
    pub fn reconfigured(
        &self,
        config: &Config,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        Self::new(config, metrics, seed)
    }

    /// Creates clients with the same stack over another transport than HTTP, such as a simulated
    /// upstream on paused time.
    ///
    /// # Errors
    ///
    /// When the request of a source cannot be made.
    pub fn with_transport<T: Transport>(
        config: &Config,
        transport: &T,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        Self::build(config, seed, |name, settings, sources, seed| {
            Ok(Upstream::with_transport(name, settings, sources, transport, metrics, seed))
        })
    }

    fn build(
        config: &Config,
        seed: u64,
        client: impl Fn(&str, &config::Upstream, &[Arc<str>], u64) -> Result<Upstream, SetupError>,
    ) -> Result<Self, SetupError> {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let names = names(config);
        let tables = config.identities.iter().map(|table| &table.origin);
        let incidents = config.sources.iter().map(|source| &source.origin);
        let origins = PerSource::new(tables, incidents);
        let mut routes = origins.map(|_, _| None);
        let default = (DEFAULT_UPSTREAM, &config.upstream);
        let others = config.upstreams.iter().map(|other| (other.name.as_str(), &other.settings));
        let mut upstreams = Vec::new();
        for (upstream, settings) in std::iter::once(default).chain(others) {
            let mut sources: Vec<Arc<str>> = Vec::new();
            for (id, origin) in origins.entries() {
                let Origin::Http(http) = origin else { continue };
                if http.upstream == upstream {
                    check_request(&names[id], http, settings)?;
                    let route = Route { upstream: upstreams.len(), source: sources.len() };
                    routes[id] = Some(route);
                    sources.push(Arc::clone(&names[id]));
                }
            }
            if !sources.is_empty() {
                upstreams.push(client(upstream, settings, &sources, seeds.u64(..))?);
            }
        }
        Ok(Self { upstreams, routes })
    }

    fn route(&self, source: SourceId) -> (&Upstream, usize) {
        let route = self.routes[source].expect("the source is fetched from an upstream");
        (&self.upstreams[route.upstream], route.source)
    }

    /// The base URL of a source's upstream.
    ///
    /// # Panics
    ///
    /// When it is a source of files.
    #[must_use]
    pub fn base_url(&self, source: SourceId) -> &Url {
        self.route(source).0.base_url()
    }

    /// Makes a call for a source, with retries. The caller then verifies the answer, and calls
    /// [`UnverifiedAnswer::accept`] or [`UnverifiedAnswer::reject`].
    ///
    /// Dropping the future cancels the call, which then counts neither for the breaker nor in the
    /// metrics.
    ///
    /// # Errors
    ///
    /// The failure of the last attempt.
    ///
    /// # Panics
    ///
    /// When it is a source of files.
    pub async fn fetch(
        &self,
        source: SourceId,
        request: Request,
        context: CallContext,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        let (upstream, source) = self.route(source);
        let observer = context.observer.clone();
        observer.asked(&request);
        let answer = upstream.fetch(source, request, context).await?;
        observer.answered(&answer.answer);
        Ok(answer)
    }

    /// Until when the source's upstream asks not to be called; `None` if it may be called now, and
    /// for a source of files.
    #[must_use]
    pub fn waits_until(&self, source: SourceId) -> Option<Instant> {
        self.upstreams[self.routes[source]?.upstream].waits_until()
    }

    /// The number of calls in flight to all upstreams, and the sum of their limits.
    #[must_use]
    pub fn load(&self) -> Load {
        self.upstreams.iter().map(Upstream::load).fold(Load::default(), |sum, load| Load {
            in_flight: sum.in_flight + load.in_flight,
            limit: sum.limit + load.limit,
        })
    }

    /// The state of a source's circuit breaker; `None` for a source of files.
    #[must_use]
    pub fn breaker_state(&self, source: SourceId) -> Option<BreakerState> {
        let route = self.routes[source]?;
        Some(self.upstreams[route.upstream].breaker_state(route.source))
    }
}

/// Checks that the request for a source's first page can be made, whatever the time, and has the
/// places that later pages need.
fn check_request(
    source: &Arc<str>,
    http: &HttpOrigin,
    settings: &config::Upstream,
) -> Result<(), SetupError> {
    let times = RequestTimes { now: Timestamp::UNIX_EPOCH, since: Timestamp::UNIX_EPOCH };
    Pager::new(&http.request, http.next.as_ref(), &settings.base_url, times, http.max_pages)
        .map(drop)
        .map_err(|error| SetupError::Request { source: source.to_string(), detail: error.detail })
}
