//! A circuit breaker: leaves a source alone after it has failed some times in a row.
//!
//! Consecutive failures count, not a rate: at a call every half minute a rate would take an hour to
//! mean anything.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};

use super::call::{Attempt, RecordedBody};
use super::metrics::SourceMetrics;
use super::{UnverifiedAnswer, UpstreamError, lock};
use crate::outcome::Outcome;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 5;

/// How long the circuit stays open at first; each failed probe doubles it.
const FIRST_OPEN: Duration = Duration::from_secs(5);

/// How long it stays open at most. The contract promises a try within 30 s; jitter only shortens.
const LONGEST_OPEN: Duration = Duration::from_secs(30);

/// When to ask again while the one probe of a half-open circuit is under way.
const PROBING: Duration = Duration::from_secs(1);

/// What a circuit breaker does with calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerState {
    /// Lets them through.
    Closed,
    /// Lets one through to see how the source is.
    HalfOpen,
    /// Refuses them until its time is over; the first call after that makes it half-open.
    Open,
}

impl BreakerState {
    /// The word that `/sources` and the log use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

#[derive(Debug)]
enum Circuit {
    Closed { failures: u32 },
    Open { until: Instant, openings: u32 },
    HalfOpen { probing: bool, openings: u32 },
}

impl Circuit {
    /// How long it refuses calls from now on; `None` when the next one may pass.
    fn refuses_for(&self) -> Option<Duration> {
        match *self {
            Self::Closed { .. } | Self::HalfOpen { probing: false, .. } => None,
            Self::HalfOpen { probing: true, .. } => Some(PROBING),
            Self::Open { until, .. } => {
                Some(until.duration_since(Instant::now())).filter(|left| !left.is_zero())
            }
        }
    }
}

#[derive(Debug)]
struct Inner {
    circuit: Circuit,
    jitter: fastrand::Rng,
}

/// The circuit breaker of one source.
#[derive(Debug)]
pub(super) struct Breaker {
    source: Arc<str>,
    metrics: SourceMetrics,
    inner: Mutex<Inner>,
}

impl Breaker {
    pub(super) fn new(source: Arc<str>, metrics: SourceMetrics, jitter: fastrand::Rng) -> Self {
        metrics.set_circuit_state(BreakerState::Closed);
        Self {
            source,
            metrics,
            inner: Mutex::new(Inner { circuit: Circuit::Closed { failures: 0 }, jitter }),
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match lock(&self.inner).circuit {
            Circuit::Closed { .. } => BreakerState::Closed,
            Circuit::HalfOpen { .. } => BreakerState::HalfOpen,
            Circuit::Open { .. } => BreakerState::Open,
        }
    }

    /// Lets a call pass, or says in how long one may.
    fn admit(self: &Arc<Self>) -> Result<BreakerPermit, Duration> {
        let mut inner = lock(&self.inner);
        if let Some(wait) = inner.circuit.refuses_for() {
            return Err(wait);
        }
        let is_probe = match inner.circuit {
            Circuit::Closed { .. } => false,
            Circuit::Open { openings, .. } | Circuit::HalfOpen { openings, .. } => {
                self.enter(&mut inner, Circuit::HalfOpen { probing: true, openings });
                true
            }
        };
        Ok(BreakerPermit { breaker: Arc::clone(self), is_probe, is_used: false })
    }

    /// Opens it, as failures would.
    #[cfg(test)]
    pub(super) fn trip(&self) {
        (0..FAILURES).for_each(|_| self.failed(false));
    }

    fn succeeded(&self, probe: bool) {
        let mut inner = lock(&self.inner);
        // A call from before the circuit opened says nothing of how the source is now: only the
        // probe closes it.
        if probe || matches!(inner.circuit, Circuit::Closed { .. }) {
            self.enter(&mut inner, Circuit::Closed { failures: 0 });
        }
    }

    fn failed(&self, probe: bool) {
        let mut inner = lock(&self.inner);
        let openings = match &mut inner.circuit {
            Circuit::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES {
                    return;
                }
                0
            }
            Circuit::HalfOpen { openings, .. } if probe => openings.saturating_add(1),
            Circuit::HalfOpen { .. } | Circuit::Open { .. } => return,
        };
        let most = FIRST_OPEN.saturating_mul(2_u32.saturating_pow(openings)).min(LONGEST_OPEN);
        let open = most.mul_f64(0.5 + 0.5 * inner.jitter.f64());
        self.enter(&mut inner, Circuit::Open { until: Instant::now() + open, openings });
    }

    /// The probe ended without a verdict (its caller went away): the next call is a probe again.
    fn abandoned(&self) {
        if let Circuit::HalfOpen { probing, .. } = &mut lock(&self.inner).circuit {
            *probing = false;
        }
    }

    fn enter(&self, inner: &mut Inner, circuit: Circuit) {
        let was = std::mem::discriminant(&inner.circuit);
        inner.circuit = circuit;
        if was == std::mem::discriminant(&inner.circuit) {
            return;
        }
        let source = &*self.source;
        let state = match inner.circuit {
            Circuit::Closed { .. } => {
                tracing::info!(
                    source,
                    state = "closed",
                    "circuit closed: the source answers again"
                );
                BreakerState::Closed
            }
            Circuit::HalfOpen { .. } => {
                tracing::info!(
                    source,
                    state = "half_open",
                    "circuit half-open: one call will try the source"
                );
                BreakerState::HalfOpen
            }
            Circuit::Open { until, .. } => {
                let open_seconds = until.duration_since(Instant::now()).as_secs_f64();
                tracing::warn!(
                    source,
                    state = "open",
                    open_seconds,
                    "circuit open: the source is left alone"
                );
                BreakerState::Open
            }
        };
        self.metrics.set_circuit_state(state);
    }
}

/// The right to make one call, and the duty to say how it went.
#[derive(Debug)]
pub(super) struct BreakerPermit {
    breaker: Arc<Breaker>,
    is_probe: bool,
    is_used: bool,
}

impl BreakerPermit {
    pub(super) fn succeed(mut self) {
        self.is_used = true;
        self.breaker.succeeded(self.is_probe);
    }

    pub(super) fn fail(mut self) {
        self.is_used = true;
        self.breaker.failed(self.is_probe);
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        if self.is_probe && !self.is_used {
            self.breaker.abandoned();
        }
    }
}

/// Puts a breaker in front of a service.
#[derive(Clone, Debug)]
pub(super) struct BreakerService<S> {
    pub(super) inner: S,
    pub(super) breaker: Arc<Breaker>,
}

impl<S> Service<Attempt> for BreakerService<S>
where
    S: Service<Attempt, Response = RecordedBody, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = UnverifiedAnswer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Self::Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let (inner, breaker) = (self.inner.clone(), Arc::clone(&self.breaker));
        Box::pin(async move {
            let permit = match breaker.admit() {
                Ok(permit) => permit,
                Err(wait) => {
                    breaker.metrics.record_refusal();
                    let detail = "the circuit is open after repeated failures; the source is left alone for now";
                    return Err(UpstreamError::new(Outcome::CircuitOpen, detail)
                        .with_retry_after(Some(wait)));
                }
            };
            attempt.is_probe = permit.is_probe;
            match inner.oneshot(attempt).await {
                Ok(RecordedBody { body, record }) => Ok(UnverifiedAnswer { body, record, permit }),
                Err(error) => {
                    permit.fail();
                    Err(error)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
