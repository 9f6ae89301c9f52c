//! What is deleted: records and dead letters that are older than `keep`, and those of an employee.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use super::codes::text_column;
use super::due::{IS_SELECTED, priority_codes};
use super::fault::Failure;
use super::lane::{Mode, Param};
use super::lease::{LOCK_LEASE, epoch_column};
use super::read::{NOW, counter};
use super::{PostgresStore, READ, WRITE};
use crate::store::{Epoch, ForwardClaim, StoreError};

/// How many records are deleted at a time because they are older than `keep`, and how many dead
/// letters.
const EXPIRED_BATCH: i64 = 1_000;

/// A [`ForwardClaim`] as JSON, because a statement cannot have lists of lists as a parameter.
#[derive(Serialize)]
struct Claim<'a> {
    name: &'a str,
    sending_through: i64,
    unattributed: bool,
    priorities: Option<Vec<i16>>,
    types: Option<&'a [String]>,
    done: &'a [i64],
}

impl<'a> From<&'a ForwardClaim> for Claim<'a> {
    fn from(claim: &'a ForwardClaim) -> Self {
        Self {
            name: &claim.name,
            sending_through: claim.sending_through,
            unattributed: claim.selection.unattributed,
            priorities: priority_codes(&claim.selection),
            types: claim.selection.types.as_deref(),
            done: &claim.done,
        }
    }
}

/// The claims, with where their forwards stand.
const CLAIMS: &str = "SELECT forwards.name, position, start, sending_through, unattributed, \
         priorities, types, done \
     FROM forwards JOIN json_to_recordset($3::json) AS claim (name text, sending_through bigint, \
         unattributed boolean, priorities smallint[], types text[], \
         done bigint[]) \
     ON claim.name = forwards.name";

/// Whether no forward is sending the record `r`. It is computed for each record that an index has
/// in order, and not joined.
const IS_FREE: &str = "NOT coalesce((SELECT bool_or(r.number > position \
         AND r.number <= sending_through) FROM claims), false)";

impl PostgresStore {
    pub(super) async fn delete_one_batch(
        &self,
        epoch: Epoch,
        keep: Duration,
        claims: &[ForwardClaim],
    ) -> Result<u64, Failure> {
        let claims: Vec<Claim<'_>> = claims.iter().map(Claim::from).collect();
        let claims = serde_json::to_string(&claims).expect("claims can be serialized");
        let keep = keep.as_secs_f64();
        let epoch = epoch_column(epoch)?;
        let params: [Param<'_>; 5] = [
            (&epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&claims, Type::TEXT),
            (&keep, Type::FLOAT8),
            (&EXPIRED_BATCH, Type::INT8),
        ];
        let connection = self.reads.connection(READ.server).await?;
        let rows = connection.run(Mode::Read, &any_statement(), &params[..4]).await?;
        if !flag(&rows)? {
            return Ok(0);
        }
        let connection = self.reads.connection(READ.server).await?;
        let rows = connection.run(Mode::Write, &delete_statement(), &params).await?;
        if !flag(&rows)? {
            return Err(StoreError::LeaseLost.into());
        }
        Ok(rows[0].try_get::<_, i64>(1)?.unsigned_abs())
    }

    pub(super) async fn forget_employee(&self, employee_id: &str) -> Result<u64, Failure> {
        // Waits for a write under way, whose records the next statements then see.
        const LOCK: &str = "SELECT FROM counters WHERE name = 'forgotten' FOR UPDATE";
        const DELETE_LETTERS: &str = "DELETE FROM dead_letters WHERE employee_id = $1";
        // Of records that were refused before they had the employee, or while they had another.
        const DELETE_OTHERS: &str = "DELETE FROM dead_letters \
             WHERE id = ANY (ARRAY(SELECT id FROM records WHERE employee_id = $1))";
        const DELETE: &str = "WITH deleted AS ( \
                 DELETE FROM records WHERE employee_id = $1 RETURNING version), \
             total AS (SELECT count(*) AS records FROM deleted), \
             counted AS ( \
                 UPDATE counters SET value = CASE name \
                     WHEN 'forgotten' THEN value + 1 ELSE value - total.records END \
                 FROM total WHERE name IN ('forgotten', 'records') AND total.records > 0) \
             SELECT records FROM total";
        let employee_id = text_column(employee_id);
        let params: [Param<'_>; 1] = [(&employee_id, Type::TEXT)];
        let connection = self.writes.connection(WRITE.server).await?;
        let params = params.as_slice();
        let statements = [
            (LOCK, [].as_slice()),
            (DELETE_LETTERS, params),
            (DELETE_OTHERS, params),
            (DELETE, params),
        ];
        let [_, _, _, deleted] = connection.run_all(Mode::Write, statements).await?;
        Ok(counter(&deleted)?.unsigned_abs())
    }
}

/// Whether anything is to be deleted. Parameters: the epoch, the instance, the claims, how long to
/// keep.
fn any_statement() -> String {
    // The indexes are read only for a time that is computed once, and, while the database knows
    // nothing of the rows yet, only for their order.
    format!(
        "WITH claims AS MATERIALIZED ({CLAIMS}) \
         SELECT EXISTS ( \
                 SELECT FROM (SELECT FROM records r WHERE last_seen < (SELECT {NOW} - $4) \
                     AND {IS_FREE} ORDER BY last_seen LIMIT 1) AS expired) \
             OR EXISTS ( \
                 SELECT FROM (SELECT FROM dead_letters WHERE refused_at < (SELECT {NOW} - $4) \
                     ORDER BY refused_at LIMIT 1) AS expired)"
    )
}

/// Deletes one batch. Parameters: those of [`any_statement`], the most rows.
fn delete_statement() -> String {
    // Rows that a write or `forget` has locked are left to a later batch. A forward does not move
    // until its records are counted.
    format!(
        "WITH held AS MATERIALIZED ({LOCK_LEASE}), claims AS MATERIALIZED ( \
             {CLAIMS} WHERE EXISTS (SELECT FROM held) FOR NO KEY UPDATE OF forwards), \
         expired AS MATERIALIZED ( \
             SELECT version FROM records r \
             WHERE last_seen < (SELECT {NOW} - $4) AND EXISTS (SELECT FROM held) AND {IS_FREE} \
             ORDER BY last_seen LIMIT $5 FOR UPDATE SKIP LOCKED), \
         deleted AS ( \
             DELETE FROM records r USING expired WHERE r.version = expired.version \
             RETURNING r.number, first_number, employee_id, priority, source), \
         counted AS ( \
             UPDATE counters SET value = value - (SELECT count(*) FROM deleted) \
             WHERE name = 'records' AND EXISTS (SELECT FROM deleted)), \
         unsent AS ( \
             SELECT f.name, count(*) AS records \
             FROM claims f, deleted r LEFT JOIN sources s ON s.id = r.source \
             WHERE r.number > f.position AND r.number <> ALL (f.done) AND {IS_SELECTED} GROUP BY f.name), \
         noted AS ( \
             UPDATE forwards SET dead_letters = dead_letters + unsent.records \
             FROM unsent WHERE forwards.name = unsent.name), \
         old AS MATERIALIZED ( \
             SELECT forward, number FROM dead_letters \
             WHERE refused_at < (SELECT {NOW} - $4) AND EXISTS (SELECT FROM held) \
             ORDER BY refused_at LIMIT $5 FOR UPDATE SKIP LOCKED), \
         dropped AS ( \
             DELETE FROM dead_letters USING old \
             WHERE dead_letters.forward = old.forward AND dead_letters.number = old.number \
             RETURNING old.number) \
         SELECT EXISTS (SELECT FROM held), \
             (SELECT count(*) FROM deleted) + (SELECT count(*) FROM dropped)"
    )
}

/// The first value of the first row.
fn flag(rows: &[tokio_postgres::Row]) -> Result<bool, Failure> {
    let row = rows.first().ok_or(Failure::Unexpected("a statement has no result"))?;
    Ok(row.try_get(0)?)
}
