//! What operations cost that are done often: round trips, and records that are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::forwards::{advance, begin};
use super::page_plans::FILL;
use super::{
    FINGERPRINT, PostgresServer, PostgresStore, config, held, store, until_value, write, write_of,
};
use crate::config::{ForwardFrom, Postgres};
use crate::store::{
    Advance, Content, DeadLetter, DueQuery, DueRange, ForwardStore as _, RecordChanges,
    SourceReport, SourceWrite, Store, StoreError, Version,
};

fn unchanged() -> SourceWrite {
    SourceWrite { content: None, ..write_of("plain", Vec::new()) }
}

fn failed() -> SourceWrite {
    let report = SourceReport { consecutive_failures: 1, ..SourceReport::default() };
    SourceWrite { age: None, report, fingerprint: FINGERPRINT, ..unchanged() }
}

#[tokio::test]
async fn nothing_new_reads_no_record() {
    let Some(server) = PostgresServer::shared("nothing_new_reads_no_record") else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    // Never analysed.
    server.query(&database, FILL).await;
    server.query(&database, "UPDATE counters SET value = 200000 WHERE name = 'version'").await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    let before = records_read(server, &database, one).await;
    server.query(&database, "UPDATE lease SET holder = NULL, expires_at = '-infinity'").await;

    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    one.retain_sources(epoch, &["plain".to_owned()]).await.unwrap();
    for _ in 0..3 {
        one.write(epoch, unchanged()).await.unwrap();
        one.write(epoch, failed()).await.unwrap();
        one.heads().await.unwrap();
        one.count().await.unwrap();
        // Nothing is so old.
        assert_eq!(one.delete_expired(epoch, Duration::from_secs(1 << 32), &[]).await, Ok(0));
    }
    assert_eq!(records_read(server, &database, one).await, before);
}

/// How many records the database has read for anyone, this process included, whose sessions end.
async fn records_read(server: &PostgresServer, database: &str, store: PostgresStore) -> u64 {
    let application = store.instance.clone();
    drop(store);
    // A session has told what it has read when it ends.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = ";
    until_value(server, database, &format!("{sessions}'{application}'"), "0").await;
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables \
         WHERE relname = 'records'";
    server.value(database, read).await.parse().unwrap()
}

#[tokio::test]
async fn records_are_found_by_their_versions() {
    let Some(server) = PostgresServer::shared("records_are_found_by_their_versions") else {
        return;
    };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    // Never analysed.
    server.query(&database, FILL).await;
    let before = records_read(server, &database, one).await;

    let one = store(server, &database).await;
    let run = || (50_001..=60_000).map(Version);
    let scattered = || (60_001..=80_000).step_by(2).map(Version);
    let mut left = Vec::new();
    for versions in [run().collect(), scattered().collect::<Vec<_>>()] {
        let read = one.records(&versions).await.unwrap();
        let mut found: Vec<Version> = read.iter().map(|record| record.version).collect();
        found.sort_unstable();
        assert_eq!(found, versions);
        left.extend(versions);
    }
    let epoch = held(&one).await.unwrap();
    let changes = RecordChanges { left, ..RecordChanges::default() };
    let content = Some(Content::Records(changes));
    one.write(epoch, SourceWrite { content, ..unchanged() }).await.unwrap();
    assert_eq!(records_read(server, &database, one).await - before, 40_000);
    // One of 16 was current, and none of those with odd versions.
    let current = "SELECT count(*) FROM records WHERE last_seen IS NULL";
    assert_eq!(server.value(&database, current).await, ((200_000 - 10_000) / 16).to_string());
}

/// Counts how often a client sends something after it has received something. It may keep answers
/// to itself.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    count: AtomicUsize,
    has_answered: AtomicBool,
    loses_answers: AtomicBool,
}

impl RoundTrips {
    pub(super) fn lose_answers(&self, loses_answers: bool) {
        self.loses_answers.store(loses_answers, Ordering::Relaxed);
    }

    fn note(&self, is_request: bool) {
        if !is_request {
            self.has_answered.store(true, Ordering::Relaxed);
        } else if self.has_answered.swap(false, Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn forward(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        is_request: bool,
    ) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.note(is_request);
            if !is_request && self.loses_answers.load(Ordering::Relaxed) {
                continue;
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    }
}

/// Listens on this port before a server, and counts its round trips.
pub(super) async fn counting_proxy(server: &PostgresServer) -> (u16, Arc<RoundTrips>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = server.socket_directory().join(format!(".s.PGSQL.{}", server.port()));
    let trips = Arc::new(RoundTrips::default());
    let counted = Arc::clone(&trips);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (socket, trips) = (socket.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let server = UnixStream::connect(socket).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::join!(
                    trips.forward(from_client, to_server, true),
                    trips.forward(from_server, to_client, false),
                );
            });
        }
    });
    (port, trips)
}

#[tokio::test]
async fn nothing_new_is_written_in_one_round_trip() {
    let test = "nothing_new_is_written_in_one_round_trip";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (port, trips) = counting_proxy(server).await;
    let config = Postgres { host: "127.0.0.1".to_owned(), port, ..config(server, &database) };
    let one = PostgresStore::new(&config).unwrap();
    one.prepare().await.unwrap();
    let epoch = held(&one).await.unwrap();
    // Makes the connection.
    write(&one, epoch, 0..3).await.unwrap();
    let taken = async |write: SourceWrite| {
        let before = trips.count.load(Ordering::Relaxed);
        let written = one.write(epoch, write).await;
        (written.map(|written| written.revision), trips.count.load(Ordering::Relaxed) - before)
    };
    assert_eq!(taken(unchanged()).await, (Ok(1), 1));
    assert_eq!(taken(failed()).await, (Ok(1), 1));
    let other_definition = SourceWrite { name: "other".to_owned(), ..failed() };
    assert_eq!(taken(other_definition).await, (Ok(0), 1));
    // Neither is written after a deletion, or with a schema of a newer program.
    let head = "SELECT report || fetched_at FROM sources WHERE name = 'plain'";
    let before = server.value(&database, head).await;
    assert_eq!(one.forget("ada").await, Ok(3));
    assert_eq!(taken(unchanged()).await, (Err(StoreError::Forgotten), 1));
    server.query(&database, "UPDATE schema_version SET version = 1000").await;
    assert!(one.write(epoch, failed()).await.is_err());
    assert_eq!(server.value(&database, head).await, before);
}

#[tokio::test]
async fn a_forward_goes_on_in_one_round_trip_each() {
    let test = "a_forward_goes_on_in_one_round_trip_each";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (port, trips) = counting_proxy(server).await;
    let config = Postgres { host: "127.0.0.1".to_owned(), port, ..config(server, &database) };
    let one = PostgresStore::new(&config).unwrap();
    one.prepare().await.unwrap();
    let epoch = held(&one).await.unwrap();
    begin(&one, epoch, ForwardFrom::Beginning).await;
    write(&one, epoch, 0..3).await.unwrap();
    let query = DueQuery { range: DueRange::default(), limit: 2, max_bytes: usize::MAX };
    // Makes the connections.
    one.count_due(DueRange::default()).await.unwrap();
    let before = trips.count.load(Ordering::Relaxed);
    let page = one.due(query).await.unwrap();
    assert_eq!((page.rows.len(), page.through, page.is_end), (2, 2, false));
    let taken = |operations| {
        assert_eq!(trips.count.load(Ordering::Relaxed) - before, operations);
    };
    taken(1);
    one.advance(epoch, advance(0, 2, 2)).await.unwrap();
    taken(2);
    let row = &page.rows[0];
    let letter = DeadLetter {
        number: 3,
        id: row.id,
        source: row.source.clone(),
        employee_id: None,
        status: 400,
        answer: String::new(),
    };
    let refused = Advance { dead_letters: vec![letter], ..advance(2, 3, 0) };
    one.advance(epoch, refused.clone()).await.unwrap();
    taken(3);
    assert_eq!(one.advance(epoch, refused.clone()).await, Err(StoreError::Outdated));
    taken(4);
    one.forwards().await.unwrap();
    taken(5);
    one.count_due(DueRange::default()).await.unwrap();
    taken(6);
    begin(&one, epoch, ForwardFrom::Now).await;
    taken(7);
    server.query(&database, "UPDATE schema_version SET version = 1000").await;
    let before = server.value(&database, "SELECT position FROM forwards").await;
    let next = Advance { from: 3, to: 4, ..refused };
    assert!(matches!(one.advance(epoch, next).await, Err(StoreError::Unavailable(_))));
    assert_eq!(server.value(&database, "SELECT position FROM forwards").await, before);
}
