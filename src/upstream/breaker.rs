//! A circuit breaker: refuses the calls to a source for a while after several consecutive failures.
//!
//! It counts consecutive failures rather than a failure rate, because at one call every half minute
//! a rate would take an hour to be meaningful.

mod service;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use super::metrics::SourceMetrics;

/// How many consecutive failures open the circuit.
const FAILURES_TO_OPEN: u32 = 5;

/// How long the circuit stays open at first; each failed probe doubles it.
const FIRST_OPEN_TIME: Duration = Duration::from_secs(5);

/// How long the circuit stays open at most. The contract promises a probe within 30 s, so jitter
/// only shortens this.
const MAX_OPEN_TIME: Duration = Duration::from_secs(30);

/// How long a call that is refused during a probe is told to wait.
const PROBE_RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) use self::service::BreakerService;

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerState {
    /// Admits all calls.
    Closed,
    /// Admits one call, the probe, to see whether the source has recovered.
    HalfOpen,
    /// Refuses calls until a deadline; the first call after it makes the circuit half-open.
    Open,
}

impl BreakerState {
    /// The value of `incident_gateway_circuit_state`.
    const fn code(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

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
    Open { until: Instant, failed_probes: u32 },
    HalfOpen { is_probing: bool, failed_probes: u32 },
}

impl Circuit {
    /// How long calls are refused from now on; `None` if the next one is admitted.
    fn refuses_for(&self) -> Option<Duration> {
        match *self {
            Self::Closed { .. } | Self::HalfOpen { is_probing: false, .. } => None,
            Self::HalfOpen { is_probing: true, .. } => Some(PROBE_RETRY_AFTER),
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

    /// Shows its state from now on.
    pub(super) fn activate(&self) {
        self.metrics.activate();
        self.metrics.set_circuit_state(self.state().code());
    }

    /// Admits a call, or returns the time after which one may be admitted.
    fn admit(self: &Arc<Self>) -> Result<BreakerPermit, Duration> {
        let mut inner = lock(&self.inner);
        if let Some(wait) = inner.circuit.refuses_for() {
            return Err(wait);
        }
        let is_probe = match inner.circuit {
            Circuit::Closed { .. } => false,
            Circuit::Open { failed_probes, .. } | Circuit::HalfOpen { failed_probes, .. } => {
                self.enter(&mut inner, Circuit::HalfOpen { is_probing: true, failed_probes });
                true
            }
        };
        Ok(BreakerPermit { breaker: Arc::clone(self), is_probe, is_reported: false })
    }

    /// Opens the circuit, as failures would.
    #[cfg(test)]
    pub(super) fn trip(&self) {
        (0..FAILURES_TO_OPEN).for_each(|_| self.record_failure(false));
    }

    fn record_success(&self, is_probe: bool) {
        let mut inner = lock(&self.inner);
        // A call that started before the circuit opened does not show the present state of the
        // source, so only the probe closes the circuit.
        if is_probe || matches!(inner.circuit, Circuit::Closed { .. }) {
            self.enter(&mut inner, Circuit::Closed { failures: 0 });
        }
    }

    fn record_failure(&self, is_probe: bool) {
        let mut inner = lock(&self.inner);
        let failed_probes = match &mut inner.circuit {
            Circuit::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES_TO_OPEN {
                    return;
                }
                0
            }
            Circuit::HalfOpen { failed_probes, .. } if is_probe => failed_probes.saturating_add(1),
            Circuit::HalfOpen { .. } | Circuit::Open { .. } => return,
        };
        let max_open_time =
            FIRST_OPEN_TIME.saturating_mul(2_u32.saturating_pow(failed_probes)).min(MAX_OPEN_TIME);
        let open_time = max_open_time.mul_f64(0.5 + 0.5 * inner.jitter.f64());
        self.enter(&mut inner, Circuit::Open { until: Instant::now() + open_time, failed_probes });
    }

    /// Makes the next call a probe again, because the present one was dropped before it ended.
    fn abandon_probe(&self) {
        if let Circuit::HalfOpen { is_probing, .. } = &mut lock(&self.inner).circuit {
            *is_probing = false;
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
        self.metrics.set_circuit_state(state.code());
    }
}

/// The permission for one call, whose outcome must be reported.
#[derive(Debug)]
pub(super) struct BreakerPermit {
    breaker: Arc<Breaker>,
    is_probe: bool,
    is_reported: bool,
}

impl BreakerPermit {
    pub(super) fn succeed(mut self) {
        self.is_reported = true;
        self.breaker.record_success(self.is_probe);
    }

    pub(super) fn fail(mut self) {
        self.is_reported = true;
        self.breaker.record_failure(self.is_probe);
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        if self.is_probe && !self.is_reported {
            self.breaker.abandon_probe();
        }
    }
}

#[cfg(test)]
mod tests;
