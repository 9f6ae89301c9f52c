//! The records that a forward has yet to send.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::codes::{Id, column_text, priority, reason};
use super::fault::Failure;
use super::lane::{Mode, Param};
use super::{COUNT, PostgresStore, READ};
use crate::config::Selection;
use crate::store::codes::priority_code;
use crate::store::{DuePage, DueQuery, DueRange, HistoryRow};

/// How many records a page looks at, selected or not.
const MAX_LOOKED_AT: i64 = 10_000;

/// Whether a forward `f`, with the members of [`DueRange`] but `after`, sends a record `r` of a
/// source `s`. It is null for a record that lacks a member.
pub(super) const IS_SELECTED: &str = "(f.unattributed OR r.employee_id IS NOT NULL) \
     AND (f.priorities IS NULL OR r.priority = ANY (f.priorities)) \
     AND (f.types IS NULL OR s.name = ANY (f.types)) \
     AND (f.start IS NULL \
         OR coalesce(r.first_number, r.number) > greatest(f.start, s.first_through))";

/// The forward `f`. The members of a [`Range`] are the first parameters.
const FORWARD_OF_RANGE: &str = "(SELECT $2 AS start, $3 AS unattributed, $4 AS priorities, \
     $5 AS types) AS f";

/// The values of a [`DueRange`] as columns have them.
pub(super) struct Range<'a> {
    range: &'a DueRange,
    priorities: Option<Vec<i16>>,
}

impl<'a> Range<'a> {
    pub(super) fn new(range: &'a DueRange) -> Self {
        Self { range, priorities: priority_codes(&range.selection) }
    }

    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let DueRange { after, start, selection } = self.range;
        vec![
            (after, Type::INT8),
            (start, Type::INT8),
            (&selection.unattributed, Type::BOOL),
            (&self.priorities, Type::INT2_ARRAY),
            (&selection.types, Type::TEXT_ARRAY),
        ]
    }
}

/// The codes of the priorities that are selected, if not all are.
pub(super) fn priority_codes(selection: &Selection) -> Option<Vec<i16>> {
    let priorities = selection.priorities.as_ref()?;
    Some(priorities.iter().copied().map(priority_code).collect())
}

/// The statement for a page; after the parameters of [`Range`] come the most records and the most
/// bytes. The last record that was looked at is in its result too, selected or not. The bytes are
/// left out of records for which the page has no room.
///
/// It reads the index of numbers in its order: the lateral query cannot be joined in another way.
pub(super) fn page_statement() -> String {
    format!(
        "SELECT id, number, source_name, employee_id, priority, \"timestamp\", reason, first_seen, \
             is_selected, is_last AND place < {MAX_LOOKED_AT} AS is_end, \
             CASE WHEN is_selected AND total - octet_length(bytes) < $7 THEN bytes END \
         FROM ( \
             SELECT looked_at.*, lead(number) OVER in_order IS NULL AS is_last, \
                 row_number() OVER in_order AS place, \
                 sum(octet_length(bytes)) FILTER (WHERE is_selected) OVER in_order AS total \
             FROM ( \
                 SELECT r.*, s.name AS source_name, ({IS_SELECTED}) IS TRUE AS is_selected \
                 FROM records r, {FORWARD_OF_RANGE}, LATERAL ( \
                     SELECT name, first_through FROM sources WHERE id = r.source LIMIT 1) AS s \
                 WHERE r.number > $1 ORDER BY r.number LIMIT {MAX_LOOKED_AT}) AS looked_at \
             WINDOW in_order AS (ORDER BY number ROWS UNBOUNDED PRECEDING)) AS looked_at \
         WHERE is_selected OR is_last ORDER BY number LIMIT $6"
    )
}

/// The statement for the count, with the parameters of [`Range`].
pub(super) fn count_statement() -> String {
    format!(
        "SELECT count(*) FROM records r LEFT JOIN sources s ON s.id = r.source, \
             {FORWARD_OF_RANGE} \
         WHERE r.number > $1 AND {IS_SELECTED}"
    )
}

impl PostgresStore {
    pub(super) async fn read_due(&self, query: &DueQuery) -> Result<DuePage, Failure> {
        let range = Range::new(&query.range);
        let limit = i64::try_from(query.limit.max(1)).unwrap_or(i64::MAX);
        let max_bytes = i64::try_from(query.max_bytes.max(1)).unwrap_or(i64::MAX);
        let mut params = range.params();
        params.extend([(&limit as _, Type::INT8), (&max_bytes as _, Type::INT8)]);
        let connection = self.forwards.connection(READ.server).await?;
        let rows = connection.run(Mode::ReadInOrder, &page_statement(), &params).await?;
        let mut page =
            DuePage { rows: Vec::new(), through: query.range.after, is_end: rows.is_empty() };
        // Each is dropped once it was copied.
        for row in rows {
            if row.try_get(8)? {
                let Some(due) = due_row(&row)? else { break };
                page.rows.push(due);
            }
            (page.through, page.is_end) = (row.try_get(1)?, row.try_get(9)?);
        }
        Ok(page)
    }

    pub(super) async fn read_due_count(&self, range: &DueRange) -> Result<u64, Failure> {
        let range = Range::new(range);
        let connection = self.counts.connection(COUNT.server).await?;
        let rows = connection.run(Mode::Read, &count_statement(), &range.params()).await?;
        let row = rows.first().ok_or(Failure::Unexpected("a statement has no result"))?;
        Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
    }
}

/// A record of a page; `None` if its bytes were left out.
fn due_row(row: &Row) -> Result<Option<HistoryRow>, Failure> {
    let Some(bytes) = row.try_get(10)? else { return Ok(None) };
    let employee = row.try_get::<_, Option<&str>>(3)?.map(column_text);
    let first_seen = row.try_get(7)?;
    Ok(Some(HistoryRow {
        id: row.try_get::<_, Id>(0)?.0,
        number: row.try_get(1)?,
        source: row.try_get(2)?,
        employee_id: employee.map(std::borrow::Cow::into_owned),
        priority: priority(row.try_get(4)?)?,
        timestamp: row.try_get(5)?,
        reason: reason(row.try_get(6)?)?,
        first_seen,
        last_seen: first_seen,
        is_current: false,
        bytes,
    }))
}
