//! Metrics of the calls to upstreams.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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

    /// A source's counters by outcome. Creating them at zero makes rates correct from the first
    /// event on.
    fn outcomes(&self, source: &Arc<str>) -> [Counter; Outcome::ALL.len()] {
        Outcome::ALL.map(|outcome| {
            let labels = OutcomeLabels { source: Arc::clone(source), outcome: outcome.as_str() };
            self.requests.get_or_create_owned(&labels)
        })
    }

    /// The series of a source of files.
    #[must_use]
    pub fn file_source(&self, name: &Arc<str>) -> FileMetrics {
        let labels = SourceLabels { source: Arc::clone(name) };
        FileMetrics {
            requests: self.outcomes(name),
            duration: self.duration.get_or_create_owned(&labels),
        }
    }

    /// The series of a source that is fetched from an upstream.
    pub(super) fn source(&self, name: &Arc<str>) -> SourceMetrics {
        let labels = SourceLabels { source: Arc::clone(name) };
        SourceMetrics {
            requests: self.outcomes(name),
            duration: self.duration.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            circuit_state: self.circuit_state.get_or_create_owned(&labels),
        }
    }

    /// The series of one upstream's concurrency limit.
    pub(super) fn concurrency(&self, upstream: &str) -> ConcurrencyMetrics {
        let labels = UpstreamLabels { upstream: upstream.into() };
        ConcurrencyMetrics {
            in_flight: self.in_flight.get_or_create_owned(&labels),
            limit: self.concurrency_limit.get_or_create_owned(&labels),
        }
    }
}

/// The series of one source.
#[derive(Clone, Debug)]
pub(super) struct SourceMetrics {
    /// Indexed by the outcome's discriminant.
    requests: [Counter; Outcome::ALL.len()],
    duration: Histogram,
    retries: Counter,
    circuit_state: Gauge,
}

impl SourceMetrics {
    /// Counts a call that has ended, and its duration.
    pub(super) fn record_call(&self, outcome: Outcome, duration: Duration) {
        self.requests[outcome as usize].inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// Counts a call that was not made.
    pub(super) fn record_not_made(&self, outcome: Outcome) {
        self.requests[outcome as usize].inc();
    }

    /// Counts a retry.
    pub(super) fn record_retry(&self) {
        self.retries.inc();
    }

    /// Sets the state of the circuit breaker, as its code.
    pub(super) fn set_circuit_state(&self, code: i64) {
        self.circuit_state.set(code);
    }
}

/// The series of a source of files, which has no circuit breaker and is not called again.
#[derive(Clone, Debug)]
pub struct FileMetrics {
    /// Indexed by the outcome's discriminant.
    requests: [Counter; Outcome::ALL.len()],
    duration: Histogram,
}

impl FileMetrics {
    /// Counts a reading of the files that has ended, and its duration.
    pub fn record(&self, outcome: Outcome, duration: Duration) {
        self.requests[outcome as usize].inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

/// The series of one upstream's concurrency limit.
#[derive(Clone, Debug)]
pub(super) struct ConcurrencyMetrics {
    in_flight: Gauge,
    limit: Gauge,
}

impl ConcurrencyMetrics {
    pub(super) fn set(&self, in_flight: usize, limit: usize) {
        self.in_flight.set(in_flight.try_into().unwrap_or(i64::MAX));
        self.limit.set(limit.try_into().unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn every_series_of_a_source_starts_at_zero() {
        let mut registry = metrics::registry();
        let families = UpstreamMetrics::register(&mut registry);
        let _source = families.source(&"denial".into());
        let page = metrics::encode(&registry);
        for outcome in Outcome::ALL {
            let labels = format!("{{source=\"denial\",outcome=\"{outcome}\"}}");
            let series = format!("incident_gateway_upstream_requests_total{labels} 0\n");
            assert!(page.contains(&series), "{series} in {page}");
        }
        for series in [
            "upstream_request_duration_seconds_count{source=\"denial\"} 0\n",
            "upstream_retries_total{source=\"denial\"} 0\n",
            "circuit_state{source=\"denial\"} 0\n",
        ] {
            assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
        }
    }

    #[test]
    fn a_refusal_by_the_breaker_counts_without_a_duration() {
        let mut registry = metrics::registry();
        let source = UpstreamMetrics::register(&mut registry).source(&"denial".into());
        source.record_not_made(Outcome::CircuitOpen);
        source.record_call(Outcome::Status, Duration::from_secs(2));
        let page = metrics::encode(&registry);
        for series in [
            "upstream_requests_total{source=\"denial\",outcome=\"circuit_open\"} 1\n",
            "upstream_requests_total{source=\"denial\",outcome=\"status\"} 1\n",
            "upstream_request_duration_seconds_count{source=\"denial\"} 1\n",
            "upstream_request_duration_seconds_sum{source=\"denial\"} 2.0\n",
        ] {
            assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
        }
    }

    #[test]
    fn the_concurrency_of_upstreams_is_told_apart_by_name() {
        let mut registry = metrics::registry();
        let families = UpstreamMetrics::register(&mut registry);
        families.concurrency("default").set(2, 3);
        families.concurrency("other").set(0, 8);
        let page = metrics::encode(&registry);
        for series in [
            "upstream_in_flight{upstream=\"default\"} 2\n",
            "upstream_concurrency_limit{upstream=\"default\"} 3\n",
            "upstream_concurrency_limit{upstream=\"other\"} 8\n",
        ] {
            assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
        }
    }
}
