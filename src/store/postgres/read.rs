//! What processes read to serve it.

use std::time::{Duration, UNIX_EPOCH};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::codes::{Id, column_text, priority, reason};
use super::fault::Failure;
use super::lane::{Mode, Param};
use super::{HISTORY, PostgresStore, READ};
use crate::sources::Fingerprint;
use crate::store::record::runs;
use crate::store::{Heads, RecordChunk, SourceHead, StoreKey, StoredRecord, Version, sequence};

/// More sources or upstreams than any configuration has.
pub(super) const MAX_HEADS: i64 = 100_000;

/// The database's clock, in seconds since the epoch.
pub(super) const NOW: &str = "extract(epoch FROM clock_timestamp())::float8";

const READ_FORGOTTEN: &str = "SELECT value FROM counters WHERE name = 'forgotten'";

impl PostgresStore {
    pub(super) async fn read_heads(&self) -> Result<Heads, Failure> {
        let read_sources = format!(
            "SELECT name, fingerprint, revision, fetched_at, {NOW} - fetched_at, report \
             FROM sources WHERE fingerprint IS NOT NULL LIMIT $1"
        );
        let limit: [Param<'_>; 1] = [(&MAX_HEADS, Type::INT8)];
        let statements = [
            (read_sources.as_str(), limit.as_slice()),
            ("SELECT name, value FROM upstream_limits LIMIT $1", limit.as_slice()),
        ];
        let connection = self.reads.connection(READ.server).await?;
        let [sources, limits] = connection.run_all(Mode::Read, statements).await?;
        let limit_of = |row: &Row| {
            let value: i64 = row.try_get(1)?;
            Ok::<_, Failure>((row.try_get(0)?, usize::try_from(value).unwrap_or_default()))
        };
        Ok(Heads {
            sources: sources.iter().map(head).collect::<Result<_, _>>()?,
            limits: limits.iter().map(limit_of).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn read_key(&self) -> Result<StoreKey, Failure> {
        let connection = self.histories.connection(HISTORY.server).await?;
        let statements = [("SELECT value FROM store_key", [].as_slice())];
        let [keys] = connection.run_all(Mode::Read, statements).await?;
        let key = keys.first().ok_or(Failure::Unexpected("the store has no key"))?;
        Ok(StoreKey(key.try_get::<_, Id>(0)?.0.0))
    }

    pub(super) async fn read_sequence(&self, source: &str) -> Result<Vec<Version>, Failure> {
        const READ_SEQUENCE: &str = "SELECT sequence FROM sources WHERE name = $1";
        let name: [Param<'_>; 1] = [(&source, Type::TEXT)];
        let connection = self.reads.connection(READ.server).await?;
        let statements = [(READ_FORGOTTEN, [].as_slice()), (READ_SEQUENCE, name.as_slice())];
        let [forgotten, rows] = connection.run_all(Mode::Read, statements).await?;
        self.forgotten.has_read(counter(&forgotten)?);
        match rows.first().map(|row| row.try_get::<_, Option<&[u8]>>(0)).transpose()?.flatten() {
            Some(blob) => sequence::decode(blob)
                .map_err(|_| Failure::Unexpected("a stored order of records cannot be read")),
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn read_records(&self, versions: &[Version]) -> Result<RecordChunk, Failure> {
        // Of a list of versions `PostgreSQL` expects that each is on a page of its own, so that it
        // reads all records for a long one until the table has been analysed. The offset keeps the
        // subquery apart, which finds the records of each run by the primary key.
        const READ_RECORDS: &str = "SELECT found.* FROM unnest($1, $2) AS run (first, last) \
             CROSS JOIN LATERAL (SELECT version, id, bytes, employee_id, priority, \"timestamp\", \
                 reason FROM records WHERE version BETWEEN first AND last OFFSET 0) AS found";
        let mut versions = versions.to_owned();
        let (first, last): (Vec<i64>, Vec<i64>) =
            runs(&mut versions).map(|(first, last)| (first.0, last.0)).unzip();
        let connection = self.reads.connection(READ.server).await?;
        let params: [Param<'_>; 2] = [(&first, Type::INT8_ARRAY), (&last, Type::INT8_ARRAY)];
        let rows = connection.run(Mode::Read, READ_RECORDS, &params).await?;
        let mut chunk = RecordChunk::default();
        for row in rows {
            let employee = row.try_get::<_, Option<&str>>(3)?.map(column_text);
            chunk.push(StoredRecord {
                version: Version(row.try_get(0)?),
                id: row.try_get::<_, Id>(1)?.0,
                bytes: row.try_get(2)?,
                employee_id: employee.as_deref(),
                priority: priority(row.try_get(4)?)?,
                timestamp: row.try_get(5)?,
                reason: reason(row.try_get(6)?)?,
            });
        }
        Ok(chunk)
    }

    pub(super) async fn read_table(&self, source: &str) -> Result<Option<Vec<u8>>, Failure> {
        const READ_TABLE: &str = "SELECT identity_table FROM sources WHERE name = $1";
        let connection = self.reads.connection(READ.server).await?;
        let params: [Param<'_>; 1] = [(&source, Type::TEXT)];
        let rows = connection.run(Mode::Read, READ_TABLE, &params).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.flatten())
    }

    pub(super) async fn read_count(&self) -> Result<u64, Failure> {
        const READ_COUNT: &str = "SELECT value FROM counters WHERE name = 'records'";
        let connection = self.reads.connection(READ.server).await?;
        let rows = connection.run(Mode::Read, READ_COUNT, &[]).await?;
        Ok(u64::try_from(counter(&rows)?).unwrap_or_default())
    }
}

/// The value of a counter that was read alone.
pub(super) fn counter(rows: &[Row]) -> Result<i64, Failure> {
    let row = rows.first().ok_or(Failure::Unexpected("its table `counters` lacks a row"))?;
    Ok(row.try_get(0)?)
}

fn head(row: &Row) -> Result<SourceHead, Failure> {
    const UNREADABLE: Failure = Failure::Unexpected("its table `sources` cannot be understood");
    let fingerprint: &[u8] = row.try_get(1)?;
    let fetched_at = duration(row.try_get(3)?);
    let report: &str = row.try_get(5)?;
    Ok(SourceHead {
        name: row.try_get(0)?,
        fingerprint: Fingerprint(fingerprint.try_into().map_err(|_| UNREADABLE)?),
        revision: row.try_get(2)?,
        age: duration(row.try_get(4)?),
        fetched_at: UNIX_EPOCH.checked_add(fetched_at).ok_or(UNREADABLE)?,
        report: serde_json::from_str(report).map_err(|_| UNREADABLE)?,
    })
}

/// Zero for what is negative, or no number of seconds.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
