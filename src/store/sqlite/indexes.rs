//! Drops the indexes of the records for a large write, and creates them anew behind it.
//!
//! Sorting all entries of an index once takes about two thirds of the time of inserting them one by
//! one.

use rusqlite::Connection;

use super::fault::Fault;
use super::schema::INDEXES;

/// The fewest new records for which it pays.
const MIN_RECORDS: i64 = 10_000;

/// The indexes that were dropped.
pub(super) enum Rebuild {
    None,
    /// All but the first, which finds records by their ids.
    AllButIds,
    All,
}

/// Drops the indexes if at least two thirds of the records after the write are new. Readers keep
/// the old ones until the transaction ends.
pub(super) fn drop_for(connection: &Connection, stored: i64, new: usize) -> Result<Rebuild, Fault> {
    let new = i64::try_from(new).unwrap_or(i64::MAX);
    let rebuild = match stored {
        _ if new < MIN_RECORDS || new < stored.saturating_mul(2) => Rebuild::None,
        0 => Rebuild::All,
        _ => Rebuild::AllButIds,
    };
    for (name, _) in rebuild.indexes() {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    Ok(rebuild)
}

impl Rebuild {
    /// Whether the index of the ids is there.
    pub(super) const fn checks_ids(&self) -> bool {
        !matches!(self, Self::All)
    }

    /// Creates the indexes that were dropped.
    pub(super) fn create(&self, connection: &Connection) -> Result<(), Fault> {
        for (_, create) in self.indexes() {
            connection.execute_batch(create)?;
        }
        Ok(())
    }

    fn indexes(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::None => &[],
            Self::AllButIds => &INDEXES[1..],
            Self::All => &INDEXES,
        }
    }
}
