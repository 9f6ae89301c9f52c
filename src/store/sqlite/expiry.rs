//! Deletes what is older than `keep`.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::counters::begin;
use super::fault::Fault;
use super::forwarding;
use super::forwarding_due::{Due, KEY_COLUMNS, Key};
use super::upkeep::{BATCH_RECORDS, delete_records};
use crate::store::{DueRange, ForwardClaim};

/// A forward that is configured and has begun.
struct Claimed<'a> {
    name: &'a str,
    /// What it has yet to send.
    range: DueRange,
    /// What it is sending now: the records up to this number.
    sending_through: i64,
    /// What of it is done, in order.
    done: &'a [i64],
}

/// Deletes one batch of the records that left, and of the dead letters that were refused, before
/// `before`.
pub(super) fn delete_batch(
    connection: &mut Connection,
    before: f64,
    claims: &[ForwardClaim],
) -> Result<u64, Fault> {
    if !is_anything_expired(connection, before, claims)? {
        return Ok(0);
    }
    let (transaction, mut counters) = begin(connection)?;
    let claimed = claimed(&transaction, claims)?;
    let expired = expired(&transaction, before, &claimed, BATCH_RECORDS.into())?;
    for Claimed { name, range, done, .. } in &claimed {
        let due = Due::new(&transaction, range)?;
        let is_unsent = |key: &&Key| due.has(key) && done.binary_search(&key.number).is_err();
        let unsent = expired.iter().filter(is_unsent).count() as u64;
        if unsent > 0 {
            forwarding::count_dead_letters(&transaction, name, unsent)?;
        }
    }
    let records: Vec<i64> = expired.iter().map(|key| key.record).collect();
    delete_records(&transaction, &mut counters, &records)?;
    let sql = "DELETE FROM dead_letters WHERE rowid IN (SELECT rowid FROM dead_letters \
               WHERE refused_at < ? ORDER BY refused_at LIMIT ?)";
    let letters = transaction.prepare_cached(sql)?.execute(params![before, BATCH_RECORDS])?;
    transaction.commit()?;
    Ok((expired.len() + letters) as u64)
}

/// Whether there is something to delete, without the lock for writing.
fn is_anything_expired(
    connection: &mut Connection,
    before: f64,
    claims: &[ForwardClaim],
) -> Result<bool, Fault> {
    let transaction = connection.transaction()?;
    let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE refused_at < ?)";
    if transaction.prepare_cached(sql)?.query_one([before], |row| row.get(0))? {
        return Ok(true);
    }
    let claimed = claimed(&transaction, claims)?;
    Ok(!expired(&transaction, before, &claimed, 1)?.is_empty())
}

fn claimed<'a>(
    connection: &Connection,
    claims: &'a [ForwardClaim],
) -> Result<Vec<Claimed<'a>>, Fault> {
    let mut claimed = Vec::new();
    let sql = "SELECT position, start FROM forwards WHERE name = ?";
    let mut statement = connection.prepare_cached(sql)?;
    for ForwardClaim { name, selection, sending_through, done } in claims {
        let stored = statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?)));
        if let Some((after, start)) = stored.optional()? {
            let range = DueRange { after, start, selection: selection.clone() };
            claimed.push(Claimed { name, range, sending_through: *sending_through, done });
        }
    }
    Ok(claimed)
}

/// At most `limit` records that have expired, and that no forward is sending; the oldest first.
/// Those that are being sent are passed over one by one; they are few.
fn expired(
    connection: &Connection,
    before: f64,
    claimed: &[Claimed<'_>],
    limit: usize,
) -> Result<Vec<Key>, Fault> {
    let sql = format!(
        "SELECT {KEY_COLUMNS} FROM former CROSS JOIN records ON records.record = former.record \
         WHERE last_seen < ? ORDER BY last_seen"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([before])?;
    let mut expired = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Key::of(row)?;
        let is_sent = claimed
            .iter()
            .any(|claim| claim.range.after < key.number && key.number <= claim.sending_through);
        if !is_sent {
            expired.push(key);
            if expired.len() == limit {
                break;
            }
        }
    }
    Ok(expired)
}
