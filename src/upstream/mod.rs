//! One source → the bytes of its answer, or a typed error.
//!
//! Each source has a stack of tower services. Outermost first, and why in this order:
//!
//! 1. **Retry** (`retry`), within a budget that all sources share. Outside of the limit, so that no
//!    permit is held while it backs off; outside of the breaker, so that every try counts there and
//!    an open circuit ends the retries.
//! 2. **Circuit breaker** (`breaker`), one a source. Outside of the limit: a call that will not be
//!    made waits for nothing.
//! 3. **Concurrency limit** (`limit`), one for all sources: they share the upstream, and slow each
//!    other down.
//! 4. **Deadline and record** (`call`): one deadline over connecting, headers and the whole body,
//!    waiting for a permit not included; the metrics and the log tell of each try.
//! 5. **Transport** (`client`): reqwest, and a bound on the body's size (`body`).

mod body;
mod breaker;
mod call;
mod classify;
mod client;
mod error;
mod limit;
mod metrics;
mod retry;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tower::retry::Retry;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

pub use self::breaker::BreakerState;
pub use self::call::{Answer, Attempt, Caller, OnRetry};
pub use self::client::SetupError;
pub use self::error::UpstreamError;
pub use self::limit::Load;
pub use self::metrics::UpstreamMetrics;

use self::breaker::{Admitted, Breaker, Guard, Ticket};
use self::call::{Observe, Record, Reply};
use self::client::HttpTransport;
use self::limit::{Limit, Limiter};
use self::retry::{RetryBudget, RetryPolicy};
use crate::config;
use crate::outcome::Outcome;

/// The name that metrics give to the one upstream there is.
const DEFAULT_UPSTREAM: &str = "default";

/// One endpoint of the upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The source's name, in logs and metrics.
    pub name: Arc<str>,
    /// Its path below `upstream.base_url`; begins with `/`.
    pub path: String,
}

struct Source {
    stack: BoxCloneSyncService<Attempt, Admitted<Reply>, UpstreamError>,
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
        T: Service<Attempt, Response = Answer, Error = UpstreamError>
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
        let spans = Arc::new(Mutex::new(seeds.fork()));
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
            let call = Observe {
                inner: transport.clone(),
                source,
                deadline: settings.timeout,
                metrics,
                spans: Arc::clone(&spans),
            };
            let queued = Limit { inner: call, limiter: Arc::clone(&limiter) };
            let guarded = Guard { inner: queued, breaker: Arc::clone(&breaker) };
            Source { stack: BoxCloneSyncService::new(Retry::new(policy, guarded)), breaker }
        });
        let sources = sources.collect();
        Self { sources, limiter, budget }
    }

    /// Calls an endpoint, by its place in the list the upstream was built from, again where that is
    /// worth it, until a body has come whole. The caller then judges that body: [`Fetched::accept`]
    /// or [`Fetched::refuse`].
    ///
    /// Dropping the future gives the call up; the upstream's connection is closed and nothing is
    /// counted.
    ///
    /// # Errors
    ///
    /// How the last try failed.
    ///
    /// # Panics
    ///
    /// When there is no such endpoint.
    pub async fn fetch(&self, endpoint: usize, caller: &Caller) -> Result<Fetched, UpstreamError> {
        let source = &self.sources[endpoint];
        if source.breaker.state() == BreakerState::Closed {
            self.budget.deposit();
        }
        let attempt =
            Attempt { endpoint, number: 1, probe: false, caller: caller.clone(), span: 0 };
        let Admitted { reply: Reply { body, record }, ticket } =
            source.stack.clone().oneshot(attempt).await?;
        Ok(Fetched { body, record, ticket })
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

/// A body that came whole, waiting for the verdict on what is in it.
///
/// Until then the call counts neither for the breaker nor in the metrics. Dropped without a verdict
/// it counts as `ok` in the metrics, and not at all for the breaker.
#[derive(Debug)]
#[must_use = "accept or refuse it, so that the breaker and the metrics learn how the call ended"]
pub struct Fetched {
    body: Bytes,
    record: Record,
    ticket: Ticket,
}

impl Fetched {
    /// The body, decompressed.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// How long the last try took, body included; not the tries before it, nor the wait for a turn.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.record.took()
    }

    /// How many tries it took; at least 1.
    #[must_use]
    pub const fn attempts(&self) -> usize {
        self.record.attempt()
    }

    /// The body is what it should be.
    pub fn accept(self) -> Bytes {
        self.ticket.succeed();
        self.record.succeed();
        self.body
    }

    /// The body is not what it should be: the call failed with [`Outcome::Decode`]. `detail` is for
    /// people, and must quote nothing from the body.
    pub fn refuse(self, detail: impl Into<String>) -> UpstreamError {
        self.ticket.fail();
        let error = UpstreamError::new(Outcome::Decode, detail).with_status(http::StatusCode::OK);
        self.record.fail(error)
    }
}

/// No invariant of this stage spans two statements that may panic, so a poisoned lock is as good as
/// another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
