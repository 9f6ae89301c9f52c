//! Writing many records with few statements.

use tokio_postgres::types::Type;

use super::codes::{Id, text_column};
use super::fault::Failure;
use super::lane::{Connection, Param};
use crate::join::Reason;
use crate::store::codes::{priority_code, reason_code};
use crate::store::{Upsert, Version};

/// How many records a statement writes.
const CHUNK_RECORDS: usize = 5_000;

/// A statement takes no more records once their bytes reach this many.
const CHUNK_BYTES: usize = 8 << 20;

/// How many versions a statement takes.
const CHUNK_VERSIONS: usize = 10_000;

/// What is the same for all records of a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The number of their source.
    pub(super) source: i32,
    /// When they were fetched, in seconds since the epoch.
    pub(super) fetched_at: f64,
}

/// Writes the records with versions from `first` on; returns how many of them were new.
///
/// A version that has never been used is at the same time a number that has never been used.
pub(super) async fn write_records(
    connection: &Connection,
    origin: Origin,
    first: Version,
    upserts: &[Upsert],
) -> Result<i64, Failure> {
    // A row that was inserted, and not updated, was never locked by a transaction.
    const UPSERT: &str = "WITH written AS ( \
             INSERT INTO records AS stored (version, number, id, \"timestamp\", first_seen, \
                 source, priority, reason, employee_id, bytes) \
             SELECT $1 + position - 1, $1 + position - 1, id, time, $2, $3, priority, reason, \
                 employee_id, bytes \
             FROM unnest($4, $5, $6, $7, $8, $9) WITH ORDINALITY \
                 AS given (id, time, priority, reason, employee_id, bytes, position) \
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
                 number = CASE WHEN stored.employee_id IS NULL \
                     AND excluded.employee_id IS NOT NULL \
                     THEN excluded.number ELSE stored.number END, \
                 first_number = CASE WHEN stored.employee_id IS NULL \
                     AND excluded.employee_id IS NOT NULL \
                     THEN coalesce(stored.first_number, stored.number) \
                     ELSE stored.first_number END, \
                 \"timestamp\" = excluded.\"timestamp\", last_seen = NULL, \
                 priority = excluded.priority, bytes = excluded.bytes, \
                 employee_id = CASE WHEN excluded.reason = $10 \
                     THEN stored.employee_id ELSE excluded.employee_id END, \
                 reason = CASE WHEN excluded.reason = $10 \
                     THEN stored.reason ELSE excluded.reason END \
             RETURNING xmax = 0 AS is_new) \
         SELECT count(*) FILTER (WHERE is_new) FROM written";
    // It says nothing of the record: the attribution that is stored stays.
    let unavailable = reason_code(Reason::IdentitiesUnavailable);
    let mut version = first.0;
    let mut new = 0;
    let mut rest = upserts;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chunk_len(rest));
        rest = after;
        let ids: Vec<Id> = chunk.iter().map(|upsert| Id(upsert.id)).collect();
        let times: Vec<Option<f64>> = chunk.iter().map(|upsert| upsert.timestamp).collect();
        let priorities: Vec<_> = chunk.iter().map(|of| of.priority.map(priority_code)).collect();
        let reasons: Vec<_> = chunk.iter().map(|of| of.reason.map(reason_code)).collect();
        let employees: Vec<_> =
            chunk.iter().map(|of| of.employee_id.as_deref().map(text_column)).collect();
        let bytes: Vec<&[u8]> = chunk.iter().map(|upsert| upsert.bytes.as_ref()).collect();
        let params: [Param<'_>; 10] = [
            (&version, Type::INT8),
            (&origin.fetched_at, Type::FLOAT8),
            (&origin.source, Type::INT4),
            (&ids, Type::UUID_ARRAY),
            (&times, Type::FLOAT8_ARRAY),
            (&priorities, Type::INT2_ARRAY),
            (&reasons, Type::INT2_ARRAY),
            (&employees, Type::TEXT_ARRAY),
            (&bytes, Type::BYTEA_ARRAY),
            (&unavailable, Type::INT2),
        ];
        let row = connection.answer(connection.client().query_typed_one(UPSERT, &params)).await?;
        new += row.try_get::<_, i64>(0)?;
        version += i64::try_from(chunk.len()).expect("a chunk is short");
    }
    Ok(new)
}

/// How many of the records, at least one, a statement takes.
fn chunk_len(upserts: &[Upsert]) -> usize {
    let mut bytes = 0;
    let fitting = upserts.iter().take(CHUNK_RECORDS).take_while(|upsert| {
        let fits = bytes < CHUNK_BYTES;
        bytes += upsert.bytes.len();
        fits
    });
    fitting.count()
}

/// Ends that the records are current. They were last seen at the last success before this one.
pub(super) async fn end_current(
    connection: &Connection,
    last_success: f64,
    left: &[Version],
) -> Result<(), Failure> {
    // Without the source, by which PostgreSQL would read all current records of it.
    const END: &str = "UPDATE records SET last_seen = greatest(first_seen, $2) \
         WHERE version = ANY($1) AND last_seen IS NULL";
    for chunk in left.chunks(CHUNK_VERSIONS) {
        let versions: Vec<i64> = chunk.iter().map(|version| version.0).collect();
        let params: [Param<'_>; 2] = [(&versions, Type::INT8_ARRAY), (&last_success, Type::FLOAT8)];
        connection.answer(connection.client().execute_typed(END, &params)).await?;
    }
    Ok(())
}
