//! The fastest plain ways to write rows into the tables of a store: prepared inserts in one
//! transaction, and COPY.

use std::path::Path;

use bytes::{BufMut as _, BytesMut};
use futures::SinkExt as _;
use incident_gateway::decode::Priority;
use incident_gateway::store::StableId;
use rusqlite::{Connection, params};

/// A row of `records` as it is written plainly.
pub(crate) struct Row<'a> {
    /// The version and the number.
    pub(crate) number: i64,
    pub(crate) id: StableId,
    pub(crate) source: i32,
    pub(crate) employee_id: &'a str,
    pub(crate) priority: Option<Priority>,
    pub(crate) timestamp: f64,
    pub(crate) first_seen: f64,
    pub(crate) last_seen: Option<f64>,
    pub(crate) bytes: &'a [u8],
}

/// Opens a database that the store has made, as the store does.
pub(crate) fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "normal").unwrap();
    connection.pragma_update(None, "cache_size", -32 * 1024).unwrap();
    connection
}

/// The indexes of records that can be dropped, with the statements that create them.
pub(crate) fn indexes(connection: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT name, sql FROM sqlite_schema \
        WHERE type = 'index' AND tbl_name IN ('records', 'former') AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Inserts rows in one transaction.
pub(crate) fn insert<'a>(connection: &mut Connection, rows: impl Iterator<Item = Row<'a>>) {
    let transaction = connection.transaction().unwrap();
    let sql = "INSERT INTO records (version, number, id, source, employee_id, priority, \
        timestamp, first_seen, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut statement = transaction.prepare(sql).unwrap();
    let sql = "INSERT INTO former (record, number, source, priority, timestamp, last_seen) \
        VALUES (?, ?, ?, ?, ?, ?)";
    let mut former = transaction.prepare(sql).unwrap();
    for row in rows {
        let values = params![
            row.number,
            row.number,
            row.id.0,
            row.source,
            row.employee_id,
            row.priority.map(|priority| priority as i64),
            row.timestamp,
            row.first_seen,
            row.bytes
        ];
        let record = statement.insert(values).unwrap();
        if let Some(last_seen) = row.last_seen {
            let priority = row.priority.map(|priority| priority as i64);
            let values = (record, row.number, row.source, priority, row.timestamp, last_seen);
            former.execute(values).unwrap();
        }
    }
    drop((statement, former));
    transaction.commit().unwrap();
}

/// Writes rows by COPY in its binary format.
pub(crate) async fn copy<'a>(
    client: &tokio_postgres::Client,
    table: &str,
    rows: impl Iterator<Item = Row<'a>>,
) {
    const CHUNK_BYTES: usize = 64 << 10;
    let sql = format!(
        "COPY {table} (version, number, id, source, employee_id, priority, \"timestamp\", \
         first_seen, last_seen, bytes) FROM STDIN BINARY"
    );
    let sink = client.copy_in::<_, bytes::Bytes>(&sql).await.unwrap();
    let mut sink = std::pin::pin!(sink);
    let mut buffer = BytesMut::new();
    buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
    buffer.put_slice(&[0; 8]);
    for row in rows {
        put(&mut buffer, &row);
        if buffer.len() >= CHUNK_BYTES {
            sink.send(buffer.split().freeze()).await.unwrap();
        }
    }
    buffer.put_i16(-1);
    sink.send(buffer.freeze()).await.unwrap();
    sink.finish().await.unwrap();
}

fn put(buffer: &mut BytesMut, row: &Row<'_>) {
    fn field(buffer: &mut BytesMut, value: Option<&[u8]>) {
        buffer.put_i32(value.map_or(-1, |value| i32::try_from(value.len()).unwrap()));
        buffer.put_slice(value.unwrap_or_default());
    }
    buffer.put_i16(10);
    field(buffer, Some(&row.number.to_be_bytes()));
    field(buffer, Some(&row.number.to_be_bytes()));
    field(buffer, Some(&row.id.0));
    field(buffer, Some(&row.source.to_be_bytes()));
    field(buffer, Some(row.employee_id.as_bytes()));
    field(
        buffer,
        row.priority.map(|priority| (priority as i16).to_be_bytes()).as_ref().map(|p| &p[..]),
    );
    field(buffer, Some(&row.timestamp.to_be_bytes()));
    field(buffer, Some(&row.first_seen.to_be_bytes()));
    field(buffer, row.last_seen.map(f64::to_be_bytes).as_ref().map(|time| &time[..]));
    field(buffer, Some(row.bytes));
}
