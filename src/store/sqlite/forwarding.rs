//! How far each forward has come, and what its receiver has refused.

use rusqlite::{Connection, params};

use super::counters::begin;
use super::fault::Fault;
use crate::config::ForwardFrom;
use crate::store::{Advance, ForwardReport, StoreError, StoredForward};

/// Begins the positions of those of these forwards that have none.
pub(super) fn begin_forwards(
    connection: &mut Connection,
    forwards: &[(String, ForwardFrom)],
) -> Result<(), Fault> {
    let (transaction, counters) = begin(connection)?;
    let sql = "INSERT INTO forwards (name, position, start) VALUES (?, ?, ?) \
               ON CONFLICT (name) DO NOTHING";
    let taken = counters.next_number - 1;
    let mut begun = 0;
    for (name, from) in forwards {
        let start = match from {
            ForwardFrom::Now => Some(taken),
            ForwardFrom::Beginning => None,
        };
        let position = start.unwrap_or_default();
        begun += transaction.prepare_cached(sql)?.execute(params![name, position, start])?;
    }
    if begun > 0 {
        transaction.commit()?;
    }
    Ok(())
}

/// What is stored of all forwards, by name.
pub(super) fn forwards(connection: &Connection) -> Result<Vec<StoredForward>, Fault> {
    let sql = "SELECT name, position, start, sent, dead_letters, is_retrying, last_error \
               FROM forwards ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let forwards = statement.query_map([], |row| {
        let count = |column| row.get(column).map(|count: i64| count.unsigned_abs());
        Ok(StoredForward {
            name: row.get(0)?,
            position: row.get(1)?,
            start: row.get(2)?,
            sent: count(3)?,
            dead_letters: count(4)?,
            report: ForwardReport { is_retrying: row.get(5)?, last_error: row.get(6)? },
        })
    })?;
    Ok(forwards.collect::<Result<_, _>>()?)
}

/// Moves the position of a forward. `now` is the store's clock.
pub(super) fn advance(
    connection: &mut Connection,
    now: f64,
    advance: &Advance,
) -> Result<(), Fault> {
    let (transaction, _) = begin(connection)?;
    let sql = "UPDATE forwards SET position = ?3, sent = sent + ?4, \
               dead_letters = dead_letters + ?5, is_retrying = ?6, last_error = ?7 \
               WHERE name = ?1 AND position = ?2";
    let moved = transaction.prepare_cached(sql)?.execute(params![
        advance.name,
        advance.from,
        advance.to,
        column(advance.sent),
        column(advance.dead_letters.len() as u64),
        advance.report.is_retrying,
        advance.report.last_error,
    ])?;
    if moved == 0 {
        return Err(StoreError::Outdated.into());
    }
    // A record that was forgotten while it was being sent leaves nothing.
    let sql = "INSERT INTO dead_letters \
               (forward, number, id, source, employee_id, status, answer, refused_at) \
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 \
               WHERE EXISTS (SELECT 1 FROM records WHERE id = ?3)";
    for letter in &advance.dead_letters {
        transaction.prepare_cached(sql)?.execute(params![
            advance.name,
            letter.number,
            letter.id.0,
            letter.source,
            letter.employee_id,
            letter.status,
            letter.answer,
            now,
        ])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Adds to the dead letters of a forward.
pub(super) fn count_dead_letters(
    connection: &Connection,
    forward: &str,
    count: u64,
) -> Result<(), Fault> {
    let sql = "UPDATE forwards SET dead_letters = dead_letters + ? WHERE name = ?";
    connection.prepare_cached(sql)?.execute(params![column(count), forward])?;
    Ok(())
}

fn column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
