//! Metrics of forwards. A forward has its series while it is configured.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ForwardLabel {
    forward: String,
}

/// The metrics of all forwards. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ForwardMetrics {
    sent: Family<ForwardLabel, Counter>,
    failed: Family<ForwardLabel, Counter>,
    dead_letters: Family<ForwardLabel, Counter>,
    lag: Family<ForwardLabel, Gauge<i64, AtomicI64>>,
}

impl ForwardMetrics {
    /// Registers the families, once for each registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_in(registry);
        metrics
    }

    pub(super) fn register_in(&self, registry: &mut Registry) {
        registry.register(
            "forward_sent",
            "Records that this process has sent and the receiver has accepted",
            self.sent.clone(),
        );
        registry.register(
            "forward_failed",
            "Requests of this process that the receiver has not accepted",
            self.failed.clone(),
        );
        registry.register(
            "forward_dead_letters",
            "Records that have become dead letters while this process held the lease",
            self.dead_letters.clone(),
        );
        registry.register(
            "forward_lag_records",
            "Records that are still to be sent",
            self.lag.clone(),
        );
    }

    /// The metrics of one forward. Its counters are there from now on.
    pub(super) fn of(&self, name: &str) -> MetricsOfForward {
        let label = ForwardLabel { forward: name.to_owned() };
        MetricsOfForward {
            sent: self.sent.get_or_create(&label).clone(),
            failed: self.failed.get_or_create(&label).clone(),
            dead_letters: self.dead_letters.get_or_create(&label).clone(),
        }
    }

    /// Sets how many records are still to be sent.
    pub(super) fn set_lag(&self, name: &str, lag: u64) {
        let label = ForwardLabel { forward: name.to_owned() };
        self.lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Removes the series of a forward that is not configured any more.
    pub(super) fn remove(&self, name: &str) {
        let label = ForwardLabel { forward: name.to_owned() };
        self.sent.remove(&label);
        self.failed.remove(&label);
        self.dead_letters.remove(&label);
        self.lag.remove(&label);
    }
}

/// The counters of one forward.
#[derive(Clone, Debug)]
pub(super) struct MetricsOfForward {
    /// Records that were sent.
    pub(super) sent: Counter,
    /// Requests that have failed.
    pub(super) failed: Counter,
    /// Records that have become dead letters.
    pub(super) dead_letters: Counter,
}
