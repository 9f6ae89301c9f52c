//! Tests against a real server.

mod conformance;
mod costs;
mod due_plans;
mod faults;
mod forwards;
mod lease;
mod page_plans;
mod pgbouncer;
mod reading;
mod schema;
#[path = "../../../../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the whole gateway")]
mod server;
mod tls;
mod writing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use self::server::{PostgresServer, USER};
use super::PostgresStore;
use crate::config::{Postgres, PostgresTls};
use crate::decode::Priority;
use crate::sources::Fingerprint;
use crate::store::{
    Content, Epoch, KeptUp, Lease, RecordChanges, SequenceItem, SourceReport, SourceWrite,
    StableId, Store, StoreError, Upsert, Written,
};

/// Longer than anything that ends by itself takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FINGERPRINT: Fingerprint = Fingerprint([7; 32]);

fn config(server: &PostgresServer, database: &str) -> Postgres {
    Postgres {
        host: server.socket_directory().display().to_string(),
        port: server.port(),
        user: USER.to_owned(),
        password: None,
        password_file: None,
        url: String::new(),
        database: database.to_owned(),
        tls: PostgresTls::Disabled,
    }
}

fn tcp_config(server: &PostgresServer, database: &str) -> Postgres {
    Postgres { host: "127.0.0.1".to_owned(), ..config(server, database) }
}

/// A store in this database, as one process has it.
async fn store(server: &PostgresServer, database: &str) -> PostgresStore {
    let store = PostgresStore::new(&config(server, database)).unwrap();
    store.prepare().await.unwrap();
    store
}

async fn held(store: &PostgresStore) -> Option<Epoch> {
    match store.acquire_or_renew(&kept_up("plain")).await.unwrap() {
        Lease::Held { epoch, .. } => Some(epoch),
        Lease::Other { .. } => None,
    }
}

fn kept_up(name: &str) -> KeptUp {
    KeptUp(Arc::new([(name.to_owned(), FINGERPRINT)].into()))
}

fn upsert(id: usize, employee: Option<&str>) -> Upsert {
    Upsert {
        id: StableId::of_id("plain", &id.to_le_bytes()),
        bytes: Bytes::from(format!("{{\"record\":{id}}}")),
        employee_id: employee.map(Into::into),
        priority: Some(Priority::High),
        timestamp: Some(id as f64),
        reason: None,
    }
}

/// The write of a source that has these records alone.
fn write_of(name: &str, upserts: Vec<Upsert>) -> SourceWrite {
    let sequence = (0..upserts.len()).map(SequenceItem::Upsert).collect();
    let changes = RecordChanges { upserts, left: Vec::new(), sequence };
    SourceWrite {
        name: name.to_owned(),
        fingerprint: FINGERPRINT,
        based_on: None,
        age: Some(Duration::ZERO),
        report: SourceReport::default(),
        content: Some(Content::Records(changes)),
    }
}

async fn write(
    store: &PostgresStore,
    epoch: Epoch,
    records: impl Iterator<Item = usize>,
) -> Result<Written, StoreError> {
    let upserts = records.map(|id| upsert(id, Some("ada"))).collect();
    store.write(epoch, write_of("plain", upserts)).await
}

/// Ends the lease at once, as if its duration had passed.
async fn expire_lease(server: &PostgresServer, database: &str) {
    expire_lease_of(server, database, "lease").await;
}

async fn expire_lease_of(server: &PostgresServer, database: &str, table: &str) {
    server.query(database, &format!("UPDATE {table} SET expires_at = '-infinity'")).await;
}

/// Waits until a query's first value is this.
async fn until_value(server: &PostgresServer, database: &str, query: &str, expected: &str) {
    let started = Instant::now();
    while server.value(database, query).await != expected {
        assert!(started.elapsed() < PATIENCE, "never {expected}: {query}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}
