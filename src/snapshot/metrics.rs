//! What is measured of the snapshot that is served: read off it at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Snapshot;
use crate::decode::Priority;
use crate::join::Reason;

/// Registers the families that describe the present snapshot.
pub fn register(registry: &mut Registry, snapshots: watch::Receiver<Arc<Snapshot>>) {
    registry.register_collector(Box::new(SnapshotCollector { snapshots }));
}

#[derive(Debug)]
struct SnapshotCollector {
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Collector for SnapshotCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        encode(&snapshot, Instant::now(), &mut encoder)
    }
}

fn encode(snapshot: &Snapshot, now: Instant, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (view, joined) = (&snapshot.view, snapshot.view.index());

    let help = "Time since the source's data was fetched; absent while it has none";
    let mut family = gauges(encoder, "source_age_seconds", help)?;
    for source in snapshot.sources.iter() {
        if let Some(age) = source.age(now) {
            series(&mut family, &[("source", &*source.name)], age.as_secs_f64())?;
        }
    }
    let help = "Records in the source's data; for identities, addresses";
    let mut family = gauges(encoder, "source_records", help)?;
    for source in snapshot.sources.iter() {
        series(&mut family, &[("source", &*source.name)], count(source.records))?;
    }

    let mut family = gauges(encoder, "incidents", "Incidents joined to an employee")?;
    for (name, tally) in view.names().iter().zip(joined.counts()) {
        for (priority, &incidents) in Priority::ALL.into_iter().zip(tally) {
            let labels = [("type", &**name), ("priority", priority.as_str())];
            series(&mut family, &labels, count(incidents))?;
        }
    }

    let mut by_reason = vec![[0; Reason::ALL.len()]; view.names().len()];
    for record in joined.unattributed() {
        by_reason[record.source()][record.reason as usize] += 1;
    }
    let help = "Records that no employee could be found for";
    let mut family = gauges(encoder, "unattributed", help)?;
    for (name, by_reason) in view.names().iter().zip(by_reason) {
        for (reason, records) in Reason::ALL.into_iter().zip(by_reason) {
            let labels = [("source", &**name), ("reason", reason.as_str())];
            series(&mut family, &labels, count(records))?;
        }
    }

    let help = "Employees with at least one incident";
    ConstGauge::new(count(joined.employee_count())).encode(gauges(encoder, "employees", help)?)?;
    let help = "Time since the oldest data in the served snapshot was fetched";
    let age = snapshot.age(now).unwrap_or_default();
    ConstGauge::new(age.as_secs_f64()).encode(gauges(encoder, "snapshot_age_seconds", help)?)
}

fn gauges<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn series(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    ConstGauge::new(value).encode(family.encode_family(labels)?)
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
