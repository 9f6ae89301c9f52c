//! Counts the records of the history.
//!
//! All that is counted stands in the index of the employees, in the order of the employees, so that
//! one pass over it is enough and memory does not grow with the history.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::fault::Fault;
use super::history::{Source, sources};
use super::ranges::{Owner, Ranges};
use super::record_set::RecordSet;
use super::values;
use crate::join::OrderKey;
use crate::store::{
    HistoryFilter, HistorySummary, MAX_TOP_EMPLOYEES, SummaryCell, SummaryEmployee,
};

/// How many employees are kept before they are reduced to [`MAX_TOP_EMPLOYEES`].
const MAX_CANDIDATES: usize = 32 * MAX_TOP_EMPLOYEES;

/// Counts of the records that meet the filter and have an employee.
pub(super) fn summary(
    connection: &mut Connection,
    filter: &HistoryFilter,
) -> Result<HistorySummary, Fault> {
    let transaction = connection.transaction()?;
    let sources = sources(&transaction, filter)?;
    let ids: Vec<i64> = sources.iter().map(|source| source.id).collect();
    let mut counts = Counts { former: former(&transaction, filter)?, ..Counts::default() };
    match &filter.employees {
        Some(_) => {
            let ranges = Ranges::new(filter, &ids);
            for owner in ranges.owners() {
                let Owner::Employee(id) = owner else { continue };
                let conditions = ranges.conditions();
                counts.add(&transaction, filter, "employee_id = ?", Some(id), conditions)?;
            }
        }
        None => {
            // Conditions as for a list of employees, which this one has not.
            let no_employees = HistoryFilter { employees: Some(Vec::new()), ..filter.clone() };
            let ranges = Ranges::new(&no_employees, &ids);
            let conditions = ranges.conditions();
            counts.add(&transaction, filter, "employee_id IS NOT NULL", None, conditions)?;
        }
    }
    let unattributed: i64 = transaction
        .prepare_cached("SELECT count(*) FROM records WHERE employee_id IS NULL")?
        .query_one([], |row| row.get(0))?;
    Ok(counts.finish(&sources, u64::try_from(unattributed).unwrap_or_default()))
}

/// The counts of the rows that were read.
#[derive(Default)]
struct Counts {
    /// Those that are not current, if that matters.
    former: RecordSet,
    /// By source and priority.
    cells: BTreeMap<(i64, usize), Tally>,
    employees: u64,
    present: Option<SummaryEmployee>,
    top: Vec<SummaryEmployee>,
}

/// The records that are not current, if the filter asks for the state: looking each of them up in
/// the order of the employees would read a page of the file for each.
fn former(connection: &Connection, filter: &HistoryFilter) -> Result<RecordSet, Fault> {
    let mut former = RecordSet::default();
    if filter.current.is_some() {
        let mut statement = connection.prepare_cached("SELECT record FROM former")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            former.insert(row.get(0)?);
        }
    }
    Ok(former)
}

struct Tally {
    count: u64,
    earliest: f64,
    latest: f64,
}

impl Counts {
    fn add(
        &mut self,
        connection: &Connection,
        filter: &HistoryFilter,
        employees: &str,
        employee_id: Option<&str>,
        conditions: &str,
    ) -> Result<(), Fault> {
        let sql = format!(
            "SELECT employee_id, timestamp, source, priority, record FROM records AS ordered \
             INDEXED BY records_by_employee \
             WHERE {employees} AND timestamp >= ? AND timestamp < ?{conditions} \
             ORDER BY employee_id"
        );
        // Infinite times are no times of records.
        let since = filter.since.unwrap_or(f64::NEG_INFINITY);
        let until = filter.until.unwrap_or(f64::INFINITY);
        let bounds = [Value::from(since), Value::from(until)];
        let employee_id = employee_id.map(|id| Value::from(id.to_owned()));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(employee_id.into_iter().chain(bounds)))?;
        while let Some(row) = rows.next()? {
            let is_former = || row.get(4).map(|record| self.former.contains(record));
            if filter.current.is_none() || filter.current == Some(!is_former()?) {
                self.count(row)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let (Some(employee_id), Some(priority)) =
            (values::text(row, 0)?, values::priority(row, 3)?)
        else {
            return Ok(());
        };
        let timestamp: f64 = row.get(1)?;
        let cell = self.cells.entry((row.get(2)?, priority as usize)).or_insert(Tally {
            count: 0,
            earliest: timestamp,
            latest: timestamp,
        });
        cell.count += 1;
        cell.earliest = cell.earliest.min(timestamp);
        cell.latest = cell.latest.max(timestamp);

        if self.present.as_ref().is_none_or(|present| present.employee_id != employee_id) {
            self.end_employee();
            self.present = Some(SummaryEmployee {
                employee_id: employee_id.to_owned(),
                priorities: [0; 4],
                latest: timestamp,
            });
        }
        if let Some(present) = &mut self.present {
            present.priorities[priority as usize] += 1;
            present.latest = present.latest.max(timestamp);
        }
        Ok(())
    }

    fn end_employee(&mut self) {
        let Some(employee) = self.present.take() else { return };
        self.employees += 1;
        self.top.push(employee);
        if self.top.len() == MAX_CANDIDATES {
            self.keep_top();
        }
    }

    /// Keeps the employees with most records; of equals the first in the order of the document.
    fn keep_top(&mut self) {
        let rank = |employee: &SummaryEmployee| {
            Reverse((employee.priorities.iter().sum::<u64>(), employee.priorities[3]))
        };
        self.top.sort_by(|left, right| {
            rank(left).cmp(&rank(right)).then_with(|| {
                OrderKey::new(&left.employee_id).cmp(&OrderKey::new(&right.employee_id))
            })
        });
        self.top.truncate(MAX_TOP_EMPLOYEES);
    }

    fn finish(mut self, sources: &[Source], unattributed: u64) -> HistorySummary {
        self.end_employee();
        self.keep_top();
        let mut cells = Vec::with_capacity(self.cells.len());
        for source in sources {
            for ((_, priority), tally) in self.cells.range((source.id, 0)..=(source.id, 3)) {
                cells.push(SummaryCell {
                    source: source.name.clone(),
                    priority: crate::decode::Priority::ALL[*priority],
                    count: tally.count,
                    earliest: tally.earliest,
                    latest: tally.latest,
                });
            }
        }
        let Self { employees, top: top_employees, .. } = self;
        HistorySummary { cells, unattributed, employees, top_employees }
    }
}
