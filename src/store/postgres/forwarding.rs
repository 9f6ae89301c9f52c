//! Where forwards stand, and which records their receivers have refused.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::codes::{Id, column_text, text_column};
use super::fault::Failure;
use super::lane::{Mode, Param};
use super::lease::{LOCK_LEASE, epoch_column};
use super::read::NOW;
use super::{FORWARD, PostgresStore, schema};
use crate::config::ForwardFrom;
use crate::store::{Advance, Epoch, ForwardReport, StoreError, StoredForward};

/// More forwards than have ever been configured.
const MAX_FORWARDS: i64 = 100_000;

/// Keeps `forget` from deleting until the transaction ends.
const KEEP_RECORDS: &str = "SELECT value FROM counters WHERE name = 'forgotten' FOR SHARE";

impl PostgresStore {
    pub(super) async fn begin_positions(
        &self,
        epoch: Epoch,
        forwards: &[(String, ForwardFrom)],
    ) -> Result<(), Failure> {
        // It waits for no write under way: all numbers of that are greater than the one that was
        // committed last.
        let begin = format!(
            "WITH held AS MATERIALIZED ({LOCK_LEASE}), begun AS ( \
                 INSERT INTO forwards (name, position, start) \
                 SELECT given.name, CASE WHEN is_now THEN value ELSE 0 END, \
                     CASE WHEN is_now THEN value END \
                 FROM held, counters, unnest($3, $4) AS given (name, is_now) \
                 WHERE counters.name = 'version' ON CONFLICT DO NOTHING) \
             SELECT FROM held"
        );
        let names: Vec<&str> = forwards.iter().map(|(name, _)| name.as_str()).collect();
        let are_now: Vec<bool> =
            forwards.iter().map(|(_, from)| *from == ForwardFrom::Now).collect();
        let epoch = epoch_column(epoch)?;
        let params: [Param<'_>; 4] = [
            (&epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&names, Type::TEXT_ARRAY),
            (&are_now, Type::BOOL_ARRAY),
        ];
        let connection = self.forwards.connection(FORWARD.server).await?;
        let held = connection.run(Mode::Write, &begin, &params).await?;
        if held.is_empty() { Err(StoreError::LeaseLost.into()) } else { Ok(()) }
    }

    pub(super) async fn read_forwards(&self) -> Result<Vec<StoredForward>, Failure> {
        const READ_FORWARDS: &str = "SELECT name, position, start, sent, dead_letters, \
             is_retrying, last_error FROM forwards ORDER BY name LIMIT $1";
        let connection = self.forwards.connection(FORWARD.server).await?;
        let limit: [Param<'_>; 1] = [(&MAX_FORWARDS, Type::INT8)];
        let rows = connection.run(Mode::Read, READ_FORWARDS, &limit).await?;
        rows.iter().map(stored_forward).collect()
    }

    pub(super) async fn advance_forward(
        &self,
        epoch: Epoch,
        advance: &Advance,
    ) -> Result<(), Failure> {
        // A record that `forget` has deleted meanwhile leaves no dead letter.
        let move_position = format!(
            "WITH held AS MATERIALIZED ({LOCK_LEASE}), found AS MATERIALIZED ( \
                 SELECT (SELECT max(version) FROM schema_version) AS schema, \
                     EXISTS (SELECT FROM held) AS is_held), \
             moved AS ( \
                 UPDATE forwards SET position = $6, sent = sent + $7, \
                     dead_letters = dead_letters + cardinality($10), is_retrying = $8, \
                     last_error = $9 \
                 FROM found WHERE is_held AND schema <= $3 AND name = $4 AND position = $5 \
                 RETURNING name), \
             kept AS ( \
                 INSERT INTO dead_letters (forward, number, id, source, employee_id, status, \
                     answer, refused_at) \
                 SELECT moved.name, refused.*, {NOW} FROM moved, \
                     unnest($10, $11, $12, $13, $14, $15) \
                         AS refused (number, id, source, employee_id, status, answer) \
                 WHERE EXISTS (SELECT FROM records WHERE records.id = refused.id) \
                 ON CONFLICT DO NOTHING) \
             SELECT schema, is_held, EXISTS (SELECT FROM moved) FROM found"
        );
        let epoch = epoch_column(epoch)?;
        let sent = i64::try_from(advance.sent)
            .map_err(|_| Failure::Unexpected("a forward has sent too many records"))?;
        let Advance { name, from, to, dead_letters, report, .. } = advance;
        let last_error = report.last_error.as_deref().map(text_column);
        let numbers: Vec<i64> = dead_letters.iter().map(|letter| letter.number).collect();
        let ids: Vec<Id> = dead_letters.iter().map(|letter| Id(letter.id)).collect();
        let sources: Vec<&str> = dead_letters.iter().map(|of| of.source.as_str()).collect();
        let employees: Vec<_> =
            dead_letters.iter().map(|of| of.employee_id.as_deref().map(text_column)).collect();
        let statuses: Vec<i32> = dead_letters.iter().map(|of| of.status.into()).collect();
        let answers: Vec<_> = dead_letters.iter().map(|of| text_column(&of.answer)).collect();
        let params: [Param<'_>; 15] = [
            (&epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&schema::SCHEMA_VERSION, Type::INT4),
            (name, Type::TEXT),
            (from, Type::INT8),
            (to, Type::INT8),
            (&sent, Type::INT8),
            (&report.is_retrying, Type::BOOL),
            (&last_error, Type::TEXT),
            (&numbers, Type::INT8_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&sources, Type::TEXT_ARRAY),
            (&employees, Type::TEXT_ARRAY),
            (&statuses, Type::INT4_ARRAY),
            (&answers, Type::TEXT_ARRAY),
        ];
        let connection = self.forwards.connection(FORWARD.server).await?;
        let statement = (move_position.as_str(), params.as_slice());
        let rows = if dead_letters.is_empty() {
            connection.run_all(Mode::Write, [statement]).await?.into_iter().next()
        } else {
            // In a statement of its own, so that the next one sees what is deleted.
            let keep_records = (KEEP_RECORDS, [].as_slice());
            let [_, rows] = connection.run_all(Mode::Write, [keep_records, statement]).await?;
            Some(rows)
        };
        let row = rows.as_ref().and_then(|rows| rows.first());
        let row = row.ok_or(Failure::Unexpected("a statement has no result"))?;
        self.check_schema(row.try_get::<_, Option<i32>>(0)?.unwrap_or_default())?;
        match (row.try_get(1)?, row.try_get(2)?) {
            (false, _) => Err(StoreError::LeaseLost.into()),
            (true, false) => Err(StoreError::Outdated.into()),
            (true, true) => Ok(()),
        }
    }
}

fn stored_forward(row: &Row) -> Result<StoredForward, Failure> {
    let last_error = row.try_get::<_, Option<&str>>(6)?.map(column_text);
    Ok(StoredForward {
        name: row.try_get(0)?,
        position: row.try_get(1)?,
        start: row.try_get(2)?,
        sent: row.try_get::<_, i64>(3)?.unsigned_abs(),
        dead_letters: row.try_get::<_, i64>(4)?.unsigned_abs(),
        report: ForwardReport {
            is_retrying: row.try_get(5)?,
            last_error: last_error.map(std::borrow::Cow::into_owned),
        },
    })
}
