//! The client of one upstream: a stack of services for each of its sources.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Url;
use tokio::time::Instant;
use tower::ServiceExt as _;
use tower::retry::Retry;
use tower::util::BoxCloneSyncService;

use super::admission::{Admission, AdmissionService};
use super::auth::{AuthService, Credentials};
use super::breaker::{Breaker, BreakerService};
use super::call::CallTelemetry;
use super::limit::Limiter;
use super::rate::RateLimiter;
use super::retry::{RetryBudget, RetryPolicy};
use super::setting_names::SettingNames;
use super::transport::{HttpTransport, Transport};
use super::wait::RateLimitWait;
use super::{
    Answer, Attempt, BreakerState, CallContext, Load, SetupError, UnverifiedAnswer, UpstreamError,
    UpstreamMetrics,
};
use crate::config;
use crate::request::Request;

/// How calls reach an upstream, whatever its sources.
pub(super) struct Connector {
    transport: BoxCloneSyncService<Attempt, Answer, UpstreamError>,
    rate: Option<Arc<RateLimiter>>,
    credentials: Credentials,
}

impl Connector {
    /// Over HTTP. Fails when TLS cannot be set up, for example because there are no CA
    /// certificates.
    pub(super) fn http(name: &str, settings: &config::Upstream) -> Result<Self, SetupError> {
        let rate = settings.rate.map(RateLimiter::new).map(Arc::new);
        let names = SettingNames::new(name, settings);
        let transport = HttpTransport::new(&names, settings, rate.clone())?;
        let credentials = Credentials::new(&names, settings)?;
        Ok(Self { transport: BoxCloneSyncService::new(transport), rate, credentials })
    }

    /// Over another transport than HTTP.
    pub(super) fn over<T: Transport>(transport: &T, settings: &config::Upstream) -> Self {
        let rate = settings.rate.map(RateLimiter::new).map(Arc::new);
        let transport = BoxCloneSyncService::new(transport.clone());
        Self { transport, rate, credentials: Credentials::none() }
    }
}

/// What all sources of an upstream share.
pub(super) struct Shared {
    name: Arc<str>,
    settings: config::Upstream,
    transport: BoxCloneSyncService<Attempt, Answer, UpstreamError>,
    credentials: Credentials,
    admission: Arc<Admission>,
    budget: Arc<RetryBudget>,
    trace_ids: Arc<Mutex<fastrand::Rng>>,
    next_source: AtomicUsize,
}

/// A source of an upstream.
pub(super) struct Source {
    /// The number of the source among all that the upstream has ever had.
    number: usize,
    stack: BoxCloneSyncService<Attempt, UnverifiedAnswer, UpstreamError>,
    breaker: Arc<Breaker>,
}

/// A source of a new client: one of the client before, or a new one with this name.
pub(super) enum SourceOrName<'a> {
    Kept(Arc<Source>),
    New(&'a Arc<str>),
}

/// A client for all sources of one upstream.
pub struct Upstream {
    shared: Arc<Shared>,
    sources: Vec<Arc<Source>>,
}

impl Upstream {
    /// Creates the client of the upstream with this name over HTTP, for the sources with these
    /// names. `seed` determines the jitter, trace ids and span ids.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, for example because there are no CA certificates.
    pub fn new(
        name: &str,
        settings: &config::Upstream,
        sources: &[Arc<str>],
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let connector = Connector::http(name, settings)?;
        let sources = sources.iter().map(SourceOrName::New);
        let upstream = Self::connect(name, settings, connector, sources, metrics, seed);
        upstream.activate();
        Ok(upstream)
    }

    /// Creates a client over another transport than HTTP, such as a simulated upstream on paused
    /// time, for the sources with these names. `seed` determines the jitter, trace ids and span
    /// ids.
    pub fn with_transport<T: Transport>(
        name: &str,
        settings: &config::Upstream,
        sources: &[Arc<str>],
        transport: &T,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self {
        let connector = Connector::over(transport, settings);
        let sources = sources.iter().map(SourceOrName::New);
        let upstream = Self::connect(name, settings, connector, sources, metrics, seed);
        upstream.activate();
        upstream
    }

    /// Creates a client that reaches the upstream with this name through `connector`.
    pub(super) fn connect<'a>(
        name: &str,
        settings: &config::Upstream,
        connector: Connector,
        sources: impl Iterator<Item = SourceOrName<'a>>,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let Connector { transport, rate, credentials } = connector;
        let limiter = Arc::new(Limiter::new(
            settings.concurrency,
            settings.max_concurrency,
            metrics.concurrency(name),
        ));
        let shared = Shared {
            name: name.into(),
            settings: settings.clone(),
            transport,
            credentials,
            admission: Arc::new(Admission { wait: RateLimitWait::default(), rate, limiter }),
            budget: Arc::new(RetryBudget::new()),
            trace_ids: Arc::new(Mutex::new(seeds.fork())),
            next_source: AtomicUsize::new(0),
        };
        Self::of_sources(Arc::new(shared), sources, metrics, seeds)
    }

    /// A client of the same upstream for other sources. It shares the connections, the limits, the
    /// access tokens and the budget with this one.
    pub(super) fn with_sources<'a>(
        &self,
        sources: impl Iterator<Item = SourceOrName<'a>>,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self {
        let seeds = fastrand::Rng::with_seed(seed);
        Self::of_sources(Arc::clone(&self.shared), sources, metrics, seeds)
    }

    fn of_sources<'a>(
        shared: Arc<Shared>,
        sources: impl Iterator<Item = SourceOrName<'a>>,
        metrics: &UpstreamMetrics,
        mut seeds: fastrand::Rng,
    ) -> Self {
        let sources = sources.map(|source| match source {
            SourceOrName::Kept(source) => source,
            SourceOrName::New(name) => Arc::new(shared.source(name, metrics, &mut seeds)),
        });
        Self { sources: sources.collect(), shared }
    }

    /// The concurrency limit that was found, unless it is fixed.
    pub(super) fn found_limit(&self) -> Option<usize> {
        self.shared.admission.limiter.found()
    }

    /// Searches on from a concurrency limit that was found earlier.
    pub(super) fn adopt_limit(&self, limit: usize) {
        self.shared.admission.limiter.adopt(limit);
    }

    /// The name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// The settings from which it was created.
    pub(super) fn settings(&self) -> &config::Upstream {
        &self.shared.settings
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The source with this index, for a client of other sources.
    pub(super) fn source(&self, source: usize) -> Arc<Source> {
        Arc::clone(&self.sources[source])
    }

    /// Shows the state of the limit and of each circuit in the metrics from now on.
    pub(super) fn activate(&self) {
        self.shared.admission.limiter.activate();
        self.sources.iter().for_each(|source| source.breaker.activate());
    }

    /// The base URL, as configured.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.shared.settings.base_url
    }

    /// Makes a call for a source, with retries; `source` is its index in the list that the client
    /// was built from. The caller then verifies the answer, and calls [`UnverifiedAnswer::accept`]
    /// or [`UnverifiedAnswer::reject`].
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
    /// When there is no such source.
    pub async fn fetch(
        &self,
        source: usize,
        request: Request,
        context: CallContext,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        let Source { number, stack, breaker } = &*self.sources[source];
        if breaker.state() == BreakerState::Closed {
            self.shared.budget.deposit();
        }
        stack.clone().oneshot(Attempt::first(*number, request, context)).await
    }

    /// The number of calls in flight, and its limit.
    #[must_use]
    pub fn load(&self) -> Load {
        self.shared.admission.limiter.load()
    }

    /// Until when the upstream asks not to be called; `None` if it may be called now.
    #[must_use]
    pub fn waits_until(&self) -> Option<Instant> {
        self.shared.admission.wait.until()
    }

    /// The state of a source's circuit breaker.
    ///
    /// # Panics
    ///
    /// When there is no such source.
    #[must_use]
    pub fn breaker_state(&self, source: usize) -> BreakerState {
        self.sources[source].breaker.state()
    }
}

impl Shared {
    /// A source that was not called yet.
    fn source(
        &self,
        name: &Arc<str>,
        metrics: &UpstreamMetrics,
        seeds: &mut fastrand::Rng,
    ) -> Source {
        let metrics = metrics.source(name);
        let breaker = Arc::new(Breaker::new(Arc::clone(name), metrics.clone(), seeds.fork()));
        let policy = RetryPolicy {
            source: Arc::clone(name),
            retries: self.settings.retries,
            budget: Arc::clone(&self.budget),
            breaker: Arc::clone(&breaker),
            jitter: Arc::new(Mutex::new(seeds.fork())),
            metrics: metrics.clone(),
        };
        let call = CallTelemetry {
            inner: self.transport.clone(),
            source: Arc::clone(name),
            deadline: self.settings.timeout,
            metrics: metrics.clone(),
            trace_ids: Arc::clone(&self.trace_ids),
        };
        let admitted = AdmissionService {
            inner: call,
            admission: Arc::clone(&self.admission),
            metrics: metrics.clone(),
        };
        let credentials = self.credentials.clone();
        let authenticated = AuthService { inner: admitted, credentials, metrics };
        let guarded = BreakerService { inner: authenticated, breaker: Arc::clone(&breaker) };
        Source {
            number: self.next_source.fetch_add(1, Ordering::Relaxed),
            stack: BoxCloneSyncService::new(Retry::new(policy, guarded)),
            breaker,
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base_url", &self.base_url().as_str())
            .field("sources", &self.sources.len())
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}
