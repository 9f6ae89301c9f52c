//! Metrics of the refresh itself.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A refresh takes as long as its slowest source: usually seconds, at most a call's deadline and
/// its retries.
const REFRESH_BUCKETS_SECONDS: [f64; 12] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0];

/// The metric families of the refresh.
#[derive(Debug)]
pub struct RefreshMetrics {
    duration: Histogram,
    identities_shrunk: Counter,
}

impl RefreshMetrics {
    /// Registers the families, once for each registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Histogram::new(REFRESH_BUCKETS_SECONDS),
            identities_shrunk: Counter::default(),
        };
        registry.register(
            "refresh_duration_seconds",
            "Time from the first upstream call of a refresh to the end of its last",
            metrics.duration.clone(),
        );
        registry.register(
            "identities_shrunk",
            "Identity tables that had less than half of the entries of the one before",
            metrics.identities_shrunk.clone(),
        );
        metrics
    }

    /// Records a refresh that ended this long after its first call started.
    pub(super) fn record_refresh(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }

    /// Counts an identity table with far fewer entries than the one before.
    pub(super) fn record_shrunk_identities(&self) {
        self.identities_shrunk.inc();
    }
}
