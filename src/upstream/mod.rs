//! One source → the bytes of its answer, or a typed error.
//!
//! Each source has a stack of tower services. Outermost first, and why in this order:
//!
//! 1. **Retry** (`retry`), within a budget that all sources share. Outside of the limit, so that no
//!    permit is held while it backs off; outside of the breaker, so that every attempt counts there
//!    and an open circuit ends the retries.
//! 2. **Circuit breaker** (`breaker`), one a source. Outside of the limit: a call that will not be
//!    made waits for nothing.
//! 3. **Concurrency limit** (`limit`), one for all sources: they share the upstream, and slow each
//!    other down.
//! 4. **Deadline and telemetry** (`call`): one deadline over connecting, headers and the whole
//!    body, waiting for a permit not included; each attempt is measured and logged.
//! 5. **Transport** (`client`): reqwest; what the upstream did not process is sent again
//!    (`resend`); the body is decoded within a bound on its size (`body`, `content_coding`).

mod answer;
mod body;
mod breaker;
mod call;
mod classify;
mod client;
mod content_coding;
mod endpoint;
mod error;
mod limit;
mod metrics;
mod resend;
mod retry;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tower::retry::Retry;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

pub use self::answer::UnverifiedAnswer;
pub use self::breaker::BreakerState;
pub use self::call::{Attempt, CallContext, OnRetry};
pub use self::client::SetupError;
pub use self::endpoint::Endpoint;
pub use self::error::UpstreamError;
pub use self::limit::Load;
pub use self::metrics::UpstreamMetrics;

use self::breaker::{Breaker, BreakerService};
use self::call::CallTelemetry;
use self::client::HttpTransport;
use self::limit::{Limiter, LimiterService};
use self::retry::{RetryBudget, RetryPolicy};
use crate::config;

/// The name that metrics give to the one upstream there is.
const DEFAULT_UPSTREAM: &str = "default";

struct Source {
    stack: BoxCloneSyncService<Attempt, UnverifiedAnswer, UpstreamError>,
    breaker: Arc<Breaker>,
}

/// The endpoints of one upstream. Share it behind an [`Arc`].
pub struct Upstream {
    sources: Vec<Source>,
    limiter: Arc<Limiter>,
    budget: Arc<RetryBudget>,
}

impl Upstream {
    /// Reaches the endpoints over HTTP as the settings say. `seed` decides all jitter and the span
    /// ids.
    ///
    /// # Errors
    ///
    /// When a path makes no address below the base URL, or TLS cannot be set up (no CA
    /// certificates, say).
    pub fn new(
        settings: &config::Upstream,
        endpoints: &[Endpoint],
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let transport = HttpTransport::new(settings, endpoints)?;
        Ok(Self::with_transport(settings, endpoints, &transport, metrics, seed))
    }

    /// The same stack over another transport than HTTP, such as a simulated upstream on paused
    /// time.
    pub fn with_transport<T>(
        settings: &config::Upstream,
        endpoints: &[Endpoint],
        transport: &T,
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Self
    where
        T: Service<Attempt, Response = Bytes, Error = UpstreamError>
            + Clone
            + Send
            + Sync
            + 'static,
        T::Future: Send,
    {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let limiter = Arc::new(Limiter::new(
            settings.concurrency,
            settings.max_concurrency,
            metrics.concurrency(DEFAULT_UPSTREAM),
        ));
        let budget = Arc::new(RetryBudget::new());
        let trace_ids = Arc::new(Mutex::new(seeds.fork()));
        let sources = endpoints.iter().map(|endpoint| {
            let source = Arc::clone(&endpoint.name);
            let metrics = metrics.source(&source);
            let breaker =
                Arc::new(Breaker::new(Arc::clone(&source), metrics.clone(), seeds.fork()));
            let policy = RetryPolicy {
                source: Arc::clone(&source),
                retries: settings.retries,
                budget: Arc::clone(&budget),
                breaker: Arc::clone(&breaker),
                jitter: Arc::new(Mutex::new(seeds.fork())),
                metrics: metrics.clone(),
            };
            let call = CallTelemetry {
                inner: transport.clone(),
                source,
                deadline: settings.timeout,
                metrics,
                trace_ids: Arc::clone(&trace_ids),
            };
            let bounded = LimiterService { inner: call, limiter: Arc::clone(&limiter) };
            let guarded = BreakerService { inner: bounded, breaker: Arc::clone(&breaker) };
            Source { stack: BoxCloneSyncService::new(Retry::new(policy, guarded)), breaker }
        });
        let sources = sources.collect();
        Self { sources, limiter, budget }
    }

    /// Calls an endpoint, by its place in the list the upstream was built from, again where the
    /// failure may pass, until a body has come whole. The caller then judges that body:
    /// [`UnverifiedAnswer::accept`] or [`UnverifiedAnswer::reject`].
    ///
    /// Dropping the future gives the call up; the upstream's connection is closed and nothing is
    /// counted.
    ///
    /// # Errors
    ///
    /// How the last attempt failed.
    ///
    /// # Panics
    ///
    /// When there is no such endpoint.
    pub async fn fetch(
        &self,
        endpoint: usize,
        context: CallContext,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        let source = &self.sources[endpoint];
        if source.breaker.state() == BreakerState::Closed {
            self.budget.deposit();
        }
        source.stack.clone().oneshot(Attempt::first(endpoint, context)).await
    }

    /// How many calls are in flight, and how many may be.
    #[must_use]
    pub fn load(&self) -> Load {
        self.limiter.load()
    }

    /// The state of an endpoint's circuit breaker.
    ///
    /// # Panics
    ///
    /// When there is no such endpoint.
    #[must_use]
    pub fn breaker(&self, endpoint: usize) -> BreakerState {
        self.sources[endpoint].breaker.state()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("endpoints", &self.sources.len())
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}

/// No invariant of this stage spans two statements that may panic, so a poisoned lock is as good as
/// another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
