//! Metrics of the calls to upstreams.
//!
//! A reload builds new clients before it is known whether they are ever used, so the series of a
//! client appear when it is activated, or at its first call.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::lock;
use crate::outcome::Outcome;

/// From well below the 1.5 s that a single call usually takes, to above the default deadline of 10
/// s.
const CALL_BUCKETS_SECONDS: [f64; 12] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SourceLabels {
    source: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    source: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct UpstreamLabels {
    upstream: Arc<str>,
}

/// The metric families of all upstreams. Clones share them.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    requests: Family<OutcomeLabels, Counter>,
    duration: Family<SourceLabels, Histogram, fn() -> Histogram>,
    retries: Family<SourceLabels, Counter>,
    circuit_state: Family<SourceLabels, Gauge>,
    in_flight: Family<UpstreamLabels, Gauge>,
    concurrency_limit: Family<UpstreamLabels, Gauge>,
    shown: Arc<Mutex<Shown>>,
}

/// The sources and upstreams that have series.
#[derive(Debug, Default)]
struct Shown {
    sources: BTreeSet<Arc<str>>,
    upstreams: BTreeSet<Arc<str>>,
}

/// The sources and upstreams of a configuration.
#[derive(Debug, Default)]
pub(super) struct Configured {
    /// Sources that are fetched from upstreams.
    pub(super) called: BTreeSet<Arc<str>>,
    /// Sources of files.
    pub(super) files: BTreeSet<Arc<str>>,
    pub(super) upstreams: BTreeSet<Arc<str>>,
}

impl UpstreamMetrics {
    /// Registers the families, once for each registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let duration: fn() -> Histogram = || Histogram::new(CALL_BUCKETS_SECONDS);
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(duration),
            retries: Family::default(),
            circuit_state: Family::default(),
            in_flight: Family::default(),
            concurrency_limit: Family::default(),
            shown: Arc::default(),
        };
        registry.register(
            "upstream_requests",
            "Calls to the upstream by how they ended",
            metrics.requests.clone(),
        );
        registry.register(
            "upstream_request_duration_seconds",
            "Time of one upstream call, whole body included",
            metrics.duration.clone(),
        );
        registry.register(
            "upstream_retries",
            "Upstream calls that were made again after a failure",
            metrics.retries.clone(),
        );
        registry.register(
            "upstream_in_flight",
            "Upstream calls in flight",
            metrics.in_flight.clone(),
        );
        registry.register(
            "upstream_concurrency_limit",
            "How many upstream calls may be in flight at once",
            metrics.concurrency_limit.clone(),
        );
        registry.register(
            "circuit_state",
            "State of the source's circuit breaker: 0 closed, 1 half-open, 2 open",
            metrics.circuit_state.clone(),
        );
        metrics
    }

    /// The series of a source of files.
    #[must_use]
    pub fn file_source(&self, name: &Arc<str>) -> FileMetrics {
        FileMetrics(self.calls(name))
    }

    /// The series of a source that is fetched from an upstream.
    pub(super) fn source(&self, name: &Arc<str>) -> SourceMetrics {
        let (families, source) = (self.clone(), Arc::clone(name));
        let stack = Lazy::new(move || {
            let labels = SourceLabels { source };
            StackSeries {
                retries: families.retries.get_or_create_owned(&labels),
                circuit_state: families.circuit_state.get_or_create_owned(&labels),
            }
        });
        SourceMetrics { calls: self.calls(name), stack }
    }

    fn calls(&self, name: &Arc<str>) -> Lazy<CallSeries> {
        let (families, name) = (self.clone(), Arc::clone(name));
        Lazy::new(move || {
            lock(&families.shown).sources.insert(Arc::clone(&name));
            let labels = SourceLabels { source: Arc::clone(&name) };
            CallSeries {
                // Creating them at zero makes rates correct from the first event on.
                requests: Outcome::ALL.map(|outcome| {
                    let (source, outcome) = (Arc::clone(&name), outcome.as_str());
                    families.requests.get_or_create_owned(&OutcomeLabels { source, outcome })
                }),
                duration: families.duration.get_or_create_owned(&labels),
            }
        })
    }

    /// The series of one upstream's concurrency limit.
    pub(super) fn concurrency(&self, upstream: &str) -> ConcurrencyMetrics {
        let (families, upstream) = (self.clone(), Arc::<str>::from(upstream));
        ConcurrencyMetrics(Lazy::new(move || {
            lock(&families.shown).upstreams.insert(Arc::clone(&upstream));
            let labels = UpstreamLabels { upstream };
            ConcurrencySeries {
                in_flight: families.in_flight.get_or_create_owned(&labels),
                limit: families.concurrency_limit.get_or_create_owned(&labels),
            }
        }))
    }

    /// Removes the series of sources and upstreams that the configuration does not have.
    pub(super) fn retain(&self, configured: &Configured) {
        let mut shown = lock(&self.shown);
        shown.sources.retain(|source| {
            let labels = SourceLabels { source: Arc::clone(source) };
            let is_called = configured.called.contains(source);
            if !is_called {
                self.retries.remove(&labels);
                self.circuit_state.remove(&labels);
            }
            let is_kept = is_called || configured.files.contains(source);
            if !is_kept {
                self.duration.remove(&labels);
                for outcome in Outcome::ALL {
                    let (source, outcome) = (Arc::clone(source), outcome.as_str());
                    self.requests.remove(&OutcomeLabels { source, outcome });
                }
            }
            is_kept
        });
        shown.upstreams.retain(|upstream| {
            let is_kept = configured.upstreams.contains(upstream);
            if !is_kept {
                let labels = UpstreamLabels { upstream: Arc::clone(upstream) };
                self.in_flight.remove(&labels);
                self.concurrency_limit.remove(&labels);
            }
            is_kept
        });
    }
}

/// Series that are created at their first use. Clones share them.
struct Lazy<T>(Arc<LazyLock<T, Box<dyn FnOnce() -> T + Send + Sync>>>);

impl<T> Lazy<T> {
    fn new(create: impl FnOnce() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(create))))
    }

    fn get(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").finish_non_exhaustive()
    }
}

/// The series of any source's calls.
struct CallSeries {
    /// Indexed by the outcome's discriminant.
    requests: [Counter; Outcome::ALL.len()],
    duration: Histogram,
}

impl CallSeries {
    fn record(&self, outcome: Outcome, duration: Duration) {
        self.requests[outcome as usize].inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

/// The series of the services that a source's calls pass through.
struct StackSeries {
    retries: Counter,
    circuit_state: Gauge,
}

/// The series of one source that is fetched from an upstream.
#[derive(Clone, Debug)]
pub(super) struct SourceMetrics {
    calls: Lazy<CallSeries>,
    stack: Lazy<StackSeries>,
}

impl SourceMetrics {
    /// Counts a call that has ended, and its duration.
    pub(super) fn record_call(&self, outcome: Outcome, duration: Duration) {
        self.calls.get().record(outcome, duration);
    }

    /// Counts a call that was not made.
    pub(super) fn record_not_made(&self, outcome: Outcome) {
        self.calls.get().requests[outcome as usize].inc();
    }

    /// Counts a retry.
    pub(super) fn record_retry(&self) {
        self.stack.get().retries.inc();
    }

    /// Sets the state of the circuit breaker, as its code.
    pub(super) fn set_circuit_state(&self, code: i64) {
        self.stack.get().circuit_state.set(code);
    }

    /// Creates the series.
    pub(super) fn activate(&self) {
        self.calls.get();
        self.stack.get();
    }
}

/// The series of a source of files, which has no circuit breaker and is not called again.
#[derive(Clone, Debug)]
pub struct FileMetrics(Lazy<CallSeries>);

impl FileMetrics {
    /// Counts a reading of the files that has ended, and its duration.
    pub fn record(&self, outcome: Outcome, duration: Duration) {
        self.0.get().record(outcome, duration);
    }

    /// Creates the series.
    pub fn activate(&self) {
        self.0.get();
    }
}

struct ConcurrencySeries {
    in_flight: Gauge,
    limit: Gauge,
}

/// The series of one upstream's concurrency limit.
#[derive(Clone, Debug)]
pub(super) struct ConcurrencyMetrics(Lazy<ConcurrencySeries>);

impl ConcurrencyMetrics {
    pub(super) fn set(&self, in_flight: usize, limit: usize) {
        let ConcurrencySeries { in_flight: shown_in_flight, limit: shown_limit } = self.0.get();
        shown_in_flight.set(in_flight.try_into().unwrap_or(i64::MAX));
        shown_limit.set(limit.try_into().unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
