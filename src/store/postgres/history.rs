//! Pages of the history.
//!
//! Each index of `records` begins with columns that a filter fixes, followed by the order of the
//! history. A filter with several values asks for the first records of each value, which an index
//! has in order, and merges them; so a page reads about `limit` entries a value, wherever it is.

use std::collections::HashMap;

use tokio::sync::SemaphorePermit;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::codes::{Id, column_text, priority, reason, text_column};
use super::fault::Failure;
use super::lane::{Mode, Param};
use super::read::MAX_HEADS;
use super::{HISTORY, PostgresStore};
use crate::store::codes::priority_code;
use crate::store::{
    HistoryFilter, HistoryPage, HistoryPosition, HistoryQuery, HistoryRow, StoreError,
};

/// A record's time, as the indexes have it: before all times if it has none.
const TIME: &str = "coalesce(r.\"timestamp\", '-Infinity'::float8)";

/// A record is current or not.
const CURRENT_VALUES: [bool; 2] = [true, false];

/// The most combinations of listed values whose first records are sorted with their bytes. For
/// more, it is cheaper to sort without them, and to find those of the page again.
const MAX_SORTED_WHOLE: usize = 4;

/// The parameters of a statement, which it names by their position.
#[derive(Default)]
pub(super) struct Params(Vec<(Box<dyn ToSql + Sync + Send>, Type)>);

impl Params {
    /// Adds a value; returns its name.
    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static, of_type: Type) -> String {
        self.0.push((Box::new(value), of_type));
        format!("${}", self.0.len())
    }

    pub(super) fn as_params(&self) -> Vec<Param<'_>> {
        self.0
            .iter()
            .map(|(value, of_type)| {
                let value: &(dyn ToSql + Sync) = value.as_ref();
                (value, of_type.clone())
            })
            .collect()
    }
}

/// A filter as SQL: lists of values, and conditions on a record `r` and these values.
#[derive(Default)]
pub(super) struct Conditions {
    /// Each with how many values it has.
    lists: Vec<(String, usize)>,
    conditions: Vec<String>,
}

impl Conditions {
    /// For a page: each value that is listed fixes the first columns of an index.
    fn of_ordered_rows(filter: &HistoryFilter, params: &mut Params) -> Self {
        let mut sql = Self::default();
        let HistoryFilter { employees, types, priorities, current, .. } = filter;
        if let Some(employees) = employees {
            if let [employee] = employees.as_slice() {
                // Without a list, which would take longer to plan than the records to read.
                let employee = params.bind(text_column(employee).into_owned(), Type::TEXT);
                sql.conditions.push(format!("r.employee_id = {employee}"));
            } else {
                let employees = employee_columns(employees);
                let count = employees.len();
                let employees = params.bind(employees, Type::TEXT_ARRAY);
                sql.lists.push((format!("unnest({employees}) AS e (employee_id)"), count));
                sql.conditions.push("r.employee_id = e.employee_id".to_owned());
            }
            // An employee has few records, in which the rest is searched.
            sql.add_types(types.as_ref(), params);
            sql.add_priorities(priorities.as_ref(), params);
            sql.add_current(*current, params);
        } else {
            let current = current.map_or(CURRENT_VALUES.to_vec(), |current| vec![current]);
            let count = current.len();
            let current = params.bind(current, Type::BOOL_ARRAY);
            sql.lists.push((format!("unnest({current}) AS c (is_current)"), count));
            // As the index of sources has it, and that of all records.
            if let Some(types) = types {
                let names = distinct(types);
                let count = names.len();
                let names = params.bind(names, Type::TEXT_ARRAY);
                let ids = format!("(SELECT id FROM sources WHERE name = ANY({names})) AS s");
                sql.lists.push((ids, count));
                sql.conditions.push("r.source = s.id".to_owned());
                sql.conditions.push("(r.last_seen IS NULL) = c.is_current".to_owned());
            } else {
                sql.conditions.push("(r.last_seen IS NOT NULL) = (NOT c.is_current)".to_owned());
            }
            if let Some(priorities) = priorities {
                let codes: Vec<i16> = distinct(priorities).into_iter().map(priority_code).collect();
                let count = codes.len();
                let codes = params.bind(codes, Type::INT2_ARRAY);
                sql.lists.push((format!("unnest({codes}) AS p (priority)"), count));
                sql.conditions.push("r.priority = p.priority".to_owned());
            }
        }
        sql.add_times(filter, params);
        sql
    }

    /// For counts, which read all rows in any order.
    pub(super) fn of_all_rows(filter: &HistoryFilter, params: &mut Params) -> Self {
        let mut sql = Self::default();
        if let Some(employees) = &filter.employees {
            let employees = params.bind(employee_columns(employees), Type::TEXT_ARRAY);
            sql.conditions.push(format!("r.employee_id = ANY({employees})"));
        }
        sql.add_types(filter.types.as_ref(), params);
        sql.add_priorities(filter.priorities.as_ref(), params);
        sql.add_current(filter.current, params);
        sql.add_times(filter, params);
        sql
    }

    fn add_types(&mut self, types: Option<&Vec<String>>, params: &mut Params) {
        if let Some(types) = types {
            let names = params.bind(distinct(types), Type::TEXT_ARRAY);
            self.conditions.push(format!(
                "r.source = ANY(ARRAY(SELECT id FROM sources WHERE name = ANY({names})))"
            ));
        }
    }

    fn add_priorities(
        &mut self,
        priorities: Option<&Vec<crate::decode::Priority>>,
        params: &mut Params,
    ) {
        if let Some(priorities) = priorities {
            let codes: Vec<i16> = priorities.iter().map(|of| priority_code(*of)).collect();
            let codes = params.bind(codes, Type::INT2_ARRAY);
            self.conditions.push(format!("r.priority = ANY({codes})"));
        }
    }

    fn add_current(&mut self, current: Option<bool>, params: &mut Params) {
        if let Some(current) = current {
            let current = params.bind(current, Type::BOOL);
            self.conditions.push(format!("(r.last_seen IS NULL) = {current}"));
        }
    }

    fn add_times(&mut self, filter: &HistoryFilter, params: &mut Params) {
        if let Some(since) = filter.since {
            let since = params.bind(since, Type::FLOAT8);
            self.conditions.push(format!("{TIME} >= {since}"));
        }
        if let Some(until) = filter.until {
            let until = params.bind(until, Type::FLOAT8);
            self.conditions.push(format!("{TIME} < {until}"));
        }
        if filter.since.is_some() || filter.until.is_some() {
            // No time meets no condition.
            self.conditions.push(format!("{TIME} > '-Infinity'"));
        }
    }

    /// All conditions, with these.
    pub(super) fn all(&self, others: &[&str]) -> String {
        let conditions = self.conditions.iter().map(String::as_str).chain(others.iter().copied());
        conditions.collect::<Vec<_>>().join(" AND ")
    }
}

/// The statement for a page. It finds one record more than its limit if there is one, and leaves
/// the bytes out of those for which the page has no room.
///
/// Each page is planned anew, which for a few records costs more than reading them: therefore it
/// joins no more than it must.
pub(super) fn page_statement(query: &HistoryQuery) -> (String, Params) {
    let mut params = Params::default();
    let mut sql = Conditions::of_ordered_rows(&query.filter, &mut params);
    if let Some(after) = query.after {
        let time = params.bind(after.timestamp.unwrap_or(f64::NEG_INFINITY), Type::FLOAT8);
        let number = params.bind(after.number, Type::INT8);
        sql.conditions.push(format!("({TIME}, r.number) < ({time}, {number})"));
    }
    let rows = i64::try_from(query.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = params.bind(rows, Type::INT8);
    let bytes = i64::try_from(query.max_bytes.max(1)).unwrap_or(i64::MAX);
    let bytes = params.bind(bytes, Type::INT8);
    let conditions = sql.all(&[]);
    let order = format!("ORDER BY {TIME} DESC, r.number DESC");
    let first = format!("FROM records r WHERE {conditions} {order} LIMIT {rows}");
    let combinations = sql.lists.iter().fold(1_usize, |all, (_, of)| all.saturating_mul(*of));
    let lists: Vec<String> = sql.lists.into_iter().map(|(list, _)| list).collect();
    let lists = lists.join(", ");
    let found = if lists.is_empty() {
        format!("records r WHERE {conditions}")
    } else if combinations <= MAX_SORTED_WHOLE {
        format!("{lists}, LATERAL (SELECT r.* {first}) AS r")
    } else {
        format!(
            "(SELECT k.version FROM {lists}, \
                 LATERAL (SELECT {TIME} AS time, r.number, r.version {first}) AS k \
                 ORDER BY k.time DESC, k.number DESC LIMIT {rows}) AS k \
             JOIN records r USING (version)"
        )
    };
    let statement = format!(
        "SELECT r.id, r.number, r.source, r.employee_id, r.priority, r.\"timestamp\", r.reason, \
             r.first_seen, r.last_seen, CASE WHEN coalesce(sum(octet_length(r.bytes)) OVER ( \
                 {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < {bytes} \
             THEN r.bytes END \
         FROM {found} {order} LIMIT {rows}"
    );
    (statement, params)
}

/// The sources' names, and when each last succeeded.
struct Sources(HashMap<i32, (String, Option<f64>)>);

impl Sources {
    fn of(rows: &[Row]) -> Result<Self, Failure> {
        let source = |row: &Row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)));
        Ok(Self(rows.iter().map(source).collect::<Result<_, Failure>>()?))
    }
}

impl PostgresStore {
    pub(super) async fn read_history(&self, query: &HistoryQuery) -> Result<HistoryPage, Failure> {
        const READ_SOURCES: &str = "SELECT id, name, fetched_at FROM sources LIMIT $1";
        let _admitted = self.admit_history()?;
        let (statement, params) = page_statement(query);
        let params = params.as_params();
        let limit: [Param<'_>; 1] = [(&MAX_HEADS, Type::INT8)];
        let connection = self.histories.connection(HISTORY.server).await?;
        let statements = [(READ_SOURCES, limit.as_slice()), (&statement, params.as_slice())];
        let [sources, rows] = connection.run_all(Mode::Read, statements).await?;
        let sources = Sources::of(&sources)?;
        let page = rows.iter().take(query.limit);
        let fitting = page.map_while(|row| history_row(row, &sources).transpose());
        let fitting: Vec<HistoryRow> = fitting.collect::<Result<_, _>>()?;
        let has_more = fitting.len() < rows.len();
        let rows = fitting;
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| HistoryPosition { timestamp: row.timestamp, number: row.number });
        Ok(HistoryPage { rows, next })
    }

    /// Admits a question to the history, unless too many wait.
    pub(super) fn admit_history(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.history_queries.try_acquire().map_err(|_| StoreError::Overloaded)
    }
}

fn employee_columns(employees: &[String]) -> Vec<String> {
    distinct(employees).iter().map(|id| text_column(id).into_owned()).collect()
}

/// Each value once, because it would find its records as often.
fn distinct<T: Clone + Ord>(values: &[T]) -> Vec<T> {
    let mut values = values.to_vec();
    values.sort();
    values.dedup();
    values
}

/// A record of a page; `None` if its bytes were left out.
fn history_row(row: &Row, sources: &Sources) -> Result<Option<HistoryRow>, Failure> {
    const UNKNOWN: Failure = Failure::Unexpected("a stored record has a source that is not known");
    let Some(bytes) = row.try_get(9)? else { return Ok(None) };
    let (source, fetched_at) = sources.0.get(&row.try_get(2)?).ok_or(UNKNOWN)?;
    let employee = row.try_get::<_, Option<&str>>(3)?.map(column_text);
    let first_seen: f64 = row.try_get(7)?;
    let last_seen: Option<f64> = row.try_get(8)?;
    Ok(Some(HistoryRow {
        id: row.try_get::<_, Id>(0)?.0,
        number: row.try_get(1)?,
        source: source.clone(),
        employee_id: employee.map(std::borrow::Cow::into_owned),
        priority: priority(row.try_get(4)?)?,
        timestamp: row.try_get(5)?,
        reason: reason(row.try_get(6)?)?,
        first_seen,
        last_seen: last_seen.or(*fetched_at).unwrap_or(first_seen).max(first_seen),
        is_current: last_seen.is_none(),
        bytes,
    }))
}
