//! What the store says that a forward has done, beside what its receiver has got.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::replicas::cluster::Cluster;
use crate::support::forward_receiver::{ForwardReceiver, Record};
use rusqlite::types::Value;

/// The database of a store, which is read without anything of the gateway.
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Cluster),
}

impl Database {
    /// The rows of a query, as text. None if the database has no tables yet.
    async fn query(&self, sql: &str) -> Option<Vec<Vec<String>>> {
        match self {
            Self::Sqlite(file) => {
                let database = rusqlite::Connection::open(file).unwrap();
                let mut statement = database.prepare(sql).ok()?;
                let columns = statement.column_count();
                let text = |value| match value {
                    Value::Integer(value) => value.to_string(),
                    Value::Text(value) => value,
                    value => panic!("{value:?}"),
                };
                let rows = statement.query_map([], |row| {
                    (0..columns).map(|column| row.get(column).map(text)).collect()
                });
                Some(rows.unwrap().map(Result::unwrap).collect())
            }
            Self::Postgres(cluster) => {
                let client = cluster.postgres.connect(&cluster.database).await;
                client.simple_query("SELECT 1 FROM forwards, dead_letters").await.ok()?;
                let rows = cluster.postgres.query(&cluster.database, sql).await;
                let row = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap).collect();
                Some(rows.into_iter().map(row).collect())
            }
        }
    }

    /// Ids as the gateway shows them.
    fn hex(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "lower(hex(id))",
            Self::Postgres(_) => "replace(id::text, '-', '')",
        }
    }

    /// As if the ten seconds of a killed process's lease were over.
    pub(crate) async fn end_lease(&self) {
        if let Self::Postgres(cluster) = self {
            let client = cluster.postgres.connect(&cluster.database).await;
            // The first process may have been killed before it has made the table.
            let _ = client.simple_query("UPDATE lease SET expires_at = '-infinity'").await;
        }
    }
}

/// What is stored of one forward, which sends all records with an employee.
#[derive(Debug)]
pub(crate) struct Books {
    name: String,
    pub(crate) position: i64,
    sent: usize,
    dead_letters: Vec<String>,
    counted_dead_letters: usize,
    /// The records up to the position.
    behind: HashSet<String>,
    /// All records.
    all: HashSet<String>,
}

impl Books {
    /// `None` if it has no position yet.
    pub(crate) async fn read(database: &Database, name: &str) -> Option<Self> {
        let counts =
            format!("SELECT position, sent, dead_letters FROM forwards WHERE name = '{name}'");
        let counts = database.query(&counts).await?.pop()?;
        let [position, sent, dead_letters] = [0, 1, 2].map(|at| counts[at].parse::<i64>().unwrap());
        let id = database.hex();
        let ids = async |sql: String| -> Vec<String> {
            database.query(&sql).await.expect("tables").into_iter().flatten().collect()
        };
        let all = format!("SELECT {id} FROM records WHERE employee_id IS NOT NULL");
        let behind = ids(format!("{all} AND number <= {position}")).await;
        let letters = format!("SELECT {id} FROM dead_letters WHERE forward = '{name}'");
        Some(Self {
            name: name.to_owned(),
            position,
            sent: sent.try_into().unwrap(),
            counted_dead_letters: dead_letters.try_into().unwrap(),
            dead_letters: ids(letters).await,
            behind: behind.into_iter().collect(),
            all: ids(all).await.into_iter().collect(),
        })
    }

    /// Whatever is behind the position was accepted or is a dead letter, and is counted once.
    pub(crate) fn check(&self, receiver: &ForwardReceiver, is_poison: fn(&Record) -> bool) {
        let name = &self.name;
        let accepted: HashSet<String> = receiver.accepted().into_iter().collect();
        let dead: HashSet<String> = self.dead_letters.iter().cloned().collect();
        let lost: Vec<_> = self
            .behind
            .iter()
            .filter(|id| !accepted.contains(*id) && !dead.contains(*id))
            .collect();
        assert!(lost.is_empty(), "{name}: {} records passed, not accepted: {lost:?}", lost.len());
        assert_eq!(dead.len(), self.dead_letters.len(), "{name}: a dead letter is there twice");
        let poison = poison(receiver, is_poison);
        assert!(dead.is_subset(&poison), "{name}: {dead:?} of {poison:?}");
        assert!(accepted.is_disjoint(&poison), "{name}");
        let counts = (self.sent, self.counted_dead_letters);
        assert_eq!(
            counts,
            (self.behind.len() - dead.len(), dead.len()),
            "{name}: sent, dead letters"
        );
    }

    /// Everything is done.
    pub(crate) fn check_complete(
        &self,
        receiver: &ForwardReceiver,
        is_poison: fn(&Record) -> bool,
    ) {
        let name = &self.name;
        assert_eq!(self.behind, self.all, "{name}");
        let dead: HashSet<String> = self.dead_letters.iter().cloned().collect();
        assert_eq!(dead, poison(receiver, is_poison), "{name}");
        assert!(!dead.is_empty() && self.sent > 50, "{name}: too few records to tell: {self:?}");
    }
}

/// The ids of the records that the receiver has got and always refuses.
fn poison(receiver: &ForwardReceiver, is_poison: fn(&Record) -> bool) -> HashSet<String> {
    let records = receiver.requests().into_iter().flat_map(|request| request.records);
    records.filter(is_poison).map(|record| record.id).collect()
}
