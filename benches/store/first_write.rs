//! The first write of many records, beside the same rows written the database's fastest plain way
//! into the same table with its indexes, and into one without.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use incident_gateway::clock::WallClock;
use incident_gateway::config::{self, StoreUrl};
use incident_gateway::store::postgres::PostgresStore;
use incident_gateway::store::sqlite::{Access, SqliteStore};
use incident_gateway::store::{Epoch, KeptUp, Lease, SourceWrite, Store};

use super::floor::{self, Row};
use super::postgres::{PostgresServer, Settings};
use super::records::{first_writes, upserts};
use super::{Size, median, milliseconds, runtime};

const ROUNDS: usize = 3;

/// The times of the rounds: of the store, of the floor, and of the floor without indexes.
type Times = [Vec<Duration>; 3];

pub(crate) fn run(size: Size) {
    let writes = first_writes(size.records);
    let records: usize = writes.iter().map(|write| upserts(write).len()).sum();
    let bytes: usize = writes.iter().flat_map(upserts).map(|upsert| upsert.bytes.len()).sum();
    println!("first write, {records} records, {:.1} MB, medians of {ROUNDS}", bytes as f64 / 1e6);
    let runtime = runtime();
    report("SQLite", "inserts", runtime.block_on(sqlite(&writes)));
    match PostgresServer::start("first-write", &Settings::default()) {
        Some(server) => {
            report("PostgreSQL", "COPY", runtime.block_on(postgres(&server, &writes)));
        }
        None => println!("PostgreSQL: not installed"),
    }
}

fn report(database: &str, plain: &str, times: Times) {
    let [store, floor, bare] = times.map(median).map(milliseconds);
    println!(
        "{database:>10} {store:>7.0} ms | {plain}: {floor:.0} ms, {:.2} times; without indexes \
         {bare:.0} ms, {:.2} times",
        store / floor,
        store / bare
    );
}

/// Makes the store ready and takes its lease.
pub(crate) async fn lead(store: &dyn Store) -> Epoch {
    store.prepare().await.unwrap();
    match store.acquire_or_renew(&KeptUp::default()).await.unwrap() {
        Lease::Held { epoch, .. } => epoch,
        Lease::Other { .. } => panic!("nobody else is there"),
    }
}

pub(crate) fn open_sqlite(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, Access::Exclusive, WallClock::system()).unwrap()
}

pub(crate) fn open_postgres(server: &PostgresServer, database: &str) -> PostgresStore {
    let text = format!("store: {{ url: '{}' }}", server.url(database));
    let config = config::from_yaml("bench.yaml", &text).unwrap();
    let StoreUrl::Postgres(postgres) = config.store.url else { panic!("a URL of PostgreSQL") };
    PostgresStore::new(&postgres).unwrap()
}

/// How often a gateway renews its lease.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(2500);

/// The time of the writes. What is written is copied before.
async fn write(store: &dyn Store, writes: &[SourceWrite]) -> Duration {
    let epoch = lead(store).await;
    let writes = writes.to_vec();
    let written = async {
        let started = Instant::now();
        for write in writes {
            store.write(epoch, write).await.unwrap();
        }
        started.elapsed()
    };
    let renewals = async {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            store.acquire_or_renew(&KeptUp::default()).await.unwrap();
        }
    };
    tokio::select! {
        elapsed = written => elapsed,
        () = renewals => unreachable!("they go on"),
    }
}

/// What the writes bring, as it is written plainly.
fn rows(writes: &[SourceWrite]) -> impl Iterator<Item = Row<'_>> {
    let upserts = writes
        .iter()
        .zip(1..)
        .flat_map(|(write, source)| upserts(write).iter().map(move |upsert| (source, upsert)));
    upserts.zip(1..).map(|((source, upsert), number)| Row {
        number,
        id: upsert.id,
        source,
        employee_id: upsert.employee_id.as_deref().unwrap_or_default(),
        priority: upsert.priority,
        timestamp: upsert.timestamp.unwrap_or_default(),
        first_seen: 1.6e9,
        last_seen: None,
        bytes: &upsert.bytes,
    })
}

async fn sqlite(writes: &[SourceWrite]) -> Times {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        times[0].push(write(&*open_sqlite(&path), writes).await);
        for (with_indexes, times) in [true, false].into_iter().zip(&mut times[1..]) {
            let path = folder.path().join(format!("floor-{with_indexes}.db"));
            open_sqlite(&path).prepare().await.unwrap();
            let mut connection = floor::open(&path);
            if !with_indexes {
                for (name, _) in floor::indexes(&connection) {
                    connection.execute_batch(&format!("DROP INDEX {name}")).unwrap();
                }
            }
            let started = Instant::now();
            floor::insert(&mut connection, rows(writes));
            times.push(started.elapsed());
        }
    }
    times
}

/// A connection to a new database with the tables of the store and the names of the sources.
async fn with_tables(server: &PostgresServer, writes: &[SourceWrite]) -> tokio_postgres::Client {
    let database = server.create_database().await;
    open_postgres(server, &database).prepare().await.unwrap();
    let client = server.connect(&database).await;
    let names = writes.iter().map(|write| format!("('{}')", write.name));
    let names = names.collect::<Vec<_>>().join(", ");
    client.batch_execute(&format!("INSERT INTO sources (name) VALUES {names}")).await.unwrap();
    client
}

/// Writes by COPY what the writes bring, into the tables of a store.
pub(crate) async fn copy(server: &PostgresServer, writes: &[SourceWrite]) {
    floor::copy(&with_tables(server, writes).await, "records", rows(writes)).await;
}

async fn postgres(server: &PostgresServer, writes: &[SourceWrite]) -> Times {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let database = server.create_database().await;
        times[0].push(write(&open_postgres(server, &database), writes).await);
        let client = with_tables(server, writes).await;
        client.batch_execute("CREATE TABLE bare AS SELECT * FROM records").await.unwrap();
        for (table, times) in ["records", "bare"].into_iter().zip(&mut times[1..]) {
            let started = Instant::now();
            floor::copy(&client, table, rows(writes)).await;
            times.push(started.elapsed());
        }
    }
    times
}
