//! Reads what is stored of the sources, to serve it.

use rusqlite::{Connection, OptionalExtension as _};

use super::counters::Counters;
use super::fault::Fault;
use super::forgotten::Forgotten;
use super::{sequences, values};
use crate::sources::Fingerprint;
use crate::store::record::runs;
use crate::store::{Heads, RecordChunk, SourceHead, StoreKey, StoredRecord, Version};

/// What is stored of each source, without its records.
pub(super) fn heads(connection: &mut Connection, now: f64) -> Result<Heads, Fault> {
    let transaction = connection.transaction()?;
    let sql = "SELECT name, fingerprint, revision, fetched_at, report FROM sources \
               WHERE fingerprint IS NOT NULL ORDER BY name";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut heads = Heads::default();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let report: String = row.get(4)?;
        let report = serde_json::from_str(&report)
            .map_err(|_| Fault::unreadable(&format!("the report of {name}")))?;
        let fetched_at = row.get(3)?;
        heads.sources.push(SourceHead {
            name,
            fingerprint: Fingerprint(row.get(1)?),
            revision: row.get(2)?,
            age: values::age(now, fetched_at),
            fetched_at: values::time(fetched_at),
            report,
        });
    }
    let sql = "SELECT upstream, concurrency FROM upstream_limits ORDER BY upstream";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let limit: i64 = row.get(1)?;
        heads.limits.push((row.get(0)?, usize::try_from(limit).unwrap_or_default()));
    }
    Ok(heads)
}

/// The order of a source's records.
pub(super) fn sequence(
    connection: &mut Connection,
    forgotten: &Forgotten,
    source: &str,
) -> Result<Vec<Version>, Fault> {
    let transaction = connection.transaction()?;
    let counters = Counters::read(&transaction)?;
    let sequence = sequences::get(&transaction, source)?;
    forgotten.has_read(source, counters.forgotten);
    Ok(sequence)
}

/// The records with these versions. Versions mostly follow each other, so that they are read range
/// by range.
pub(super) fn records(
    connection: &Connection,
    versions: &mut [Version],
) -> Result<RecordChunk, Fault> {
    let sql = "SELECT version, id, employee_id, priority, timestamp, reason, bytes FROM records \
               WHERE version BETWEEN ? AND ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut chunk = RecordChunk::default();
    for (first, last) in runs(versions) {
        let mut rows = statement.query([first.0, last.0])?;
        while let Some(row) = rows.next()? {
            chunk.push(StoredRecord {
                version: Version(row.get(0)?),
                id: values::stable_id(row, 1)?,
                bytes: values::blob(row, 6)?,
                employee_id: values::text(row, 2)?,
                priority: values::priority(row, 3)?,
                timestamp: row.get(4)?,
                reason: values::reason(row, 5)?,
            });
        }
    }
    Ok(chunk)
}

/// The content of an identity table.
pub(super) fn table(connection: &Connection, source: &str) -> Result<Option<Vec<u8>>, Fault> {
    let sql = "SELECT content FROM identity_tables JOIN sources \
               ON sources.id = identity_tables.source WHERE name = ?";
    Ok(connection.prepare_cached(sql)?.query_row([source], |row| row.get(0)).optional()?)
}

/// How many records are stored.
pub(super) fn count(connection: &Connection) -> Result<u64, Fault> {
    Ok(u64::try_from(Counters::read(connection)?.records).unwrap_or_default())
}

/// The store's key.
pub(super) fn key(connection: &Connection) -> Result<StoreKey, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM store_key")?;
    Ok(StoreKey(statement.query_one([], |row| row.get(0))?))
}
