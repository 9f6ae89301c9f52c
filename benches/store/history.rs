//! One employee's history in a large one, beside a bare indexed query for the same rows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use incident_gateway::decode::Priority;
use incident_gateway::store::{HistoryFilter, HistoryQuery, StableId, Store};
use rusqlite::Connection;
use tokio_postgres::types::Type;

use super::first_write::{open_postgres, open_sqlite};
use super::floor::{self, Row};
use super::postgres::{PostgresServer, Settings};
use super::records::employee_id;
use super::{Size, median, milliseconds, runtime};

/// How many rows an employee has.
const ROWS_EACH: i64 = 100;

/// How many employees are asked for.
const EMPLOYEES: u64 = 200;

const RECORD: &[u8] =
    br#"{"priority":"medium","machine_ip":"17.31.250.103","timestamp":1632527934.28}"#;

const SOURCES: [&str; 3] = ["denial", "executable", "probing"];

pub(crate) fn run(size: Size) {
    let rows = i64::try_from(size.rows).unwrap();
    println!(
        "one employee's history, {ROWS_EACH} of {rows} rows, medians of {EMPLOYEES} employees"
    );
    let runtime = runtime();
    report("SQLite", runtime.block_on(sqlite(rows)));
    match PostgresServer::start("history", &Settings::default()) {
        Some(server) => {
            let [planned, prepared] = runtime.block_on(postgres(&server, rows));
            report("PostgreSQL", planned);
            report("the same beside a prepared statement, which no pooler passes on", prepared);
        }
        None => println!("PostgreSQL: not installed"),
    }
}

fn report(database: &str, times: [Vec<Duration>; 2]) {
    let [store, bare] = times.map(median).map(milliseconds);
    println!("{database:>10} {store:>7.3} ms | bare {bare:.3} ms, {:.2} times", store / bare);
}

fn query(employee: &str) -> HistoryQuery {
    let employees = Some(vec![employee.to_owned()]);
    HistoryQuery {
        filter: HistoryFilter { employees, ..HistoryFilter::default() },
        after: None,
        limit: 1000,
        max_bytes: 8 << 20,
    }
}

/// Rows as the history has them: employees take turns, the times ascend with the numbers, and none
/// is current any more. `texts` are the ids of the employees.
fn history(rows: i64, texts: &[String]) -> impl Iterator<Item = Row<'_>> {
    (1..=rows).map(move |number| {
        let time = 1.6e9 + number as f64 / 10.0;
        let digest =
            u128::from(number.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060);
        Row {
            number,
            id: StableId(digest.to_be_bytes()),
            source: i32::try_from(number % 3 + 1).unwrap(),
            // A prime steps through the employees, so that one's rows are far apart.
            employee_id: &texts[usize::try_from(number * 7919).unwrap() % texts.len()],
            priority: Some(Priority::Medium),
            timestamp: time,
            first_seen: time,
            last_seen: Some(time + 3600.0),
            bytes: RECORD,
        }
    })
}

fn employees(rows: i64) -> Vec<String> {
    (0..(rows / ROWS_EACH).unsigned_abs()).map(employee_id).collect()
}

/// Which employees are asked for.
fn asked(texts: &[String]) -> impl Iterator<Item = &str> {
    let step = (texts.len() / usize::try_from(EMPLOYEES).unwrap()).max(1);
    texts.iter().step_by(step).map(String::as_str)
}

/// Asks the store and the database in turn, once both have the rows in memory.
async fn measure<F: Future<Output = usize>>(
    store: &dyn Store,
    texts: &[String],
    bare: impl Fn(String) -> F,
) -> [Vec<Duration>; 2] {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for employee in asked(texts) {
        bare(employee.to_owned()).await;
        for _ in 0..3 {
            let started = Instant::now();
            let page = store.history(query(employee)).await.unwrap();
            times[0].push(started.elapsed());
            let started = Instant::now();
            let count = bare(employee.to_owned()).await;
            times[1].push(started.elapsed());
            assert_eq!(page.rows.len(), count);
        }
    }
    times
}

/// Fills a database that a store has prepared.
pub(crate) fn fill_sqlite(connection: &mut Connection, rows: i64) {
    for (name, id) in SOURCES.into_iter().zip(1..) {
        let sql = "INSERT INTO sources (id, name, revision, fetched_at, report) \
            VALUES (?, ?, 1, 1.6e9, '{}')";
        connection.execute(sql, (id, name)).unwrap();
    }
    let indexes = floor::indexes(connection);
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX {name}")).unwrap();
    }
    floor::insert(connection, history(rows, &employees(rows)));
    for (_, create) in &indexes {
        connection.execute_batch(create).unwrap();
    }
    let counters = "UPDATE counters SET next_version = ?1 + 1, next_number = ?1 + 1, records = ?1";
    connection.execute(counters, [rows]).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

async fn sqlite(rows: i64) -> [Vec<Duration>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    open_sqlite(&path).prepare().await.unwrap();
    let mut connection = floor::open(&path);
    fill_sqlite(&mut connection, rows);
    let store = open_sqlite(&path);
    store.prepare().await.unwrap();
    let connection = &connection;
    measure(&*store, &employees(rows), |employee| async move {
        let sql = "SELECT id, records.number, records.source, employee_id, records.priority, \
            records.timestamp, reason, first_seen, last_seen, bytes \
            FROM records LEFT JOIN former USING (record) WHERE employee_id = ? \
            ORDER BY records.timestamp DESC, records.number DESC LIMIT 1000";
        let mut statement = connection.prepare_cached(sql).unwrap();
        let rows = statement.query_map([employee], |row| {
            let ids: ([u8; 16], i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let values: (String, Option<i64>, f64) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let times: (Option<i64>, f64, Option<f64>) = (row.get(6)?, row.get(7)?, row.get(8)?);
            Ok((ids, values, times, row.get::<_, Vec<u8>>(9)?))
        });
        black_box(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()).len()
    })
    .await
}

/// Beside a statement that is planned each time, and beside one that was prepared before.
async fn postgres(server: &PostgresServer, rows: i64) -> [[Vec<Duration>; 2]; 2] {
    let database = server.create_database().await;
    let store = open_postgres(server, &database);
    store.prepare().await.unwrap();
    let client = server.connect(&database).await;
    let names = SOURCES.map(|name| format!("('{name}')")).join(", ");
    client.batch_execute(&format!("INSERT INTO sources (name) VALUES {names}")).await.unwrap();
    let sql = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'records' \
        AND indexdef NOT LIKE 'CREATE UNIQUE%'";
    let found = client.query(sql, &[]).await.unwrap();
    let indexes = found.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    let indexes: Vec<_> = indexes.collect();
    for (name, _) in &indexes {
        client.batch_execute(&format!("DROP INDEX {name}")).await.unwrap();
    }
    let texts = employees(rows);
    floor::copy(&client, "records", history(rows, &texts)).await;
    for (_, create) in &indexes {
        client.batch_execute(create).await.unwrap();
    }
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    // The order of the store's index; both must read the same rows.
    let sql = "SELECT id::text, number, source, employee_id, priority, \"timestamp\", reason, \
        first_seen, last_seen, bytes FROM records WHERE employee_id = $1 \
        ORDER BY coalesce(\"timestamp\", '-Infinity') DESC, number DESC LIMIT 1000";
    let statement = client.prepare(sql).await.unwrap();
    let (client, statement) = (&client, &statement);
    let planned = measure(&store, &texts, |employee| async move {
        read(&client.query_typed(sql, &[(&employee, Type::TEXT)]).await.unwrap())
    });
    let planned = planned.await;
    let prepared = measure(&store, &texts, |employee| async move {
        read(&client.query(statement, &[&employee]).await.unwrap())
    });
    [planned, prepared.await]
}

/// Reads the rows as far as they are not in place; returns how many there are.
fn read(rows: &[tokio_postgres::Row]) -> usize {
    let values = rows.iter().map(|row| {
        (row.get::<_, String>(0), row.get::<_, i64>(1), row.get::<_, &[u8]>(9).to_vec())
    });
    black_box(values.collect::<Vec<_>>()).len()
}
