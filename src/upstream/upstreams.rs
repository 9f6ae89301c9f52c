//! All upstreams, and which of them each source is fetched from.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Url;
use tokio::time::Instant;

use super::metrics::Configured;
use super::stack::{Connector, Source, SourceOrName};
use super::transport::Transport;
use super::{
    BreakerState, CallContext, Load, SetupError, UnverifiedAnswer, Upstream, UpstreamError,
    UpstreamMetrics,
};
use crate::config::{self, Config, DEFAULT_UPSTREAM, HttpOrigin, Origin};
use crate::request::{Pager, Request, RequestTimes};
use crate::sources::{Definition, PerSource, SourceId, definitions, names};

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
    clients: Vec<Upstream>,
    /// `None` for a source of files.
    routes: PerSource<Option<Route>>,
    names: PerSource<Arc<str>>,
    definitions: PerSource<Definition>,
}

/// An upstream whose client is about to be created.
struct Plan<'a> {
    name: &'a str,
    settings: &'a config::Upstream,
    sources: Vec<SourceId>,
    /// `None` if the client before reached the upstream in the same way.
    connector: Option<Connector>,
    seed: u64,
}

impl Upstreams {
    /// Creates the clients. `seed` determines the jitter, trace ids and span ids.
    ///
    /// # Errors
    ///
    /// When the request of a source cannot be made, for example because its path gives no URL below
    /// its upstream's base URL, or when TLS cannot be set up.
    pub fn new(config: &Config, metrics: &UpstreamMetrics, seed: u64) -> Result<Self, SetupError> {
        let upstreams = Self::build(config, None, metrics, seed, Connector::http)?;
        upstreams.activate(metrics);
        Ok(upstreams)
    }

    /// Creates the clients of a new configuration. Upstreams that have not changed keep their
    /// connections, limits, waits, access tokens and retry budgets, and their sources that have not
    /// changed keep their circuits. Nothing else changes before [`Self::activate`].
    ///
    /// # Errors
    ///
    /// As those of [`Self::new`].
    pub fn reconfigured(
        &self,
        config: &Config,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        Self::build(config, Some(self), metrics, seed, Connector::http)
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
        let connector = |_: &str, settings: &_| Ok(Connector::over(transport, settings));
        let upstreams = Self::build(config, None, metrics, seed, connector)?;
        upstreams.activate(metrics);
        Ok(upstreams)
    }

    fn build(
        config: &Config,
        before: Option<&Self>,
        metrics: &UpstreamMetrics,
        seed: u64,
        connector: impl Fn(&str, &config::Upstream) -> Result<Connector, SetupError>,
    ) -> Result<Self, SetupError> {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let (names, definitions) = (names(config), definitions(config));
        let tables = config.identities.iter().map(|table| &table.origin);
        let incidents = config.sources.iter().map(|source| &source.origin);
        let origins = PerSource::new(tables, incidents);
        let default = (DEFAULT_UPSTREAM, &config.upstream);
        let others = config.upstreams.iter().map(|other| (other.name.as_str(), &other.settings));
        let mut plans = Vec::new();
        for (name, settings) in std::iter::once(default).chain(others) {
            let mut sources = Vec::new();
            for (id, origin) in origins.entries() {
                let Origin::Http(http) = origin else { continue };
                if http.upstream == name {
                    check_request(&names[id], http, settings)?;
                    sources.push(id);
                }
            }
            if sources.is_empty() {
                continue;
            }
            let is_kept = before.is_some_and(|before| before.upstream(name, settings).is_some());
            let connector = if is_kept { None } else { Some(connector(name, settings)?) };
            plans.push(Plan { name, settings, sources, connector, seed: seeds.u64(..) });
        }
        // From here on nothing can fail.
        let mut routes = origins.map(|_, _| None);
        let clients = plans.into_iter().enumerate().map(|(upstream, plan)| {
            let Plan { name, settings, sources, connector, seed } = plan;
            for (source, id) in sources.iter().enumerate() {
                routes[*id] = Some(Route { upstream, source });
            }
            let sources = sources.iter().map(|id| {
                let kept = before.and_then(|before| before.kept(&names[*id], &definitions[*id]));
                kept.map_or(SourceOrName::New(&names[*id]), SourceOrName::Kept)
            });
            let before = before.and_then(|before| before.upstream(name, settings));
            match (connector, before) {
                (None, Some(before)) => before.with_sources(sources, metrics, seed),
                (Some(connector), _) => {
                    Upstream::connect(name, settings, connector, sources, metrics, seed)
                }
                (None, None) => unreachable!("only a kept upstream has no connector"),
            }
        });
        Ok(Self { clients: clients.collect(), routes, names, definitions })
    }

    /// The upstream with this name and these settings.
    fn upstream(&self, name: &str, settings: &config::Upstream) -> Option<&Upstream> {
        let mut upstreams = self.clients.iter();
        upstreams.find(|upstream| **upstream.name() == *name && upstream.settings() == settings)
    }

    /// The source with this name and definition. Its upstream has not changed either, because a
    /// definition has the settings of the upstream.
    fn kept(&self, name: &str, definition: &Definition) -> Option<Arc<Source>> {
        let id = self.source(name).filter(|id| self.definitions[*id] == *definition)?;
        let route = self.routes[id]?;
        Some(self.clients[route.upstream].source(route.source))
    }

    /// Makes the metrics those of this configuration: the series of other sources and upstreams are
    /// removed, those of new ones appear.
    pub fn activate(&self, metrics: &UpstreamMetrics) {
        let named = |is_called: bool| -> BTreeSet<Arc<str>> {
            let routes = self.routes.entries().filter(|(_, route)| route.is_some() == is_called);
            routes.map(|(id, _)| Arc::clone(&self.names[id])).collect()
        };
        metrics.retain(&Configured {
            called: named(true),
            files: named(false),
            upstreams: self.clients.iter().map(|upstream| Arc::clone(upstream.name())).collect(),
        });
        self.clients.iter().for_each(Upstream::activate);
    }

    /// The source with this name. Other configurations may give it another [`SourceId`].
    #[must_use]
    pub fn source(&self, name: &str) -> Option<SourceId> {
        self.names.entries().find(|(_, known)| ***known == *name).map(|(id, _)| id)
    }

    fn route(&self, source: SourceId) -> (&Upstream, usize) {
        let route = self.routes[source].expect("the source is fetched from an upstream");
        (&self.clients[route.upstream], route.source)
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
        self.clients[self.routes[source]?.upstream].waits_until()
    }

    /// The number of calls in flight to all upstreams, and the sum of their limits.
    #[must_use]
    pub fn load(&self) -> Load {
        self.clients.iter().map(Upstream::load).fold(Load::default(), |sum, load| Load {
            in_flight: sum.in_flight + load.in_flight,
            limit: sum.limit + load.limit,
        })
    }

    /// The concurrency limits that were found, by the name of the upstream. Fixed ones are left
    /// out.
    #[must_use]
    pub fn limits(&self) -> Vec<(String, usize)> {
        let found =
            |upstream: &Upstream| Some((upstream.name().to_string(), upstream.found_limit()?));
        self.clients.iter().filter_map(found).collect()
    }

    /// Searches on from concurrency limits that were found earlier, by the name of the upstream.
    /// Those of unknown upstreams, and of upstreams with a fixed limit, are ignored.
    pub fn adopt_limits(&self, limits: &[(String, usize)]) {
        for (name, limit) in limits {
            let mut clients = self.clients.iter();
            if let Some(upstream) = clients.find(|upstream| **upstream.name() == **name) {
                upstream.adopt_limit(*limit);
            }
        }
    }

    /// The state of a source's circuit breaker; `None` for a source of files.
    #[must_use]
    pub fn breaker_state(&self, source: SourceId) -> Option<BreakerState> {
        let route = self.routes[source]?;
        Some(self.clients[route.upstream].breaker_state(route.source))
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

#[cfg(test)]
mod tests;
