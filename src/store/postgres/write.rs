//! What the holder of the lease writes.

use std::time::Duration;

use futures::try_join;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::lane::{Connection, Mode, Param, ServerBounds};
use super::lease::{LOCK_LEASE, epoch_column};
use super::listen::NOTIFY;
use super::read::{NOW, counter};
use super::upsert::{Origin, end_current, write_records};
use super::{PostgresStore, READ, RETAIN, WRITE};
use crate::store::{
    Content, Epoch, RecordChanges, SequenceItem, SourceWrite, StoreError, Version, Written,
    sequence,
};

/// The row of a source, locked by a transaction.
struct Source {
    origin: Origin,
    /// When its data was fetched the last time before.
    last_success: Option<f64>,
    /// As in [`SourceWrite::based_on`].
    revision: i64,
}

/// The revision of a source, 0 if it has no head.
pub(super) const REVISION: &str =
    "CASE WHEN sources.fingerprint IS NULL THEN 0 ELSE sources.revision END";

impl PostgresStore {
    pub(super) async fn write_source(
        &self,
        epoch: Epoch,
        write: SourceWrite,
    ) -> Result<Written, Failure> {
        let report = serde_json::to_string(&write.report)
            .map_err(|_| Failure::Unexpected("a report cannot be stored"))?;
        let content = match (&write.content, write.age) {
            (Some(content), _) => content,
            (None, Some(age)) => return self.write_unchanged(epoch, &write, age, &report).await,
            (None, None) => return self.write_failure(epoch, &write, &report).await,
        };
        let connection = self.begin_write(epoch, WRITE.server).await?;
        let forgotten = match write.age {
            Some(_) => Some(lock_forgotten(&connection).await?),
            None => None,
        };
        // It fails only once, so nothing that may fail comes between this and the caller. The
        // connection is closed, which rolls the transaction back.
        forgotten.map_or(Ok(()), |counter| self.forgotten.check(counter))?;
        let written = write_in(&connection, &write, content, &report).await?;
        self.finish_write(connection, epoch).await?;
        if let Some(forgotten) = forgotten {
            self.forgotten.has_read(forgotten);
        }
        Ok(written)
    }

    /// Begins a transaction of the holder, unless it has lost the lease already.
    async fn begin_write(&self, epoch: Epoch, bounds: ServerBounds) -> Result<Connection, Failure> {
        const CHECK: &str = "SELECT (SELECT max(version) FROM schema_version), EXISTS ( \
             SELECT FROM lease WHERE epoch = $1 AND holder = $2 \
             AND expires_at > clock_timestamp())";
        let connection = self.writes.connection(bounds).await?;
        let epoch = epoch_column(epoch)?;
        let params: [Param<'_>; 2] = [(&epoch, Type::INT8), (&self.instance, Type::TEXT)];
        let check = connection.client().query_typed_one(CHECK, &params);
        let ((), row) = try_join!(connection.begin(), connection.answer(check))?;
        let (version, is_held): (Option<i32>, bool) = (row.try_get(0)?, row.try_get(1)?);
        let checked = self.check_schema(version.unwrap_or_default());
        let checked = checked.and(if is_held { Ok(()) } else { Err(StoreError::LeaseLost) });
        match checked {
            Ok(()) => Ok(connection),
            Err(error) => {
                connection.roll_back().await?;
                Err(error.into())
            }
        }
    }

    /// Tells the others and commits, if the lease is still held. Its row stays locked until then,
    /// so that whoever takes it waits.
    async fn finish_write(&self, connection: Connection, epoch: Epoch) -> Result<(), Failure> {
        let client = connection.client();
        let epoch = epoch_column(epoch)?;
        let notify: [Param<'_>; 1] = [(&self.instance, Type::TEXT)];
        let lock: [Param<'_>; 2] = [(&epoch, Type::INT8), (&self.instance, Type::TEXT)];
        let statements = async {
            try_join!(client.query_typed(NOTIFY, &notify), client.query_typed(LOCK_LEASE, &lock))
        };
        let (_, held) = connection.answer(statements).await?;
        if held.is_empty() {
            connection.roll_back().await?;
            return Err(StoreError::LeaseLost.into());
        }
        connection.commit().await
    }

    pub(super) async fn retain_only(&self, epoch: Epoch, names: &[String]) -> Result<(), Failure> {
        const OTHERS: &str = "SELECT id FROM sources \
             WHERE fingerprint IS NOT NULL AND name <> ALL($1)";
        const END_RECORDS: &str = "UPDATE records \
             SET last_seen = greatest(first_seen, sources.fetched_at) FROM sources \
             WHERE source = $1 AND last_seen IS NULL AND sources.id = source";
        const END_SOURCE: &str = "UPDATE sources SET fingerprint = NULL, sequence = NULL, \
             identity_table = NULL, revision = revision + 1 WHERE id = $1";
        let connection = self.begin_write(epoch, RETAIN.server).await?;
        let client = connection.client();
        let names: [Param<'_>; 1] = [(&names, Type::TEXT_ARRAY)];
        let others = connection.answer(client.query_typed(OTHERS, &names)).await?;
        if others.is_empty() {
            return connection.roll_back().await;
        }
        // No record is deleted until this is committed.
        lock_forgotten(&connection).await?;
        for row in others {
            let id: i32 = row.try_get(0)?;
            let params: [Param<'_>; 1] = [(&id, Type::INT4)];
            connection.answer(client.execute_typed(END_RECORDS, &params)).await?;
            connection.answer(client.execute_typed(END_SOURCE, &params)).await?;
        }
        self.finish_write(connection, epoch).await
    }

    pub(super) async fn write_limits(
        &self,
        epoch: Epoch,
        limits: &[(String, usize)],
    ) -> Result<(), Failure> {
        let write = format!(
            "WITH held AS MATERIALIZED ({LOCK_LEASE}), written AS ( \
                 INSERT INTO upstream_limits AS stored (name, value) \
                 SELECT name, value FROM unnest($3, $4) AS given (name, value), held \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value \
                 WHERE stored.value <> excluded.value) \
             SELECT FROM held"
        );
        let names: Vec<&str> = limits.iter().map(|(name, _)| name.as_str()).collect();
        let limits: Vec<i64> =
            limits.iter().map(|(_, limit)| i64::try_from(*limit).unwrap_or(i64::MAX)).collect();
        let epoch = epoch_column(epoch)?;
        let params: [Param<'_>; 4] = [
            (&epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&names, Type::TEXT_ARRAY),
            (&limits, Type::INT8_ARRAY),
        ];
        let connection = self.reads.connection(READ.server).await?;
        let held = connection.run(Mode::Write, &write, &params).await?;
        if held.is_empty() { Err(StoreError::LeaseLost.into()) } else { Ok(()) }
    }
}

/// The counter of deletions. No record can be deleted until this is committed.
async fn lock_forgotten(connection: &Connection) -> Result<i64, Failure> {
    const LOCK: &str = "SELECT value FROM counters WHERE name = 'forgotten' FOR SHARE";
    counter(&connection.answer(connection.client().query_typed(LOCK, &[])).await?)
}

/// Writes the changed content of a source in the transaction of a connection.
async fn write_in(
    connection: &Connection,
    write: &SourceWrite,
    content: &Content,
    report: &str,
) -> Result<Written, Failure> {
    let source = lock_source(connection, &write.name, write.age.unwrap_or_default()).await?;
    if write.based_on.is_some_and(|based_on| based_on != source.revision) {
        return Err(StoreError::Outdated.into());
    }
    let (first_version, revision) =
        write_content(connection, write, &source, content, report).await?;
    Ok(Written { first_version, revision })
}

/// Locks the row of a source, which is inserted if there is none.
async fn lock_source(
    connection: &Connection,
    name: &str,
    age: Duration,
) -> Result<Source, Failure> {
    const INSERT: &str = "INSERT INTO sources (name) VALUES ($1) ON CONFLICT DO NOTHING";
    let lock = format!(
        "SELECT id, fetched_at, {NOW} - $2, {REVISION} FROM sources WHERE name = $1 FOR UPDATE"
    );
    let age = age.as_secs_f64();
    let params: [Param<'_>; 2] = [(&name, Type::TEXT), (&age, Type::FLOAT8)];
    let client = connection.client();
    let statements = async {
        try_join!(
            client.execute_typed(INSERT, &params[..1]),
            client.query_typed_one(&lock, &params)
        )
    };
    let (_, row) = connection.answer(statements).await?;
    let origin = Origin { source: row.try_get(0)?, fetched_at: row.try_get(2)? };
    let revision = row.try_get::<_, i64>(3)?;
    Ok(Source { origin, last_success: row.try_get(1)?, revision })
}

/// Writes a source whose content has changed; returns the version of the first upsert, and the
/// source's revision.
async fn write_content(
    connection: &Connection,
    write: &SourceWrite,
    source: &Source,
    content: &Content,
    report: &str,
) -> Result<(Version, i64), Failure> {
    // All numbers that were taken are committed or those of this write.
    const UPDATE: &str = "UPDATE sources SET fingerprint = $2, fetched_at = $3, report = $4, \
         sequence = $5, identity_table = $6, revision = revision + 1, \
         first_through = CASE WHEN $5 IS NULL THEN first_through ELSE coalesce(first_through, \
             (SELECT value FROM counters WHERE name = 'version')) END \
         WHERE id = $1 RETURNING revision";
    let (first, order, table) = match content {
        Content::Records(changes) => {
            let (first, order) = write_changes(connection, source, changes).await?;
            (first, Some(order), None)
        }
        Content::Table(table) => (Version(0), None, Some(table)),
    };
    let fingerprint = write.fingerprint.0.as_slice();
    let params: [Param<'_>; 6] = [
        (&source.origin.source, Type::INT4),
        (&fingerprint, Type::BYTEA),
        (&source.origin.fetched_at, Type::FLOAT8),
        (&report, Type::TEXT),
        (&order, Type::BYTEA),
        (&table, Type::BYTEA),
    ];
    let row = connection.answer(connection.client().query_typed_one(UPDATE, &params)).await?;
    Ok((first, row.try_get(0)?))
}

/// Writes the records of a source; returns the version of the first upsert, and their order.
async fn write_changes(
    connection: &Connection,
    source: &Source,
    changes: &RecordChanges,
) -> Result<(Version, Vec<u8>), Failure> {
    const TAKE_VERSIONS: &str = "UPDATE counters SET value = value + $1 WHERE name = 'version' \
         RETURNING value - $1 + 1";
    const COUNT: &str = "UPDATE counters SET value = value + $1 WHERE name = 'records'";
    let client = connection.client();
    let upserts = i64::try_from(changes.upserts.len()).expect("a Vec has no more than isize::MAX");
    let first = if upserts == 0 {
        Version(0)
    } else {
        // Its row stays locked: numbers are committed in the order in which they are taken.
        let count: [Param<'_>; 1] = [(&upserts, Type::INT8)];
        let taken = connection.answer(client.query_typed(TAKE_VERSIONS, &count)).await?;
        Version(counter(&taken)?)
    };
    let last_success = source.last_success.unwrap_or(source.origin.fetched_at);
    end_current(connection, last_success, &changes.left).await?;
    let new = write_records(connection, source.origin, first, &changes.upserts).await?;
    if new > 0 {
        // Late, because deletions of expired records wait for it.
        let count: [Param<'_>; 1] = [(&new, Type::INT8)];
        connection.answer(client.execute_typed(COUNT, &count)).await?;
    }
    let version = |item: &SequenceItem| match *item {
        SequenceItem::Stored(version) => Ok(version),
        SequenceItem::Upsert(index) => i64::try_from(index)
            .ok()
            .filter(|index| *index < upserts)
            .map(|index| Version(first.0 + index))
            .ok_or(Failure::Unexpected("the order of a source names a record without content")),
    };
    let order: Vec<Version> = changes.sequence.iter().map(version).collect::<Result<_, _>>()?;
    let order = sequence::encode(&order)
        .map_err(|_| Failure::Unexpected("the order of the records cannot be stored"))?;
    Ok((first, order))
}
