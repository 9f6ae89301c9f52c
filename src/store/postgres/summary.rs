//! Counts of the history.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::codes::{column_text, priority};
use super::fault::Failure;
use super::history::{Conditions, Params};
use super::lane::{Mode, Param};
use super::{HISTORY, PostgresStore};
use crate::store::{HistoryFilter, HistorySummary, SummaryCell, SummaryEmployee};

/// As many as `/summary` lists.
const MAX_TOP_EMPLOYEES: i64 = 20;

/// The order of the document, as [`OrderKey`](crate::join::OrderKey) has it: numeric ids by value,
/// then the others.
const DOCUMENT_ORDER: &str =
    "CASE WHEN employee_id ~ '^-?[0-9]+$' THEN employee_id::numeric END, employee_id";

/// Records that `/summary` counts.
const COUNTED: &str = "r.employee_id IS NOT NULL AND r.priority IS NOT NULL \
     AND r.\"timestamp\" IS NOT NULL";

impl PostgresStore {
    pub(super) async fn read_summary(
        &self,
        filter: &HistoryFilter,
    ) -> Result<HistorySummary, Failure> {
        let _admitted = self.admit_history()?;
        let mut params = Params::default();
        let conditions = Conditions::of_all_rows(filter, &mut params).all(&[COUNTED]);
        let cells = format!(
            "SELECT s.name, r.priority, count(*), min(r.\"timestamp\"), max(r.\"timestamp\") \
             FROM records r JOIN sources s ON s.id = r.source WHERE {conditions} \
             GROUP BY s.name, r.priority ORDER BY s.name, r.priority"
        );
        // Numbered after those of the filter.
        let mut top_params = params.as_params();
        top_params.push((&MAX_TOP_EMPLOYEES, Type::INT8));
        let top = format!(
            "SELECT employee_id, low, medium, high, critical, latest, count(*) OVER () FROM ( \
                 SELECT r.employee_id, max(r.\"timestamp\") AS latest, count(*) AS records, \
                     count(*) FILTER (WHERE r.priority = 0) AS low, \
                     count(*) FILTER (WHERE r.priority = 1) AS medium, \
                     count(*) FILTER (WHERE r.priority = 2) AS high, \
                     count(*) FILTER (WHERE r.priority = 3) AS critical \
                 FROM records r WHERE {conditions} GROUP BY r.employee_id) employees \
             ORDER BY records DESC, critical DESC, {DOCUMENT_ORDER} LIMIT ${}",
            top_params.len()
        );
        let unattributed = "SELECT count(*) FROM records WHERE employee_id IS NULL";
        let cell_params: Vec<Param<'_>> = params.as_params();
        let connection = self.histories.connection(HISTORY.server).await?;
        let statements = [
            (cells.as_str(), cell_params.as_slice()),
            (top.as_str(), top_params.as_slice()),
            (unattributed, [].as_slice()),
        ];
        let [cells, top, unattributed] = connection.run_all(Mode::Read, statements).await?;
        let employees = top.first().map_or(Ok(0), |row| row.try_get::<_, i64>(6))?;
        let unattributed = unattributed.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
        Ok(HistorySummary {
            cells: cells.iter().map(cell).collect::<Result<_, _>>()?,
            unattributed: unattributed.unsigned_abs(),
            employees: employees.unsigned_abs(),
            top_employees: top.iter().map(employee).collect::<Result<_, _>>()?,
        })
    }
}

fn cell(row: &Row) -> Result<SummaryCell, Failure> {
    Ok(SummaryCell {
        source: row.try_get(0)?,
        priority: priority(row.try_get(1)?)?
            .ok_or(Failure::Unexpected("a record that is counted has no priority"))?,
        count: row.try_get::<_, i64>(2)?.unsigned_abs(),
        earliest: row.try_get(3)?,
        latest: row.try_get(4)?,
    })
}

fn employee(row: &Row) -> Result<SummaryEmployee, Failure> {
    let mut priorities = [0; 4];
    for (column, count) in (1..).zip(&mut priorities) {
        *count = row.try_get::<_, i64>(column)?.unsigned_abs();
    }
    Ok(SummaryEmployee {
        employee_id: column_text(row.try_get(0)?).into_owned(),
        priorities,
        latest: row.try_get(5)?,
    })
}
