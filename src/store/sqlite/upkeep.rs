//! Writes that no refresh has caused.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::counters::{Counters, begin};
use super::fault::Fault;
use crate::store::StoreError;

/// How many records one transaction deletes: few enough that other writes hardly wait.
pub(super) const BATCH_RECORDS: u16 = 1_000;

/// How long `forget` waits for readers, so that the write-ahead log can be emptied.
const CHECKPOINT_BOUND: Duration = Duration::from_secs(10);
const CHECKPOINT_RETRY: Duration = Duration::from_millis(20);

/// Takes a number above `at_least` and above all that were taken.
pub(super) fn take_generation(connection: &mut Connection, at_least: u64) -> Result<u64, Fault> {
    let (transaction, mut counters) = begin(connection)?;
    let at_least = i64::try_from(at_least).unwrap_or(i64::MAX);
    let generation = counters.generation.max(at_least).checked_add(1).ok_or_else(|| {
        StoreError::Unavailable("the generations of events are used up".to_owned())
    })?;
    counters.generation = generation;
    counters.write(&transaction)?;
    transaction.commit()?;
    Ok(generation.cast_unsigned())
}

/// Makes the records of all sources but these no longer current, and drops the rest of what is
/// stored of them. Their names stay, for their records.
pub(super) fn retain_sources(connection: &mut Connection, names: &[String]) -> Result<(), Fault> {
    let (transaction, _) = begin(connection)?;
    let stored: Vec<(i64, String, f64)> = transaction
        .prepare_cached("SELECT id, name, fetched_at FROM sources WHERE fingerprint IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut has_changed = false;
    for (source, name, last_success) in stored {
        if names.contains(&name) {
            continue;
        }
        has_changed = true;
        transaction.execute(
            "INSERT INTO former \
             SELECT record, max(first_seen, ?2), source, timestamp, number, priority \
             FROM records WHERE source = ?1 \
             AND NOT EXISTS (SELECT 1 FROM former WHERE former.record = records.record)",
            params![source, last_success],
        )?;
        transaction.execute("DELETE FROM sequences WHERE source = ?", [source])?;
        transaction.execute("DELETE FROM identity_tables WHERE source = ?", [source])?;
        transaction.execute(
            "UPDATE sources SET fingerprint = NULL, revision = revision + 1 WHERE id = ?",
            [source],
        )?;
    }
    if has_changed {
        transaction.commit()?;
    }
    Ok(())
}

/// Keeps the concurrency limits of upstreams.
pub(super) fn save_limits(
    connection: &mut Connection,
    limits: &[(String, usize)],
) -> Result<(), Fault> {
    let (transaction, _) = begin(connection)?;
    let sql = "INSERT INTO upstream_limits (upstream, concurrency) VALUES (?1, ?2) \
               ON CONFLICT (upstream) DO UPDATE SET concurrency = excluded.concurrency";
    for (upstream, limit) in limits {
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        transaction.prepare_cached(sql)?.execute(params![upstream, limit])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Deletes the records with these keys.
pub(super) fn delete_records(
    connection: &Connection,
    counters: &mut Counters,
    records: &[i64],
) -> Result<(), Fault> {
    for sql in ["DELETE FROM records WHERE record = ?", "DELETE FROM former WHERE record = ?"] {
        let mut statement = connection.prepare_cached(sql)?;
        for record in records {
            statement.execute([record])?;
        }
    }
    counters.records -= i64::try_from(records.len()).unwrap_or(i64::MAX);
    counters.write(connection)
}

/// Deletes the dead letters of the records with these keys.
fn delete_dead_letters(connection: &Connection, records: &[i64]) -> Result<(), Fault> {
    let sql = "DELETE FROM dead_letters WHERE id = (SELECT id FROM records WHERE record = ?)";
    let mut statement = connection.prepare_cached(sql)?;
    for record in records {
        statement.execute([record])?;
    }
    Ok(())
}

/// Deletes the records of an employee that are stored now, batch by batch, and the dead letters;
/// their bytes too, from the file and from the write-ahead log. Returns how many records.
///
/// A record may have been refused before it had the employee, or while it had another one.
pub(super) fn forget(connection: &mut Connection, employee_id: &str) -> Result<u64, Fault> {
    let end = {
        let (transaction, counters) = begin(connection)?;
        transaction.rollback()?;
        counters.next_version
    };
    let sql = "SELECT record FROM records WHERE employee_id = ? AND version < ? LIMIT ?";
    let mut total = 0;
    let dead_letters = loop {
        let (transaction, mut counters) = begin(connection)?;
        let records: Vec<i64> = transaction
            .prepare_cached(sql)?
            .query_map(params![employee_id, end, BATCH_RECORDS], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if records.is_empty() {
            // Of records that are gone there are no new ones.
            let sql = "DELETE FROM dead_letters WHERE employee_id = ?";
            let dead_letters = transaction.execute(sql, [employee_id])?;
            if dead_letters > 0 {
                transaction.commit()?;
            }
            break dead_letters;
        }
        counters.forgotten += 1;
        delete_dead_letters(&transaction, &records)?;
        delete_records(&transaction, &mut counters, &records)?;
        transaction.commit()?;
        total += records.len() as u64;
    };
    if (total > 0 || dead_letters > 0) && !empty_log(connection)? {
        tracing::warn!(
            "a long query keeps the write-ahead log of the history database; the bytes of the \
             deleted records are overwritten once it has ended"
        );
    }
    Ok(total)
}

/// Moves the write-ahead log into the database, and cuts it to nothing; tries again while readers
/// need it.
fn empty_log(connection: &Connection) -> Result<bool, Fault> {
    let deadline = Instant::now() + CHECKPOINT_BOUND;
    loop {
        if truncate_log(connection)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(CHECKPOINT_RETRY);
    }
}

/// Moves the write-ahead log into the database, and cuts it to nothing unless it is in use.
pub(super) fn truncate_log(connection: &Connection) -> Result<bool, Fault> {
    let is_busy: bool =
        connection.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(!is_busy)
}
