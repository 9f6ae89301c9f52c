//! The counters, and transactions that write.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::fault::Fault;
use super::{open, schema};
use crate::store::StoreError;

/// The row of counters. Their values only grow, but for `records`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counters {
    pub(super) next_version: i64,
    pub(super) next_number: i64,
    /// How many records are stored.
    pub(super) records: i64,
    /// How often records were deleted on request.
    pub(super) forgotten: i64,
    /// The greatest number that was taken for the ids of events.
    pub(super) generation: i64,
}

impl Counters {
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let sql = "SELECT next_version, next_number, records, forgotten, generation FROM counters";
        let counters = connection.prepare_cached(sql)?.query_one([], |row| {
            Ok(Self {
                next_version: row.get(0)?,
                next_number: row.get(1)?,
                records: row.get(2)?,
                forgotten: row.get(3)?,
                generation: row.get(4)?,
            })
        })?;
        Ok(counters)
    }

    pub(super) fn write(&self, connection: &Connection) -> Result<(), Fault> {
        let sql = "UPDATE counters SET next_version = ?, next_number = ?, records = ?, \
                   forgotten = ?, generation = ?";
        connection.prepare_cached(sql)?.execute((
            self.next_version,
            self.next_number,
            self.records,
            self.forgotten,
            self.generation,
        ))?;
        Ok(())
    }
}

/// Begins a transaction that writes. It takes the write lock at once: one that read first would
/// fail where another process has written in between.
pub(super) fn begin(connection: &mut Connection) -> Result<(Transaction<'_>, Counters), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema::version(&transaction)?;
    if version > schema::VERSION {
        let detail = open::newer_schema(version, transaction.path().unwrap_or_default());
        return Err(StoreError::Unavailable(detail).into());
    }
    let counters = Counters::read(&transaction)?;
    Ok((transaction, counters))
}
