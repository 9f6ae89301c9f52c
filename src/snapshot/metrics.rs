//! Metrics of the served snapshot, computed at each scrape.

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

use super::{Freshness, Snapshot};
use crate::decode::Priority;
use crate::join::Reason;

/// Registers the metrics of the newest snapshot that `snapshots` holds.
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
    let help = "Whether the source's data is fresh (0), stale (1) or missing (2)";
    let mut family = gauges(encoder, "source_state", help)?;
    for source in snapshot.sources.iter() {
        let state: i64 = match source.freshness(now) {
            Freshness::Fresh => 0,
            Freshness::Stale => 1,
            Freshness::Missing => 2,
        };
        series(&mut family, &[("source", &*source.name)], state)?;
    }
    let help = "Records in the source's data; for identity tables, addresses or rows";
    let mut family = gauges(encoder, "source_records", help)?;
    for source in snapshot.sources.iter() {
        series(&mut family, &[("source", &*source.name)], count(source.records))?;
    }

    let help = "Records whose priority value maps to nothing, also where a default stands in";
    let mut family = gauges(encoder, "source_unmapped_records", help)?;
    for source in snapshot.sources.incidents() {
        let records = source.unmapped.iter().map(|(_, records)| *records).sum();
        series(&mut family, &[("source", &*source.name)], count(records))?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::clock::{FetchTime, WallClock};
    use crate::join::join;
    use crate::metrics;
    use crate::snapshot::{Policy, SourceStatus, View};
    use crate::sources::{PerSource, SourceId};

    fn snapshot() -> Snapshot {
        let names = PerSource::new(["identities".into()], ["denial".into()]);
        let second = Duration::from_secs(1);
        let policy = Policy::of_ttl(second, second, second);
        let mut sources =
            names.map(|_, name: &Arc<str>| SourceStatus::new(Arc::clone(name), policy));
        sources[SourceId::Incidents(0)].fetched_at = Some(FetchTime::now(&WallClock::system()));
        sources[SourceId::Incidents(0)].records = 7;
        sources[SourceId::Incidents(0)].unmapped =
            [("NOTICE".to_owned(), 2), ("7".to_owned(), 1)].into();
        Snapshot {
            view: Arc::new(View::new(
                0,
                ["denial".into()].into(),
                Box::new([None]),
                join(&[], &[None]),
            )),
            sources: Arc::new(sources),
            had_data: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_describes_the_present_snapshot() {
        let (sender, receiver) = watch::channel(Arc::new(snapshot()));
        let mut registry = metrics::registry();
        register(&mut registry, receiver);
        advance(Duration::from_millis(2500)).await;
        let page = metrics::encode(&registry);
        for series in [
            "source_age_seconds{source=\"denial\"} 2.5\n",
            "source_state{source=\"denial\"} 2\n",
            "source_state{source=\"identities\"} 2\n",
            "source_unmapped_records{source=\"denial\"} 3\n",
            "source_records{source=\"identities\"} 0\n",
            "source_records{source=\"denial\"} 7\n",
            "incidents{type=\"denial\",priority=\"low\"} 0\n",
            "unattributed{source=\"denial\",reason=\"unknown_ip\"} 0\n",
            "employees 0\n",
            "snapshot_age_seconds 2.5\n",
        ] {
            assert!(page.contains(&format!("\nincident_gateway_{series}")), "{series} in {page}");
        }
        assert!(!page.contains("source_age_seconds{source=\"identities\"}"), "it has no data");

        let mut next = snapshot();
        Arc::make_mut(&mut next.sources)[SourceId::Incidents(0)].fetched_at = None;
        sender.send_replace(Arc::new(next));
        let page = metrics::encode(&registry);
        assert!(!page.contains("incident_gateway_source_age_seconds{"), "{page}");
    }
}
