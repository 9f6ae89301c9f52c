//! Writes what a refresh has brought.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::counters::{Counters, begin};
use super::fault::Fault;
use super::forgotten::Forgotten;
use super::{indexes, sequences, values};
use crate::join::Reason;
use crate::store::codes::{priority_code, reason_code};
use crate::store::{
    Content, RecordChanges, SequenceItem, SourceReport, SourceWrite, StoreError, Upsert, Version,
    Written,
};

/// What is stored of a source.
struct Source {
    id: i64,
    revision: i64,
    fetched_at: f64,
    /// Whether something of it is served.
    has_head: bool,
}

/// Writes what a refresh has brought, in one transaction. `now` is the store's clock.
pub(super) fn write(
    connection: &mut Connection,
    forgotten: &Forgotten,
    now: f64,
    write: &SourceWrite,
) -> Result<Written, Fault> {
    let (transaction, mut counters) = begin(connection)?;
    let before = source(&transaction, &write.name)?;
    let mut written = Written {
        first_version: Version(counters.next_version),
        revision: before.as_ref().map_or(0, |before| before.revision),
    };
    let Some(age) = write.age else {
        report_failure(&transaction, write)?;
        transaction.commit()?;
        return Ok(written);
    };
    forgotten.check(&write.name, counters.forgotten)?;
    let revision = before.as_ref().filter(|it| it.has_head).map_or(0, |before| before.revision);
    if write.based_on.is_some_and(|based_on| based_on != revision) {
        return Err(StoreError::Outdated.into());
    }
    let fetched_at = now - age.as_secs_f64();
    if write.content.is_some() || before.is_none() {
        written.revision += 1;
    }
    let source = put_source(&transaction, write, written.revision, fetched_at)?;
    match &write.content {
        None => {}
        Some(Content::Table(content)) => {
            let sql = "INSERT INTO identity_tables (source, content) VALUES (?1, ?2) \
                       ON CONFLICT (source) DO UPDATE SET content = excluded.content";
            transaction.execute(sql, params![source, content])?;
        }
        Some(Content::Records(changes)) => {
            let last_success = before.map_or(fetched_at, |before| before.fetched_at);
            let sequence = sequence(changes, written.first_version)?;
            leave(&transaction, &changes.left, last_success)?;
            let rows = Rows { source, fetched_at, upserts: &changes.upserts };
            rows.put(&transaction, &mut counters)?;
            sequences::put(&transaction, source, &sequence)?;
            if !changes.upserts.is_empty() {
                counters.write(&transaction)?;
            }
            let sql = "UPDATE sources SET first_through = ? \
                       WHERE id = ? AND first_through IS NULL";
            let taken = counters.next_number - 1;
            transaction.prepare_cached(sql)?.execute([taken, source])?;
        }
    }
    transaction.commit()?;
    forgotten.wrote(&write.name, counters.forgotten);
    Ok(written)
}

/// Stores the report of a failure beside the data that it concerns, if there is any.
fn report_failure(connection: &Connection, write: &SourceWrite) -> Result<(), Fault> {
    let sql = "UPDATE sources SET report = ?3 WHERE name = ?1 AND fingerprint = ?2";
    let report = report(&write.report)?;
    connection.execute(sql, params![write.name, write.fingerprint.0, report])?;
    Ok(())
}

fn report(report: &SourceReport) -> Result<String, Fault> {
    serde_json::to_string(report).map_err(|error| {
        StoreError::Unavailable(format!("the report of a source cannot be stored: {error}")).into()
    })
}

fn source(connection: &Connection, name: &str) -> Result<Option<Source>, Fault> {
    let sql =
        "SELECT id, revision, fetched_at, fingerprint IS NOT NULL FROM sources WHERE name = ?";
    let source = connection.prepare_cached(sql)?.query_row([name], |row| {
        Ok(Source {
            id: row.get(0)?,
            revision: row.get(1)?,
            fetched_at: row.get(2)?,
            has_head: row.get(3)?,
        })
    });
    Ok(source.optional()?)
}

/// Returns the id of the source.
fn put_source(
    connection: &Connection,
    write: &SourceWrite,
    revision: i64,
    fetched_at: f64,
) -> Result<i64, Fault> {
    let sql = "INSERT INTO sources (name, fingerprint, revision, fetched_at, report) \
               VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET \
               fingerprint = excluded.fingerprint, revision = excluded.revision, \
               fetched_at = excluded.fetched_at, report = excluded.report";
    let report = report(&write.report)?;
    connection.prepare_cached(sql)?.execute(params![
        write.name,
        write.fingerprint.0,
        revision,
        fetched_at,
        report
    ])?;
    let source = source(connection, &write.name)?;
    Ok(source.ok_or(rusqlite::Error::QueryReturnedNoRows)?.id)
}

/// The versions of a source's records in upstream order.
fn sequence(changes: &RecordChanges, first: Version) -> Result<Vec<Version>, Fault> {
    let count = changes.upserts.len();
    let version = |item: &SequenceItem| match *item {
        SequenceItem::Stored(version) => Ok(version),
        SequenceItem::Upsert(index) if index < count => {
            Ok(Version(first.0 + i64::try_from(index).expect("it is an index of a vector")))
        }
        SequenceItem::Upsert(_) => Err(Fault::Store(StoreError::Unavailable(
            "the order of a source names a record that was not written".to_owned(),
        ))),
    };
    changes.sequence.iter().map(version).collect()
}

/// Marks records as no longer current. Of one that is so already, nothing changes.
fn leave(connection: &Connection, left: &[Version], last_success: f64) -> Result<(), Fault> {
    let sql = "INSERT OR IGNORE INTO former \
               SELECT record, max(first_seen, ?2), source, timestamp, number, priority \
               FROM records WHERE version = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for Version(version) in left {
        statement.execute(params![version, last_success])?;
    }
    Ok(())
}

/// The new and changed records of a source.
struct Rows<'a> {
    source: i64,
    fetched_at: f64,
    upserts: &'a [Upsert],
}

impl Rows<'_> {
    fn put(&self, connection: &Connection, counters: &mut Counters) -> Result<(), Fault> {
        let rebuild = indexes::drop_for(connection, counters.records, self.upserts.len())?;
        let insert = "INSERT INTO records (record, number, version, id, source, employee_id, \
                      priority, timestamp, reason, first_seen, bytes) \
                      VALUES (?1, ?1, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let conflict = if rebuild.checks_ids() { " ON CONFLICT (id) DO NOTHING" } else { "" };
        let insert = format!("{insert}{conflict}");
        let mut insert = connection.prepare(&insert)?;
        for upsert in self.upserts {
            let (version, number) = (counters.next_version, counters.next_number);
            let inserted = insert.execute(params![
                number,
                version,
                upsert.id.0,
                self.source,
                upsert.employee_id.as_deref(),
                upsert.priority.map(priority_code),
                upsert.timestamp,
                upsert.reason.map(reason_code),
                self.fetched_at,
                &upsert.bytes[..],
            ])?;
            if inserted == 0 {
                self.update(connection, version, number, upsert)?;
            } else {
                counters.records += 1;
            }
            // A number that an update does not need is skipped.
            counters.next_version += 1;
            counters.next_number += 1;
        }
        drop(insert);
        rebuild.create(connection)
    }

    /// Replaces the content of a stored record. `number` is for one that gets an employee.
    fn update(
        &self,
        connection: &Connection,
        version: i64,
        number: i64,
        upsert: &Upsert,
    ) -> Result<(), Fault> {
        let sql = "SELECT record, number, employee_id, reason, priority, timestamp \
                   FROM records WHERE id = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([upsert.id.0])?;
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let (record, stored_number): (i64, i64) = (row.get(0)?, row.get(1)?);
        let stored_employee = values::text(row, 2)?;
        let stored_reason: Option<i64> = row.get(3)?;
        let (employee_id, reason) = match upsert.reason {
            Some(Reason::IdentitiesUnavailable) => (stored_employee, stored_reason),
            reason => {
                (upsert.employee_id.as_deref(), reason.map(|reason| reason_code(reason).into()))
            }
        };
        let priority = upsert.priority.map(priority_code);
        connection.prepare_cached("DELETE FROM former WHERE record = ?")?.execute([record])?;
        let is_indexed_alike = employee_id == stored_employee
            && priority == row.get(4)?
            && upsert.timestamp == row.get(5)?;
        if is_indexed_alike {
            // Names no column of the large indexes, which are then left alone.
            let sql = "UPDATE records SET version = ?2, reason = ?3, bytes = ?4 WHERE record = ?1";
            let bytes = &upsert.bytes[..];
            connection.prepare_cached(sql)?.execute(params![record, version, reason, bytes])?;
            return Ok(());
        }
        let gets_employee = stored_employee.is_none() && employee_id.is_some();
        let sql = "UPDATE records SET number = ?2, version = ?3, source = ?4, employee_id = ?5, \
                   priority = ?6, timestamp = ?7, reason = ?8, bytes = ?9 \
                   WHERE record = ?1";
        connection.prepare_cached(sql)?.execute(params![
            record,
            if gets_employee { number } else { stored_number },
            version,
            self.source,
            employee_id,
            priority,
            upsert.timestamp,
            reason,
            &upsert.bytes[..],
        ])?;
        Ok(())
    }
}
