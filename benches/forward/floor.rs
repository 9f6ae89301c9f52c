//! The shortest program that forwards: it reads the rows by one query, writes each batch with the
//! gateway's encoder, and posts it before it reads on. It keeps no position, claims nothing, and
//! knows no failures. And the shortest program that only reads them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use incident_gateway::config::Forward;
use incident_gateway::decode::Priority;
use incident_gateway::forward::Encoder;
use incident_gateway::store::{HistoryRow, StableId};
use rusqlite::{Connection, OpenFlags, Row};

use super::client::Client;

const SQL: &str = "SELECT records.id, number, name, employee_id, priority, timestamp, first_seen, \
                   bytes FROM records CROSS JOIN sources ON sources.id = source \
                   WHERE employee_id IS NOT NULL AND record > 0 ORDER BY record";

fn open(database: &Path) -> Connection {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// How long it takes to read all records that have an employee.
pub(crate) fn read(database: &Path) -> Duration {
    let started = Instant::now();
    let connection = open(database);
    let mut statement = connection.prepare(SQL).unwrap();
    let rows = statement.query_map([], history_row).unwrap();
    rows.for_each(|row| drop(std::hint::black_box(row.unwrap())));
    started.elapsed()
}

/// Sends all records that have an employee. None of them has taken a new number.
pub(crate) fn forward(address: SocketAddr, path: &str, database: &Path, forward: &Forward) {
    let encoder = Encoder::new(forward, None);
    let connection = open(database);
    let mut statement = connection.prepare(SQL).unwrap();
    let mut rows = statement.query_map([], history_row).unwrap().map(Result::unwrap);
    super::runtime().block_on(async {
        let mut client = Client::connect(address, path).await;
        loop {
            let page: Vec<_> = rows.by_ref().take(forward.batch.max_records).collect();
            if page.is_empty() {
                return;
            }
            let batch = encoder.encode(&page, SystemTime::now());
            assert_eq!(batch.records, page.len(), "the bytes of a batch are no limit here");
            client.post(batch.body).await;
        }
    });
}

fn history_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    let code: Option<u8> = row.get(4)?;
    let first_seen = row.get(6)?;
    Ok(HistoryRow {
        id: StableId(row.get(0)?),
        number: row.get(1)?,
        source: row.get(2)?,
        employee_id: row.get(3)?,
        priority: code.map(|code| Priority::ALL[usize::from(code)]),
        timestamp: row.get(5)?,
        reason: None,
        first_seen,
        last_seen: first_seen,
        is_current: true,
        bytes: row.get(7)?,
    })
}
