//! Splits a filter of the history into ranges of indexes.
//!
//! Each range has the records of an employee or of a source, and is read in the order of the
//! history. Merged, they are the answer: nothing is sorted, and only about as many entries are read
//! as the page has records.

use std::cmp::Ordering;
use std::fmt::Write as _;

use rusqlite::types::Value;

use crate::store::codes::priority_code;
use crate::store::{HistoryFilter, HistoryPosition};

/// Whose records a range has.
pub(super) enum Owner<'a> {
    /// Those of an employee.
    Employee(&'a str),
    /// Those of a source, by its id.
    Source(i64),
}

/// A filter as ranges of indexes, and what is left to check.
pub(super) struct Ranges<'a> {
    filter: &'a HistoryFilter,
    owners: Vec<Owner<'a>>,
    conditions: String,
}

/// Whether a range has records with a time or without.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Times {
    Some,
    None,
}

impl<'a> Ranges<'a> {
    /// Splits a filter. `sources` are the ids of the sources that it names, or of all.
    pub(super) fn new(filter: &'a HistoryFilter, sources: &[i64]) -> Self {
        let mut conditions = String::new();
        if let Some(priorities) = &filter.priorities {
            let codes = priorities.iter().map(|priority| i64::from(priority_code(*priority)));
            push_one_of(&mut conditions, "priority", codes);
        }
        let owners = match &filter.employees {
            Some(employees) => {
                if filter.types.is_some() {
                    push_one_of(&mut conditions, "source", sources.iter().copied());
                }
                let mut employees: Vec<&str> = employees.iter().map(String::as_str).collect();
                employees.sort_unstable();
                employees.dedup();
                employees.into_iter().map(Owner::Employee).collect()
            }
            None => sources.iter().copied().map(Owner::Source).collect(),
        };
        Self { filter, owners, conditions }
    }

    /// Those whose records they have; no two have a record in common.
    pub(super) fn owners(&self) -> &[Owner<'a>] {
        &self.owners
    }

    /// Which times of records the filter leaves: a condition on it holds for no record without one.
    pub(super) fn times(&self) -> &'static [Times] {
        match (self.filter.since, self.filter.until) {
            (None, None) => &[Times::Some, Times::None],
            _ => &[Times::Some],
        }
    }

    /// The statement that reads the range of an owner: the time, the number and the `columns`.
    pub(super) fn sql(&self, owner: &Owner<'_>, times: Times, columns: &str) -> String {
        let (owner, tables) = match (owner, self.filter.current) {
            (Owner::Employee(_), _) => ("employee_id", RECORDS),
            (Owner::Source(_), Some(false)) => ("ordered.source", FORMER),
            (Owner::Source(_), _) => ("ordered.source", RECORDS),
        };
        let (range, order) = match times {
            Times::Some => (
                "ordered.timestamp >= ? AND (ordered.timestamp, ordered.number) < (?, ?)",
                "ordered.timestamp DESC, ordered.number DESC",
            ),
            Times::None => {
                ("ordered.timestamp IS NULL AND ordered.number < ?", "ordered.number DESC")
            }
        };
        let state = match self.filter.current {
            // Not as a condition on one table: it would be read first.
            Some(is_current) if tables == RECORDS => {
                format!(" AND (last_seen IS NULL) = {}", i64::from(is_current))
            }
            _ => String::new(),
        };
        let conditions = &self.conditions;
        format!(
            "SELECT ordered.timestamp, ordered.number, {columns} FROM {tables} \
             WHERE {owner} = ? AND {range}{conditions}{state} ORDER BY {order}"
        )
    }

    /// The parameters of [`Self::sql`], for the records behind `after`.
    pub(super) fn parameters(
        &self,
        owner: &Owner<'_>,
        times: Times,
        after: Option<HistoryPosition>,
    ) -> Vec<Value> {
        let mut parameters = vec![match owner {
            Owner::Employee(id) => Value::from((*id).to_owned()),
            Owner::Source(id) => Value::from(*id),
        }];
        match times {
            Times::None => {
                let number = after.map_or(i64::MAX, |after| after.number);
                parameters.push(Value::from(number));
            }
            Times::Some => {
                // Numbers are positive, so that this bound excludes all records at `until`.
                let until = self.filter.until.map(|until| (until, i64::MIN));
                let after = after.map(|after| (after.timestamp.unwrap_or_default(), after.number));
                let bounds = [until, after].into_iter().flatten();
                let (time, number) = bounds
                    .min_by(|left, right| left.partial_cmp(right).unwrap_or(Ordering::Equal))
                    .unwrap_or((f64::INFINITY, i64::MAX));
                let since = self.filter.since.unwrap_or(f64::NEG_INFINITY);
                parameters.extend([Value::from(since), Value::from(time), Value::from(number)]);
            }
        }
        parameters
    }

    /// The conditions that are not on a range of an index, each behind an `AND`. The table is named
    /// `ordered`.
    pub(super) fn conditions(&self) -> &str {
        &self.conditions
    }
}

/// All records, with when those that are not current were last seen.
const RECORDS: &str = "records AS ordered LEFT JOIN former ON former.record = ordered.record";

/// The records that are not current. A cross join is read from left to right.
const FORMER: &str = "former AS ordered CROSS JOIN records ON records.record = ordered.record";

/// Appends that a column has one of these values.
fn push_one_of(conditions: &mut String, column: &str, values: impl IntoIterator<Item = i64>) {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    let _ = write!(conditions, " AND ordered.{column} IN ({})", values.join(", "));
}
