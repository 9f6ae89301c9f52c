//! The order of a source's records.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::Fault;
use crate::store::{StoreError, Version, sequence};

/// Stores the order of a source's records.
pub(super) fn put(connection: &Connection, source: i64, versions: &[Version]) -> Result<(), Fault> {
    let blob = sequence::encode(versions).map_err(|error| {
        StoreError::Unavailable(format!("the order of a source cannot be stored: {error}"))
    })?;
    let sql = "INSERT INTO sequences (source, versions) VALUES (?1, ?2) \
               ON CONFLICT (source) DO UPDATE SET versions = excluded.versions";
    connection.prepare_cached(sql)?.execute(params![source, blob])?;
    Ok(())
}

/// The order of a source's records; empty if nothing is stored.
pub(super) fn get(connection: &Connection, source: &str) -> Result<Vec<Version>, Fault> {
    let sql = "SELECT versions FROM sequences JOIN sources ON sources.id = sequences.source \
               WHERE name = ?";
    let blob: Option<Vec<u8>> =
        connection.prepare_cached(sql)?.query_row([source], |row| row.get(0)).optional()?;
    blob.map_or(Ok(Vec::new()), |blob| {
        sequence::decode(&blob)
            .map_err(|error| Fault::unreadable(&format!("the order of {source} ({error})")))
    })
}
