//! The client of one upstream: a stack of services for each of its sources.

use std::fmt;
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
    Attempt, BreakerState, CallContext, Load, SetupError, UnverifiedAnswer, UpstreamError,
    UpstreamMetrics,
};
use crate::config;
use crate::request::Request;

struct Source {
    stack: BoxCloneSyncService<Attempt, UnverifiedAnswer, UpstreamError>,
    breaker: Arc<Breaker>,
}

/// A client for all sources of one upstream.
pub struct Upstream {
    base_url: Url,
    sources: Vec<Source>,
    admission: Arc<Admission>,
    budget: Arc<RetryBudget>,
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
        let rate = settings.rate.map(RateLimiter::new).map(Arc::new);
        let names = SettingNames::new(name, settings);
        let transport = HttpTransport::new(&names, settings, rate.clone())?;
        let credentials = Credentials::new(&names, settings)?;
        Ok(Self::assemble(name, settings, sources, &transport, rate, &credentials, metrics, seed))
    }

    /// Creates a client with the same stack over another transport than HTTP, such as a simulated
    /// upstream on paused time.
    pub fn with_transport<T: Transport>(
        name: &str,
        settings: &config::Upstream,
        sources: &[Arc<str>],
        transport: &T,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self {
        let rate = settings.rate.map(RateLimiter::new).map(Arc::new);
        let credentials = Credentials::none();
        Self::assemble(name, settings, sources, transport, rate, &credentials, metrics, seed)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a stack")]
    fn assemble<T: Transport>(
        name: &str,
        settings: &config::Upstream,
        sources: &[Arc<str>],
        transport: &T,
        rate: Option<Arc<RateLimiter>>,
        credentials: &Credentials,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let limiter = Arc::new(Limiter::new(
            settings.concurrency,
            settings.max_concurrency,
            metrics.concurrency(name),
        ));
        let admission = Arc::new(Admission { wait: RateLimitWait::default(), rate, limiter });
        let budget = Arc::new(RetryBudget::new());
        let trace_ids = Arc::new(Mutex::new(seeds.fork()));
        let sources = sources.iter().map(|source| {
            let metrics = metrics.source(source);
            let breaker = Arc::new(Breaker::new(Arc::clone(source), metrics.clone(), seeds.fork()));
            let policy = RetryPolicy {
                source: Arc::clone(source),
                retries: settings.retries,
                budget: Arc::clone(&budget),
                breaker: Arc::clone(&breaker),
                jitter: Arc::new(Mutex::new(seeds.fork())),
                metrics: metrics.clone(),
            };
            let call = CallTelemetry {
                inner: transport.clone(),
                source: Arc::clone(source),
                deadline: settings.timeout,
                metrics: metrics.clone(),
                trace_ids: Arc::clone(&trace_ids),
            };
            let admitted = AdmissionService {
                inner: call,
                admission: Arc::clone(&admission),
                metrics: metrics.clone(),
            };
            let authenticated =
                AuthService { inner: admitted, credentials: credentials.clone(), metrics };
            let guarded = BreakerService { inner: authenticated, breaker: Arc::clone(&breaker) };
            Source { stack: BoxCloneSyncService::new(Retry::new(policy, guarded)), breaker }
        });
        let sources = sources.collect();
        Self { base_url: settings.base_url.clone(), sources, admission, budget }
    }

    /// The base URL, as configured.
    #[must_use]
    pub const fn base_url(&self) -> &Url {
        &self.base_url
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
        let Source { stack, breaker } = &self.sources[source];
        if breaker.state() == BreakerState::Closed {
            self.budget.deposit();
        }
        stack.clone().oneshot(Attempt::first(source, request, context)).await
    }

    /// The number of calls in flight, and its limit.
    #[must_use]
    pub fn load(&self) -> Load {
        self.admission.limiter.load()
    }

    /// Until when the upstream asks not to be called; `None` if it may be called now.
    #[must_use]
    pub fn waits_until(&self) -> Option<Instant> {
        self.admission.wait.until()
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

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base_url", &self.base_url.as_str())
            .field("sources", &self.sources.len())
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}
