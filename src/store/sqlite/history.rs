//! Answers questions to the history.

use std::cmp::Ordering;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::{CachedStatement, Connection, Row, Rows, params_from_iter};

use super::fault::Fault;
use super::ranges::{Owner, Ranges, Times};
use super::values;
use crate::store::{HistoryFilter, HistoryPage, HistoryPosition, HistoryQuery, HistoryRow};

/// The most ranges that are read at a time.
const MAX_OPEN_RANGES: usize = 256;

/// What a range is read of, behind the position.
pub(super) const COLUMNS: &str = "id, ordered.source, employee_id, ordered.priority, reason, \
                                  first_seen, last_seen, bytes";

/// A source by its id.
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) name: String,
    fetched_at: f64,
    /// Whether it is configured. No record of another is current.
    is_configured: bool,
}

/// The sources that the filter names, in the order of their names.
pub(super) fn sources(
    connection: &Connection,
    filter: &HistoryFilter,
) -> Result<Vec<Source>, Fault> {
    let sql = "SELECT id, name, fetched_at, fingerprint IS NOT NULL FROM sources ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        if filter.types.as_ref().is_none_or(|types| types.contains(&name)) {
            let (id, fetched_at, is_configured) = (row.get(0)?, row.get(2)?, row.get(3)?);
            sources.push(Source { id, name, fetched_at, is_configured });
        }
    }
    Ok(sources)
}

/// The ids of those of these sources of which records may meet the filter. Where only current ones
/// do, all records of a source that was removed would be passed over one by one.
pub(super) fn searched(sources: &[Source], filter: &HistoryFilter) -> Vec<i64> {
    let is_searched = |source: &&Source| filter.current != Some(true) || source.is_configured;
    sources.iter().filter(is_searched).map(|source| source.id).collect()
}

/// One page of the history.
pub(super) fn page(
    connection: &mut Connection,
    query: &HistoryQuery,
) -> Result<HistoryPage, Fault> {
    let transaction = connection.transaction()?;
    let sources = sources(&transaction, &query.filter)?;
    let ranges = Ranges::new(&query.filter, &searched(&sources, &query.filter));
    let reader = Reader { connection: &transaction, query, sources: &sources, ranges: &ranges };
    let mut found = Found::default();
    for times in ranges.times() {
        let after = match (times, query.after) {
            (Times::Some, Some(HistoryPosition { timestamp: None, .. })) => continue,
            (Times::None, Some(HistoryPosition { timestamp: Some(_), .. })) => None,
            (_, after) => after,
        };
        if !found.is_more {
            reader.append(*times, after, &mut found)?;
        }
    }
    let next = found.rows.last().filter(|_| found.is_more).map(position);
    Ok(HistoryPage { rows: found.rows, next })
}

/// The records of a page that were found so far.
#[derive(Default)]
struct Found {
    rows: Vec<HistoryRow>,
    bytes: usize,
    /// Whether the page is full and more records follow.
    is_more: bool,
}

impl Found {
    /// Adds the next record, or notes that it is one too many.
    fn push(
        &mut self,
        query: &HistoryQuery,
        row: impl FnOnce() -> Result<HistoryRow, Fault>,
    ) -> Result<(), Fault> {
        let is_full = self.rows.len() >= query.limit
            || self.bytes >= query.max_bytes && !self.rows.is_empty();
        if is_full {
            self.is_more = true;
            return Ok(());
        }
        let row = row()?;
        self.bytes += row.bytes.len();
        self.rows.push(row);
        Ok(())
    }

    fn extend(&mut self, query: &HistoryQuery, rows: Vec<HistoryRow>) -> Result<(), Fault> {
        rows.into_iter().try_for_each(|row| self.push(query, || Ok(row)))
    }
}

/// Reads the records of a page.
struct Reader<'a> {
    connection: &'a Connection,
    query: &'a HistoryQuery,
    sources: &'a [Source],
    ranges: &'a Ranges<'a>,
}

impl Reader<'_> {
    /// Appends the records behind `after`.
    fn append(
        &self,
        times: Times,
        after: Option<HistoryPosition>,
        found: &mut Found,
    ) -> Result<(), Fault> {
        let owners = self.ranges.owners();
        if owners.len() <= MAX_OPEN_RANGES {
            return self.merge(times, owners, after, found);
        }
        // A record that is behind the page of some of the ranges is behind the page of all.
        let mut page = Found::default();
        for owners in owners.chunks(MAX_OPEN_RANGES) {
            let mut part = Found::default();
            self.merge(times, owners, after, &mut part)?;
            let mut rows = std::mem::take(&mut page.rows);
            rows.append(&mut part.rows);
            rows.sort_by(|left, right| compare(&position(right), &position(left)));
            page = Found { is_more: page.is_more || part.is_more, ..Found::default() };
            page.extend(self.query, rows)?;
        }
        found.extend(self.query, page.rows)?;
        found.is_more |= page.is_more;
        Ok(())
    }

    /// Merges ranges. A row is read in full only once it is the next one.
    fn merge(
        &self,
        times: Times,
        owners: &[Owner<'_>],
        after: Option<HistoryPosition>,
        found: &mut Found,
    ) -> Result<(), Fault> {
        let mut statements = owners
            .iter()
            .map(|owner| self.connection.prepare_cached(&self.ranges.sql(owner, times, COLUMNS)))
            .collect::<Result<Vec<CachedStatement<'_>>, _>>()?;
        let mut ranges = Vec::with_capacity(owners.len());
        let mut heads = Vec::with_capacity(owners.len());
        for (statement, owner) in statements.iter_mut().zip(owners) {
            let parameters = self.ranges.parameters(owner, times, after);
            let mut rows = statement.query(params_from_iter(parameters))?;
            heads.push(next(&mut rows)?);
            ranges.push(rows);
        }
        let order =
            |left: &Option<HistoryPosition>, right: &Option<HistoryPosition>| match (left, right) {
                (Some(left), Some(right)) => compare(left, right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            };
        while !found.is_more
            && let Some(range) = (0..heads.len()).max_by(|a, b| order(&heads[*a], &heads[*b]))
            && let Some(position) = heads[range]
        {
            let rows = &mut ranges[range];
            found.push(self.query, || {
                let row = rows.get().ok_or_else(|| Fault::unreadable("a record"))?;
                history_row(row, position, self.sources)
            })?;
            heads[range] = next(rows)?;
        }
        Ok(())
    }
}

/// Moves to the next record of a range.
fn next(rows: &mut Rows<'_>) -> Result<Option<HistoryPosition>, Fault> {
    let position = |row: &Row<'_>| -> Result<HistoryPosition, Fault> {
        Ok(HistoryPosition { timestamp: row.get(0)?, number: row.get(1)? })
    };
    rows.next()?.map(position).transpose()
}

fn position(row: &HistoryRow) -> HistoryPosition {
    HistoryPosition { timestamp: row.timestamp, number: row.number }
}

/// Compares times, of which none is the lowest, then numbers.
fn compare(left: &HistoryPosition, right: &HistoryPosition) -> Ordering {
    let times = left.timestamp.partial_cmp(&right.timestamp).unwrap_or(Ordering::Equal);
    times.then(left.number.cmp(&right.number))
}

fn history_row(
    row: &Row<'_>,
    position: HistoryPosition,
    sources: &[Source],
) -> Result<HistoryRow, Fault> {
    let source: i64 = row.get(3)?;
    let source = sources
        .iter()
        .find(|known| known.id == source)
        .ok_or_else(|| Fault::unreadable("the source of a record"))?;
    let first_seen: f64 = row.get(7)?;
    let left: Option<f64> = row.get(8)?;
    Ok(HistoryRow {
        id: values::stable_id(row, 2)?,
        number: position.number,
        source: source.name.clone(),
        employee_id: values::text(row, 4)?.map(str::to_owned),
        priority: values::priority(row, 5)?,
        timestamp: position.timestamp,
        reason: values::reason(row, 6)?,
        first_seen,
        last_seen: left.unwrap_or_else(|| source.fetched_at.max(first_seen)),
        is_current: left.is_none(),
        bytes: values::blob(row, 9)?.to_owned(),
    })
}
