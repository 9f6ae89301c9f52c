//! What is written of a source whose content has not changed: one row, in one round trip.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::fault::Failure;
use super::lane::{Mode, Param};
use super::lease::{LOCK_LEASE, epoch_column};
use super::read::NOW;
use super::write::REVISION;
use super::{PostgresStore, WRITE, schema};
use crate::store::{Epoch, SourceWrite, StoreError, Version, Written};

impl PostgresStore {
    /// Writes that a source was fetched and has not changed.
    pub(super) async fn write_unchanged(
        &self,
        epoch: Epoch,
        write: &SourceWrite,
        age: Duration,
        report: &str,
    ) -> Result<Written, Failure> {
        let upsert = format!(
            "INSERT INTO sources (name, fingerprint, report, revision, fetched_at) \
             SELECT $5, $6, $7, 1, {NOW} - $8 FROM allowed ON CONFLICT (name) DO UPDATE SET \
             fingerprint = excluded.fingerprint, fetched_at = excluded.fetched_at, \
             report = excluded.report WHERE $9 IS NULL OR $9 = {REVISION} RETURNING revision"
        );
        let age = age.as_secs_f64();
        let known = self.forgotten.known();
        let others: [Param<'_>; 2] = [(&age, Type::FLOAT8), (&write.based_on, Type::INT8)];
        let (forgotten, revision) =
            self.write_row(epoch, write, report, known, &upsert, &others).await?;
        self.forgotten.check(forgotten)?;
        let revision = revision.ok_or(StoreError::Outdated)?;
        self.forgotten.has_read(forgotten);
        Ok(Written { first_version: Version(0), revision })
    }

    /// Writes what a refresh that failed reports. It says nothing of data of another definition.
    pub(super) async fn write_failure(
        &self,
        epoch: Epoch,
        write: &SourceWrite,
        report: &str,
    ) -> Result<Written, Failure> {
        const UPDATE: &str = "UPDATE sources SET report = $7 FROM allowed \
             WHERE name = $5 AND fingerprint = $6 RETURNING revision";
        let (_, revision) = self.write_row(epoch, write, report, None, UPDATE, &[]).await?;
        Ok(Written { first_version: Version(0), revision: revision.unwrap_or_default() })
    }

    /// Changes the row of a source, and tells the others, if the lease is held, the schema is known
    /// and the counter of deletions is this one, if it is given. The server has the whole
    /// transaction at once, and locks the row of the lease before it changes another. Returns the
    /// counter of deletions, and the revision of the row if it was changed.
    async fn write_row(
        &self,
        epoch: Epoch,
        write: &SourceWrite,
        report: &str,
        forgotten: Option<i64>,
        change: &str,
        others: &[Param<'_>],
    ) -> Result<(i64, Option<i64>), Failure> {
        let statement = format!(
            "WITH held AS MATERIALIZED ({LOCK_LEASE}), found AS MATERIALIZED ( \
                 SELECT (SELECT max(version) FROM schema_version) AS schema, \
                     EXISTS (SELECT FROM held) AS is_held, value AS forgotten \
                 FROM counters WHERE name = 'forgotten'), \
             allowed AS MATERIALIZED ( \
                 SELECT FROM found \
                 WHERE is_held AND schema <= $3 AND forgotten = coalesce($4, forgotten)), \
             written AS ({change}) \
             SELECT schema, is_held, forgotten, revision, \
                 CASE WHEN revision IS NOT NULL \
                     THEN pg_notify('incident_gateway', $2)::text END \
             FROM found LEFT JOIN written ON true"
        );
        let epoch = epoch_column(epoch)?;
        let fingerprint = write.fingerprint.0.as_slice();
        let mut params: Vec<Param<'_>> = vec![
            (&epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&schema::SCHEMA_VERSION, Type::INT4),
            (&forgotten, Type::INT8),
            (&write.name, Type::TEXT),
            (&fingerprint, Type::BYTEA),
            (&report, Type::TEXT),
        ];
        params.extend_from_slice(others);
        let connection = self.writes.connection(WRITE.server).await?;
        let rows = connection.run(Mode::Write, &statement, &params).await?;
        let row = rows.first().ok_or(Failure::Unexpected("its table `counters` lacks a row"))?;
        self.check_schema(row.try_get::<_, Option<i32>>(0)?.unwrap_or_default())?;
        if !row.try_get::<_, bool>(1)? {
            return Err(StoreError::LeaseLost.into());
        }
        Ok((row.try_get(2)?, row.try_get(3)?))
    }
}
