//! Metrics of the store. They exist only with a store.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{StoreHandle, StoreState};

/// Writing one row of a source takes about a millisecond; the first write of many records, seconds.
const WRITE_BUCKETS_SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The metrics that writing records. Clones share them.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    write_duration: Histogram,
}

impl StoreMetrics {
    /// Registers the families, once for each registry. Those of the state are computed at each
    /// scrape.
    #[must_use]
    pub fn register(registry: &mut Registry, handle: &StoreHandle) -> Self {
        registry.register_collector(Box::new(StateCollector { state: handle.subscribe() }));
        let write_duration = Histogram::new(WRITE_BUCKETS_SECONDS);
        registry.register(
            "store_write_duration_seconds",
            "Time to write what a refresh of a source has brought",
            write_duration.clone(),
        );
        Self { write_duration }
    }

    /// Records a successful write of a source.
    pub fn record_write(&self, duration: Duration) {
        self.write_duration.observe(duration.as_secs_f64());
    }
}

#[derive(Debug)]
struct StateCollector {
    state: watch::Receiver<StoreState>,
}

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (is_up, is_leader, records) = {
            let state = self.state.borrow();
            (state.is_up(), state.role.epoch(Instant::now()).is_some(), state.records)
        };
        let mut gauge = |name: &str, help: &str, value: i64| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(encoder)
        };
        gauge("store_up", "Whether the last operations on the store succeeded", is_up.into())?;
        gauge("store_leader", "Whether this process holds the store's lease", is_leader.into())?;
        let Some(records) = records else { return Ok(()) };
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        gauge("store_records", "Records in the store, current or not, as last counted", records)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::metrics;
    use crate::store::{Epoch, Operation, Role, StoreError};

    #[tokio::test(start_paused = true)]
    async fn a_page_shows_the_present_state() {
        let handle = StoreHandle::new(crate::store::testing::MemoryStore::new());
        let mut registry = metrics::registry();
        let metrics = StoreMetrics::register(&mut registry, &handle);
        let shows = |series: &str| {
            metrics::encode(&registry).contains(&format!("\nincident_gateway_store_{series}\n"))
        };
        assert!(shows("up 0") && shows("leader 0"));
        assert!(!metrics::encode(&registry).contains("\nincident_gateway_store_records "));
        let until = Instant::now() + Duration::from_secs(10);
        handle.note(Operation::Session, &Ok(()));
        handle.update(|state| {
            state.role = Role::Leader { epoch: Epoch(3), until };
            state.records = Some(700);
        });
        metrics.record_write(Duration::from_millis(3));
        assert!(shows("up 1") && shows("leader 1") && shows("records 700"));
        assert!(shows("write_duration_seconds_bucket{le=\"0.005\"} 1"));
        assert!(shows("write_duration_seconds_bucket{le=\"0.0025\"} 0"));
        handle.note(Operation::Write, &Err::<(), _>(StoreError::Unavailable("full".to_owned())));
        assert!(shows("up 0"));
        // The lease has run out, though nobody has said so yet.
        advance(Duration::from_secs(10)).await;
        assert!(shows("leader 0"));
    }
}
