//! The metrics of reloads.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Whether and when the configuration was last loaded. Clones share the metrics.
#[derive(Clone, Debug)]
pub struct ReloadMetrics {
    successful: Gauge,
    succeeded_at: Gauge<f64, AtomicU64>,
}

impl ReloadMetrics {
    /// Registers the families, once for each registry. The start counts as a success.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { successful: Gauge::default(), succeeded_at: Gauge::default() };
        registry.register(
            "config_last_reload_successful",
            "Whether the configuration that was loaded last is valid and in effect",
            metrics.successful.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When a configuration last took effect",
            metrics.succeeded_at.clone(),
        );
        metrics.record_success();
        metrics
    }

    pub(super) fn record_success(&self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.succeeded_at.set(since_epoch.as_secs_f64());
        self.successful.set(1);
    }

    pub(super) fn is_successful(&self) -> bool {
        self.successful.get() == 1
    }

    pub(super) fn record_failure(&self) {
        self.successful.set(0);
    }
}
