//! The schema, and how a database of an older version is brought to it.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a database as one of ours: `IGhi` (`PRAGMA application_id`).
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"IGhi");

/// The migrations. The first `n` lead to the version `n` of the schema (`PRAGMA user_version`).
///
/// - A record's key is the number that it had first. It never changes, so that most indexes have
///   nothing to do with a new content; and records are in the order of their numbers without an
///   index, but for those that have taken a new one. `number` is a column beside it, because
///   `SQLite` uses no key in a comparison of rows.
/// - `first_through` is the greatest number that was taken behind the first write of records of a
///   source.
/// - `former` has the records that are not current, with what orders them by source. A record that
///   leaves or returns therefore changes neither the large indexes nor, when it leaves, its row:
///   each of them would be written in another place of the file.
/// - Large values have tables of their own: `SQLite` writes the whole row when one column changes.
/// - The indexes of `records` are few, because they cost most of the time of the first write.
const MIGRATIONS: &[&str] = &["
CREATE TABLE counters (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    next_version INTEGER NOT NULL,
    next_number INTEGER NOT NULL,
    records INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES (1, 1, 1, 0, 0, 0);
CREATE TABLE store_key (value BLOB NOT NULL) STRICT;
INSERT INTO store_key VALUES (randomblob(16));
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    fingerprint BLOB,
    revision INTEGER NOT NULL,
    fetched_at REAL NOT NULL,
    report TEXT NOT NULL,
    first_through INTEGER
) STRICT;
CREATE TABLE sequences (source INTEGER PRIMARY KEY, versions BLOB NOT NULL) STRICT;
CREATE TABLE identity_tables (source INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE upstream_limits (upstream TEXT PRIMARY KEY, concurrency INTEGER NOT NULL) STRICT;
CREATE TABLE records (
    record INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    number INTEGER NOT NULL,
    id BLOB NOT NULL,
    source INTEGER NOT NULL,
    employee_id TEXT,
    priority INTEGER,
    timestamp REAL,
    reason INTEGER,
    first_seen REAL NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE former (
    record INTEGER PRIMARY KEY,
    last_seen REAL NOT NULL,
    source INTEGER NOT NULL,
    timestamp REAL,
    number INTEGER NOT NULL,
    priority INTEGER
) STRICT;
CREATE INDEX former_by_expiry ON former (last_seen);
CREATE INDEX former_by_source ON former (source, timestamp, number, priority);
CREATE INDEX records_by_new_number ON records (number) WHERE number <> record;
CREATE TABLE forwards (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    start INTEGER,
    sent INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    is_retrying INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
) STRICT;
CREATE TABLE dead_letters (
    forward TEXT NOT NULL,
    number INTEGER NOT NULL,
    id BLOB NOT NULL,
    source TEXT NOT NULL,
    employee_id TEXT,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    refused_at REAL NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_employee ON dead_letters (employee_id);
CREATE INDEX dead_letters_by_id ON dead_letters (id);
CREATE INDEX dead_letters_by_time ON dead_letters (refused_at);
"];

/// The indexes that most rows are in, with their names. A large first write creates them anew.
///
/// Those of the history have the columns of the order, and behind them what else is filtered by or
/// counted, so that rows are read only once they are known to be in the answer.
pub(super) const INDEXES: [(&str, &str); 4] = [
    ("records_by_id", "CREATE UNIQUE INDEX IF NOT EXISTS records_by_id ON records (id)"),
    (
        "records_by_version",
        "CREATE UNIQUE INDEX IF NOT EXISTS records_by_version ON records (version)",
    ),
    (
        "records_by_employee",
        "CREATE INDEX IF NOT EXISTS records_by_employee \
         ON records (employee_id, timestamp, number, source, priority)",
    ),
    (
        "records_by_source",
        "CREATE INDEX IF NOT EXISTS records_by_source \
         ON records (source, timestamp, number, priority)",
    ),
];

/// The version that this program reads and writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// The version of a database; 0 if it is new.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A negative one is none of this program's either.
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Applies the migrations that are missing, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    apply(connection, MIGRATIONS)?;
    INDEXES.iter().try_for_each(|(_, create)| connection.execute_batch(create))
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        let Some(migration) = migrations.get(version) else { return Ok(()) };
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {}", version + 1))?;
        transaction.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_is_applied_once_and_whole() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);

        let second = [MIGRATIONS[0], "CREATE TABLE more (x); INSERT INTO more VALUES (1);"];
        apply(&mut connection, &second).unwrap();
        apply(&mut connection, &second).unwrap();
        let count: i64 =
            connection.query_one("SELECT count(*) FROM more", [], |row| row.get(0)).unwrap();
        assert_eq!((version(&connection).unwrap(), count), (2, 1));

        let broken = [MIGRATIONS[0], second[1], "CREATE TABLE third (x); CREATE TABLE more (x);"];
        apply(&mut connection, &broken).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 2);
        connection.prepare("SELECT * FROM third").unwrap_err();
    }
}
