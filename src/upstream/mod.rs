//! Fetches a source: the bytes of its whole answer, or a typed error.
//!
//! Each source has a stack of tower services, outermost first:
//!
//! 1. **Retry** (`retry`), within a budget that all sources share. It is outside of the limit, so
//!    that no permit is held during backoff, and outside of the breaker, so that every attempt
//!    counts there and an open circuit ends the retries.
//! 2. **Circuit breaker** (`breaker`), one for each source. It is outside of the limit, so that a
//!    refused call does not wait for a permit.
//! 3. **Concurrency limit** (`limit`), one for all sources, whose calls slow each other down.
//! 4. **Deadline and telemetry** (`call`): one deadline for connecting, headers and the whole body,
//!    but not for the wait for a permit; each attempt is measured and logged.
//! 5. **Transport** (`client`): reqwest. Requests that the upstream did not process are sent again
//!    (`resend`); bodies are decoded, and bounded in size (`body`, `content_coding`).

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

/// The name of the only upstream in metrics.
const DEFAULT_UPSTREAM: &str = "default";

struct Source {
    stack: BoxCloneSyncService<Attempt, UnverifiedAnswer, UpstreamError>,
    breaker: Arc<Breaker>,
}

/// A client for all endpoints of one upstream. Share it behind an [`Arc`].
pub struct Upstream {
    sources: Vec<Source>,
    limiter: Arc<Limiter>,
    budget: Arc<RetryBudget>,
}

impl Upstream {
    /// Creates a client over HTTP. `seed` determines the jitter, trace ids and span ids.
    ///
    /// # Errors
    ///
    /// When a path gives no URL below the base URL, or TLS cannot be set up, for example because
    /// there are no CA certificates.
    pub fn new(
        settings: &config::Upstream,
        endpoints: &[Endpoint],
        metrics: &UpstreamMetrics,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let transport = HttpTransport::new(settings, endpoints)?;
        Ok(Self::with_transport(settings, endpoints, &transport, metrics, seed))
    }

    /// Creates a client with the same stack over another transport than HTTP, such as a simulated
    /// upstream on paused time.
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

    /// Calls an endpoint, with retries; `endpoint` is its index in the list that the client was
    /// built from. The caller then verifies the body, and calls [`UnverifiedAnswer::accept`] or
    /// [`UnverifiedAnswer::reject`].
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

    /// The number of calls in flight, and its limit.
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
    pub fn breaker_state(&self, endpoint: usize) -> BreakerState {
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

/// Locks a mutex. Poisoning is ignored: no code in this module can panic between two statements
/// that together keep an invariant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
