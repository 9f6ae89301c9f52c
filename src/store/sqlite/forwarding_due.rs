//! Finds the records that a forward has yet to send.
//!
//! A record's key is the number that it had first. Most have no other, and are read in the order
//! of their keys; those that have taken a new number are read in the order of an index, which has
//! no others. The two are merged.

use hashbrown::HashMap;
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};

use super::counters::Counters;
use super::fault::Fault;
use super::values;
use crate::config::Selection;
use crate::store::codes::priority_code;
use crate::store::{DuePage, DueQuery, DueRange, HistoryRow};

/// How many records a page looks at.
const MAX_LOOKED_AT: usize = 10_000;

/// What decides on whether a record is due.
pub(super) const KEY_COLUMNS: &str =
    "records.record, records.number, records.source, employee_id, records.priority";

/// The other members of a record.
const ROW_COLUMNS: &str = "id, timestamp, reason, first_seen, bytes";

/// In the order of the numbers that records had first. Those that have another now are among them.
pub(super) const BY_KEY: &str = "WHERE record > ? ORDER BY record";

/// In the order of the numbers of those that have another than first.
pub(super) const BY_NEW_NUMBER: &str = "WHERE number > ? AND number <> record ORDER BY number";

/// From an index that has all of [`KEY_COLUMNS`]. It is read as a whole, and is a small part of the
/// file, where rows have their bytes.
pub(super) const IN_ANY_ORDER: &str = "INDEXED BY records_by_employee WHERE number > ?";

/// About how many entries of that index take no longer to read than a row.
const ENTRIES_PER_ROW: i64 = 4;

/// What decides on whether a record is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) record: i64,
    pub(super) number: i64,
    source: i64,
    has_employee: bool,
    priority: Option<i64>,
}

/// The records that a forward has yet to send.
pub(super) struct Due<'a> {
    range: &'a DueRange,
    /// The selected sources, by id.
    sources: HashMap<i64, Source>,
    priorities: Option<Vec<i64>>,
}

struct Source {
    name: String,
    first_through: Option<i64>,
}

impl Key {
    /// Of a row that begins with [`KEY_COLUMNS`].
    pub(super) fn of(row: &Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            record: row.get(0)?,
            number: row.get(1)?,
            source: row.get(2)?,
            has_employee: row.get_ref(3)? != ValueRef::Null,
            priority: row.get(4)?,
        })
    }
}

impl<'a> Due<'a> {
    pub(super) fn new(connection: &Connection, range: &'a DueRange) -> Result<Self, Fault> {
        let Selection { priorities, types, .. } = &range.selection;
        let sql = "SELECT id, name, first_through FROM sources";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut sources = HashMap::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            if types.as_ref().is_none_or(|types| types.contains(&name)) {
                sources.insert(row.get(0)?, Source { name, first_through: row.get(2)? });
            }
        }
        let code = |priority: &_| i64::from(priority_code(*priority));
        let priorities = priorities.as_ref().map(|them| them.iter().map(code).collect());
        Ok(Self { range, sources, priorities })
    }

    /// Whether the forward has yet to send the record.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.source_of(key).is_some()
    }

    /// The source of a record that is due.
    fn source_of(&self, key: &Key) -> Option<&Source> {
        let DueRange { after, start, selection } = self.range;
        let source = self.sources.get(&key.source)?;
        let is_left_out = start
            .is_some_and(|start| key.record <= start || Some(key.record) <= source.first_through);
        let is_due = key.number > *after
            && !is_left_out
            && (key.has_employee || selection.unattributed)
            && self
                .priorities
                .as_ref()
                .is_none_or(|codes| key.priority.is_some_and(|code| codes.contains(&code)));
        is_due.then_some(source)
    }
}

/// The next records that are due.
pub(super) fn page(connection: &mut Connection, query: &DueQuery) -> Result<DuePage, Fault> {
    let transaction = connection.transaction()?;
    let range = &query.range;
    let due = Due::new(&transaction, range)?;
    let sql = |condition| format!("SELECT {KEY_COLUMNS}, {ROW_COLUMNS} FROM records {condition}");
    let mut by_key = transaction.prepare_cached(&sql(BY_KEY))?;
    let mut by_new_number = transaction.prepare_cached(&sql(BY_NEW_NUMBER))?;
    let mut merged =
        Merged::new(by_key.query([range.after])?, by_new_number.query([range.after])?)?;

    let mut page = DuePage { through: range.after, ..DuePage::default() };
    let (mut bytes, mut looked_at) = (0, 0);
    while let Some((place, side, key)) = merged.next() {
        let has_enough = page.rows.len() >= query.limit || bytes >= query.max_bytes;
        if has_enough && !page.rows.is_empty() || looked_at == MAX_LOOKED_AT {
            return Ok(page);
        }
        looked_at += 1;
        page.through = place;
        if key.number == place
            && let Some(source) = due.source_of(&key)
            && let Some(row) = merged.row(side)
        {
            let row = history_row(row, &key, source)?;
            bytes += row.bytes.len();
            page.rows.push(row);
        }
        merged.advance(side)?;
    }
    page.is_end = true;
    Ok(page)
}

/// How many records are due.
pub(super) fn count(connection: &mut Connection, range: &DueRange) -> Result<u64, Fault> {
    let transaction = connection.transaction()?;
    let due = Due::new(&transaction, range)?;
    let counters = Counters::read(&transaction)?;
    let behind = counters.next_number.saturating_sub(range.after);
    if behind > counters.records / ENTRIES_PER_ROW {
        return count_where(&transaction, IN_ANY_ORDER, &due, |_| true);
    }
    let has_new_number = |key: &Key| key.number != key.record;
    let first = count_where(&transaction, BY_KEY, &due, |key| !has_new_number(key))?;
    Ok(first + count_where(&transaction, BY_NEW_NUMBER, &due, has_new_number)?)
}

/// How many of the records that a range finds are due and are counted.
fn count_where(
    connection: &Connection,
    range: &str,
    due: &Due<'_>,
    is_counted: impl Fn(&Key) -> bool,
) -> Result<u64, Fault> {
    let sql = format!("SELECT {KEY_COLUMNS} FROM records {range}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([due.range.after])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let key = Key::of(row)?;
        count += u64::from(is_counted(&key) && due.has(&key));
    }
    Ok(count)
}

fn history_row(row: &Row<'_>, key: &Key, source: &Source) -> Result<HistoryRow, Fault> {
    let first_seen = row.get(8)?;
    Ok(HistoryRow {
        id: values::stable_id(row, 5)?,
        number: key.number,
        source: source.name.clone(),
        employee_id: values::text(row, 3)?.map(str::to_owned),
        priority: values::priority(row, 4)?,
        timestamp: row.get(6)?,
        reason: values::reason(row, 7)?,
        first_seen,
        last_seen: first_seen,
        is_current: true,
        bytes: values::blob(row, 9)?.to_owned(),
    })
}

/// Rows by their keys and rows by their new numbers, in one order. A row that has a new number is
/// among both; in the place of its key it stands for nothing.
struct Merged<'a> {
    rows: [Rows<'a>; 2],
    /// Those of the next row of each.
    keys: [Option<Key>; 2],
}

impl<'a> Merged<'a> {
    fn new(by_key: Rows<'a>, by_new_number: Rows<'a>) -> Result<Self, Fault> {
        let mut merged = Self { rows: [by_key, by_new_number], keys: [None; 2] };
        merged.advance(0)?;
        merged.advance(1)?;
        Ok(merged)
    }

    /// The place of the next row, among which rows it is, and its key.
    fn next(&self) -> Option<(i64, usize, Key)> {
        match self.keys {
            [Some(first), Some(second)] if second.number < first.record => {
                Some((second.number, 1, second))
            }
            [Some(first), _] => Some((first.record, 0, first)),
            [None, second] => second.map(|second| (second.number, 1, second)),
        }
    }

    fn row(&self, side: usize) -> Option<&Row<'a>> {
        self.rows[side].get()
    }

    fn advance(&mut self, side: usize) -> Result<(), Fault> {
        self.rows[side].advance()?;
        self.keys[side] = self.rows[side].get().map(Key::of).transpose()?;
        Ok(())
    }
}
