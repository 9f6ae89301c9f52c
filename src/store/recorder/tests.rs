//! What the recorder makes of series of snapshots.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Recorder;
use crate::clock::{FetchTime, WallClock};
use crate::config;
use crate::decode::{Incidents, IncidentsDecoder, SourceFields, SourceMapping};
use crate::identity::{IdentityTable, TableSlot};
use crate::join::join;
use crate::json::Path;
use crate::mapping::{IdentityEntry, IdentityKind};
use crate::snapshot::{DataOrigin, Policy, Snapshot, SourceStatus, View};
use crate::sources::{Fingerprint, PerSource, SourceId};
use crate::store::testing::MemoryStore;
use crate::store::{Epoch, Role, StoreHandle, StoreMetrics};

mod faults;
mod once;
mod properties;
mod reports;

pub(super) const PLAIN: SourceId = SourceId::Incidents(0);
pub(super) const MAPPED: SourceId = SourceId::Incidents(1);
pub(super) const TABLE: SourceId = SourceId::Table(0);

pub(super) const MINUTE: Duration = Duration::from_mins(1);

/// A running recorder, a store in memory, and the refresh whose snapshots it gets.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) handle: StoreHandle,
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(super) batches: [Option<Arc<Incidents>>; 2],
    pub(super) table: Option<Arc<IdentityTable>>,
    pub(super) statuses: PerSource<SourceStatus>,
    pub(super) task: JoinHandle<()>,
    /// The number of the sources' definitions.
    pub(super) revision: u64,
    views: u64,
}

impl World {
    /// A world whose process holds the lease. Nothing was fetched yet.
    pub(super) fn new() -> Self {
        let store = MemoryStore::new();
        store.memory().epoch = 1;
        let handle = StoreHandle::new(Arc::clone(&store) as _);
        let policy = Policy::of_ttl(MINUTE, MINUTE, MINUTE * 60);
        let status = |name: &str| {
            let status = SourceStatus::new(name.into(), policy);
            SourceStatus { is_awaited: false, ..status }
        };
        let statuses = PerSource::new([status("table")], ["plain", "mapped"].map(status));
        let (snapshots, receiver) = watch::channel(Arc::new(Snapshot {
            view: Arc::new(View::new(0, Arc::default(), Box::default(), join(&[], &[]))),
            sources: Arc::new(statuses.clone()),
            had_data: false,
        }));
        let metrics = StoreMetrics::register(&mut Registry::default(), &handle);
        let task = tokio::spawn(Recorder::new(handle.clone(), receiver, metrics).run());
        let (batches, table, revision, views) = Default::default();
        let world =
            Self { store, handle, snapshots, batches, table, statuses, task, revision, views };
        world.lead(1);
        world
    }

    /// Gives the process a lease.
    pub(super) fn lead(&self, epoch: u64) {
        let until = Instant::now() + MINUTE * 600;
        self.handle.update(|state| state.role = Role::Leader { epoch: Epoch(epoch), until });
    }

    /// A refresh of a source succeeded.
    pub(super) fn succeed(&mut self, source: SourceId) {
        let now = FetchTime::now(&WallClock::system());
        let records = match source {
            SourceId::Table(_) => self.table.as_ref().map_or(0, |table| table.records()),
            SourceId::Incidents(index) => {
                self.batches[index].as_ref().map_or(0, |batch| batch.records().len())
            }
        };
        let lease = Some(self.store.memory().epoch);
        let status = &mut self.statuses[source];
        status.fetched_at = Some(now);
        status.origin = Some(DataOrigin { fingerprint: Fingerprint([1; 32]), lease });
        status.records = records;
        status.was_attempted = true;
        status.next_attempt = Some(Instant::now() + MINUTE);
        status.last_error = None;
        status.consecutive_failures = 0;
    }

    /// Every source was refreshed successfully.
    pub(super) fn succeed_all(&mut self) {
        for source in [TABLE, PLAIN, MAPPED] {
            self.succeed(source);
        }
    }

    /// Publishes the data and the statuses.
    pub(super) fn publish(&mut self) {
        let slots = [TableSlot::addresses(self.table.clone())];
        let index = join(&slots, &self.batches);
        self.views += 1;
        let names = ["plain".into(), "mapped".into()].into();
        let view = View::new(self.views, names, Box::new(self.batches.clone()), index)
            .with_table_data(Box::new([self.table.clone()]))
            .with_revisions(Box::new([self.revision; 2]));
        self.snapshots.send_replace(Arc::new(Snapshot {
            view: Arc::new(view),
            sources: Arc::new(self.statuses.clone()),
            had_data: true,
        }));
    }

    /// Waits until the recorder waits. Its retries come later.
    pub(super) async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    /// Publishes a refresh of all sources, and waits until it is written.
    pub(super) async fn refresh(&mut self) {
        self.succeed_all();
        self.publish();
        self.settle().await;
    }

    /// How often the store was asked in any way.
    pub(super) fn calls(&self) -> usize {
        ["heads", "sequence", "records", "table", "write"]
            .map(|name| self.store.calls(name))
            .iter()
            .sum()
    }
}

/// A batch of a source without ids.
pub(super) fn plain(records: &[String]) -> Arc<Incidents> {
    let body = Bytes::from(format!("{{\"results\":[{}]}}", records.join(",")));
    let fields = SourceFields::new(&["ip".to_owned()]);
    Arc::new(Incidents::decode(body, &fields).unwrap())
}

/// A batch of a source whose records have ids.
pub(super) fn mapped(records: &[String]) -> Arc<Incidents> {
    let path = |text| Path::parse(text).unwrap();
    let source = config::Source {
        records: Some(path("/data")),
        id: vec![path("/id")],
        identity: vec![IdentityEntry { at: vec![path("/ip")], kind: Some(IdentityKind::Ip) }],
        ..config::Source::plain("mapped", "/", &[])
    };
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source).keeping_ids()));
    decoder.add_page(Bytes::from(format!("{{\"data\":[{}]}}", records.join(",")))).unwrap();
    Arc::new(decoder.finish())
}

/// A record of `id`, whose content depends on `version`, of the employee with this address.
pub(super) fn record(id: u8, version: u8, address: u8) -> String {
    format!(
        r#"{{"id":{id},"ip":"10.0.0.{address}","priority":"low","timestamp":170000000{version},"x":"{id}"}}"#
    )
}

/// A table in which each address has the employee with the number at its position; 0 is none.
pub(super) fn table(employees: &[u8]) -> Arc<IdentityTable> {
    let entries = employees.iter().enumerate().filter(|(_, employee)| **employee > 0);
    let entries =
        entries.map(|(address, employee)| format!("\"10.0.0.{address}\":\"e{employee}\""));
    let body = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
    Arc::new(IdentityTable::decode(Bytes::from(body)).unwrap())
}
