//! Tests of the store in a file.

mod files;
mod forwarding;
mod lanes;
mod plans;
mod running;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::decode::Priority;
use crate::sources::Fingerprint;
use crate::store::{RecordChanges, SequenceItem, SourceReport, StableId, Upsert, conformance};

/// A store in a new file, ready for use.
async fn prepared(path: &Path) -> Arc<SqliteStore> {
    let store = SqliteStore::open(path, Access::Exclusive, WallClock::system()).unwrap();
    store.prepare().await.unwrap();
    store
}

fn upsert(key: usize, employee_id: &str) -> Upsert {
    Upsert {
        id: StableId::of_id("okta", &key.to_le_bytes()),
        bytes: format!("{{\"key\":{key},\"text\":\"{}\"}}", "x".repeat(60)).into(),
        employee_id: Some(employee_id.into()),
        priority: Some(Priority::High),
        timestamp: Some(1_700_000_000.0),
        reason: None,
    }
}

/// A write of new records, which are all that the source lists.
fn write_upserts(upserts: Vec<Upsert>) -> SourceWrite {
    let sequence = (0..upserts.len()).map(SequenceItem::Upsert).collect();
    SourceWrite {
        name: "okta".to_owned(),
        fingerprint: Fingerprint([1; 32]),
        based_on: None,
        age: Some(Duration::ZERO),
        report: SourceReport::default(),
        content: Some(Content::Records(RecordChanges { upserts, left: Vec::new(), sequence })),
    }
}

/// A write of a record for each of the employees.
fn write_of(employees: &[&str]) -> SourceWrite {
    write_upserts(employees.iter().enumerate().map(|(key, id)| upsert(key, id)).collect())
}

fn all() -> HistoryQuery {
    let filter = HistoryFilter::default();
    HistoryQuery { filter, after: None, limit: 10_000, max_bytes: 1 << 30 }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store() {
    let directory = TempDir::new().unwrap();
    let count = AtomicUsize::new(0);
    conformance::run_all(async || {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        prepared(&directory.path().join(name)).await as Arc<dyn Store>
    })
    .await;
}
