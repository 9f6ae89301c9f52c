//! Finds the records of a page: their positions in the order of the history, and their keys.
//!
//! A filter is split into parts, each of which reads one range of one index in the order of the
//! history: an employee, or the current or the former records of a source. The ranges are merged,
//! so that nothing is sorted, and only about as many entries are read as the page has records.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row, Rows, params_from_iter};

use super::fault::Fault;
use crate::store::codes::priority_code;
use crate::store::{HistoryFilter, HistoryPosition};

/// The most ranges that are read at a time.
const MAX_OPEN_RANGES: usize = 256;

/// A record of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) position: HistoryPosition,
    pub(super) record: i64,
}

/// A part of the records, whose entries in an index are in the order of the history.
pub(super) enum Part<'a> {
    /// The records of an employee.
    Employee(&'a str),
    /// The current or the former records of a source.
    Source { id: i64, is_current: bool },
}

/// A filter as ranges of indexes, and what is left to check.
pub(super) struct Parts<'a> {
    list: Vec<Part<'a>>,
    conditions: String,
    since: Option<f64>,
    until: Option<f64>,
}

/// Whether a range has records with a time or without.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Times {
    Some,
    None,
}

impl<'a> Parts<'a> {
    /// Splits a filter. `sources` are the ids of the sources that it names, or of all.
    pub(super) fn new(filter: &'a HistoryFilter, sources: &[i64]) -> Self {
        let mut conditions = String::new();
        if let Some(priorities) = &filter.priorities {
            let codes = priorities.iter().map(|priority| i64::from(priority_code(*priority)));
            push_one_of(&mut conditions, "priority", codes);
        }
        let parts = match &filter.employees {
            Some(employees) => {
                if filter.types.is_some() {
                    push_one_of(&mut conditions, "source", sources.iter().copied());
                }
                if let Some(is_current) = filter.current {
                    push_one_of(&mut conditions, "is_current", [i64::from(is_current)]);
                }
                let mut employees: Vec<&str> = employees.iter().map(String::as_str).collect();
                employees.sort_unstable();
                employees.dedup();
                employees.into_iter().map(Part::Employee).collect()
            }
            None => {
                let states = [true, false].into_iter();
                let states = states.filter(|state| filter.current.is_none_or(|it| it == *state));
                let parts = states.flat_map(|is_current| {
                    sources.iter().map(move |id| Part::Source { id: *id, is_current })
                });
                parts.collect()
            }
        };
        Self { list: parts, conditions, since: filter.since, until: filter.until }
    }

    /// The first `limit` records behind `after`.
    pub(super) fn keys(
        &self,
        connection: &Connection,
        after: Option<HistoryPosition>,
        limit: usize,
    ) -> Result<Vec<Key>, Fault> {
        let mut keys = Vec::new();
        if after.is_none_or(|after| after.timestamp.is_some()) {
            self.append(connection, Times::Some, after, limit, &mut keys)?;
        }
        // A condition on the time holds for no record without one.
        if self.since.is_none() && self.until.is_none() && keys.len() < limit {
            let after = after.filter(|after| after.timestamp.is_none());
            self.append(connection, Times::None, after, limit - keys.len(), &mut keys)?;
        }
        Ok(keys)
    }

    fn append(
        &self,
        connection: &Connection,
        times: Times,
        after: Option<HistoryPosition>,
        limit: usize,
        keys: &mut Vec<Key>,
    ) -> Result<(), Fault> {
        let mut found: Vec<Key> = Vec::new();
        for parts in self.list.chunks(MAX_OPEN_RANGES) {
            found.extend(self.merge(connection, times, parts, after, limit)?);
            if self.list.len() > MAX_OPEN_RANGES {
                found.sort_by(|left, right| compare(&right.position, &left.position));
                found.truncate(limit);
            }
        }
        keys.extend(found);
        Ok(())
    }

    fn merge(
        &self,
        connection: &Connection,
        times: Times,
        parts: &[Part<'_>],
        after: Option<HistoryPosition>,
        limit: usize,
    ) -> Result<Vec<Key>, Fault> {
        let mut statements = parts
            .iter()
            .map(|part| connection.prepare_cached(&self.sql(part, times)))
            .collect::<Result<Vec<CachedStatement<'_>>, _>>()?;
        let mut ranges = Vec::with_capacity(parts.len());
        for (statement, part) in statements.iter_mut().zip(parts) {
            let parameters = self.parameters(part, times, after);
            ranges.push(statement.query(params_from_iter(parameters))?);
        }
        let mut heads = BinaryHeap::with_capacity(ranges.len());
        for (range, rows) in ranges.iter_mut().enumerate() {
            heads.extend(next(rows)?.map(|key| Head { key, range }));
        }
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(Head { key, range }) = heads.pop()
        {
            keys.push(key);
            heads.extend(next(&mut ranges[range])?.map(|key| Head { key, range }));
        }
        Ok(keys)
    }

    /// The statement that reads a part.
    pub(super) fn sql(&self, part: &Part<'_>, times: Times) -> String {
        let part = match part {
            Part::Employee(_) => "employee_id = ?",
            Part::Source { .. } => "source = ? AND is_current = ?",
        };
        let (range, order) = match times {
            Times::Some => {
                ("timestamp >= ? AND (timestamp, number) < (?, ?)", "timestamp DESC, number DESC")
            }
            Times::None => ("timestamp IS NULL AND number < ?", "number DESC"),
        };
        let conditions = &self.conditions;
        format!(
            "SELECT timestamp, number, record FROM records \
             WHERE {part} AND {range}{conditions} ORDER BY {order}"
        )
    }

    fn parameters(
        &self,
        part: &Part<'_>,
        times: Times,
        after: Option<HistoryPosition>,
    ) -> Vec<Value> {
        let mut parameters = match part {
            Part::Employee(id) => vec![Value::from((*id).to_owned())],
            Part::Source { id, is_current } => vec![Value::from(*id), Value::from(*is_current)],
        };
        match times {
            Times::None => {
                let number = after.map_or(i64::MAX, |after| after.number);
                parameters.push(Value::from(number));
            }
            Times::Some => {
                // Numbers are positive, so that this bound excludes all records at `until`.
                let until = self.until.map(|until| (until, i64::MIN));
                let after = after.map(|after| (after.timestamp.unwrap_or_default(), after.number));
                let bounds = [until, after].into_iter().flatten();
                let (time, number) = bounds
                    .min_by(|left, right| left.partial_cmp(right).unwrap_or(Ordering::Equal))
                    .unwrap_or((f64::INFINITY, i64::MAX));
                let since = self.since.unwrap_or(f64::NEG_INFINITY);
                parameters.extend([Value::from(since), Value::from(time), Value::from(number)]);
            }
        }
        parameters
    }

    /// The parts, which have no record in common.
    pub(super) fn parts(&self) -> &[Part<'a>] {
        &self.list
    }

    /// The conditions that are not on the range of an index, each behind an `AND`.
    pub(super) fn conditions(&self) -> &str {
        &self.conditions
    }
}

/// Appends that a column has one of these values.
fn push_one_of(conditions: &mut String, column: &str, values: impl IntoIterator<Item = i64>) {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    let _ = write!(conditions, " AND {column} IN ({})", values.join(", "));
}

fn next(rows: &mut Rows<'_>) -> Result<Option<Key>, Fault> {
    let key = |row: &Row<'_>| -> Result<Key, Fault> {
        let position = HistoryPosition { timestamp: row.get(0)?, number: row.get(1)? };
        Ok(Key { position, record: row.get(2)? })
    };
    rows.next()?.map(key).transpose()
}

/// Compares times, of which none is the lowest, then numbers.
fn compare(left: &HistoryPosition, right: &HistoryPosition) -> Ordering {
    let times = left.timestamp.partial_cmp(&right.timestamp).unwrap_or(Ordering::Equal);
    times.then(left.number.cmp(&right.number))
}

/// The next record of a range.
struct Head {
    key: Key,
    range: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.key.position, &other.key.position)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
