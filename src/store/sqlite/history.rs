//! Answers questions to the history.

use rusqlite::Connection;

use super::fault::Fault;
use super::keys::{Key, Parts};
use super::values;
use crate::store::{HistoryFilter, HistoryPage, HistoryQuery, HistoryRow};

/// A source by its id.
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) name: String,
    fetched_at: f64,
}

/// The sources that the filter names, in the order of their names.
pub(super) fn sources(
    connection: &Connection,
    filter: &HistoryFilter,
) -> Result<Vec<Source>, Fault> {
    let sql = "SELECT id, name, fetched_at FROM sources ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        if filter.types.as_ref().is_none_or(|types| types.contains(&name)) {
            sources.push(Source { id: row.get(0)?, name, fetched_at: row.get(2)? });
        }
    }
    Ok(sources)
}

/// One page of the history.
pub(super) fn page(
    connection: &mut Connection,
    query: &HistoryQuery,
) -> Result<HistoryPage, Fault> {
    let transaction = connection.transaction()?;
    let sources = sources(&transaction, &query.filter)?;
    let ids: Vec<i64> = sources.iter().map(|source| source.id).collect();
    let parts = Parts::new(&query.filter, &ids);
    let keys = parts.keys(&transaction, query.after, query.limit.saturating_add(1))?;

    let sql = "SELECT id, source, employee_id, priority, reason, first_seen, last_seen, bytes \
               FROM records WHERE record = ?";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut page = HistoryPage::default();
    let mut bytes = 0;
    for key in keys.iter().take(query.limit) {
        let mut rows = statement.query([key.record])?;
        let row = rows.next()?.ok_or_else(|| Fault::unreadable("a record"))?;
        let row = history_row(row, key, &sources)?;
        bytes += row.bytes.len();
        page.rows.push(row);
        if bytes >= query.max_bytes {
            break;
        }
    }
    if page.rows.len() < keys.len() {
        page.next = page.rows.len().checked_sub(1).map(|last| keys[last].position);
    }
    Ok(page)
}

fn history_row(
    row: &rusqlite::Row<'_>,
    key: &Key,
    sources: &[Source],
) -> Result<HistoryRow, Fault> {
    let source: i64 = row.get(1)?;
    let source = sources
        .iter()
        .find(|known| known.id == source)
        .ok_or_else(|| Fault::unreadable("the source of a record"))?;
    let first_seen: f64 = row.get(5)?;
    let left: Option<f64> = row.get(6)?;
    Ok(HistoryRow {
        id: values::stable_id(row, 0)?,
        number: key.position.number,
        source: source.name.clone(),
        employee_id: values::text(row, 2)?.map(str::to_owned),
        priority: values::priority(row, 3)?,
        timestamp: key.position.timestamp,
        reason: values::reason(row, 4)?,
        first_seen,
        last_seen: left.unwrap_or_else(|| source.fetched_at.max(first_seen)),
        is_current: left.is_none(),
        bytes: values::blob(row, 7)?.to_owned(),
    })
}
