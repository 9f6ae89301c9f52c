//! What is written, and what a process is told that deletes or was deleted from.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use super::super::READ;
use super::super::fault::Failure;
use super::super::lane::{Mode, ServerBounds};
use super::{FINGERPRINT, PostgresServer, held, store, upsert, write, write_of};
use crate::store::{
    Content, HistoryFilter, HistoryQuery, RecordChanges, SourceReport, SourceWrite, Store,
    StoreError, Version,
};

fn all_history() -> HistoryQuery {
    let filter = HistoryFilter::default();
    HistoryQuery { filter, after: None, limit: 10_000, max_bytes: usize::MAX }
}

#[tokio::test]
async fn an_employee_is_read_as_it_was_written() {
    let Some(server) = PostgresServer::shared("an_employee_is_read_as_it_was_written") else {
        return;
    };
    let database = server.create_database().await;
    let store = store(server, &database).await;
    let epoch = held(&store).await.unwrap();
    // PostgreSQL's text has no NUL.
    let employees = ["nul\0", "\u{E000}0", "Ada Лавлейс"];
    let upserts = (0..).zip(employees).map(|(id, employee)| upsert(id, Some(employee)));
    let written = store.write(epoch, write_of("plain", upserts.collect())).await.unwrap();
    let versions = store.sequence("plain").await.unwrap();
    assert_eq!(versions[0], written.first_version);
    let records = store.records(&versions).await.unwrap();
    let mut read: Vec<_> =
        records.iter().map(|record| (record.version, record.employee_id)).collect();
    read.sort();
    assert_eq!(read.into_iter().map(|(_, id)| id.unwrap()).collect::<Vec<_>>(), employees);
    let filter = HistoryFilter { employees: Some(vec!["nul\0".into()]), ..Default::default() };
    let page = store.history(HistoryQuery { filter, ..all_history() }).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.rows[0].employee_id.as_deref(), Some("nul\0"));
    assert_eq!(store.forget("nul\0").await, Ok(1));
}

/// A deletion while a write is under way waits for it, and deletes what it has written.
#[tokio::test]
async fn forget_deletes_what_a_write_under_way_writes() {
    let test = "forget_deletes_what_a_write_under_way_writes";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (one, command) = (store(server, &database).await, store(server, &database).await);
    let epoch = held(&one).await.unwrap();
    let blocker = server.connect(&database).await;
    let lock = "BEGIN; SELECT value FROM counters WHERE name = 'version' FOR UPDATE";
    blocker.batch_execute(lock).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let forget = async {
        super::until_value(server, &database, waiting, "1").await;
        let unblock = async {
            super::until_value(server, &database, waiting, "2").await;
            blocker.batch_execute("COMMIT").await.unwrap();
        };
        tokio::join!(command.forget("ada"), unblock).0
    };
    let (written, forgotten) = tokio::join!(write(&one, epoch, 0..3), forget);
    written.unwrap();
    assert_eq!(forgotten, Ok(3));
    assert_eq!(one.count().await, Ok(0));
    // Whoever has written is told, and writes again once it has read what is stored.
    assert_eq!(write(&one, epoch, 0..3).await, Err(StoreError::Forgotten));
    let versions = one.sequence("plain").await.unwrap();
    assert_eq!(one.records(&versions).await.unwrap().len(), 0);
    write(&one, epoch, 0..3).await.unwrap();
    assert_eq!(one.count().await, Ok(3));
    // Nobody is told of a deletion of nothing.
    assert_eq!(command.forget("nobody").await, Ok(0));
    write(&one, epoch, 0..3).await.unwrap();
}

#[tokio::test]
async fn a_deletion_is_noticed_when_nothing_else_is_new() {
    let test = "a_deletion_is_noticed_when_nothing_else_is_new";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    assert_eq!(one.forget("ada").await, Ok(3));
    let unchanged = SourceWrite { content: None, ..write_of("plain", Vec::new()) };
    assert_eq!(one.write(epoch, unchanged).await, Err(StoreError::Forgotten));
}

/// A write that ends before it can say so, at whatever moment.
#[tokio::test]
async fn a_deletion_is_noticed_after_a_write_was_given_up() {
    let test = "a_deletion_is_noticed_after_a_write_was_given_up";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    for most_polls in 1.. {
        one.sequence("plain").await.unwrap();
        write(&one, epoch, 0..3).await.unwrap();
        assert_eq!(one.forget("ada").await, Ok(3));
        let mut attempt = Box::pin(write(&one, epoch, 0..3));
        let mut polls = 0;
        let result = poll_fn(|context| {
            polls += 1;
            if polls > most_polls {
                return Poll::Ready(None);
            }
            attempt.as_mut().poll(context).map(Some)
        });
        match result.await {
            Some(result) => {
                assert_eq!(result, Err(StoreError::Forgotten));
                break;
            }
            None => drop(attempt),
        }
        assert_eq!(write(&one, epoch, 0..3).await, Err(StoreError::Forgotten), "{most_polls}");
    }
}

/// What a process reads while a write is dropped half-way, and after it.
#[tokio::test]
async fn a_dropped_write_leaves_nothing() {
    let Some(server) = PostgresServer::shared("a_dropped_write_leaves_nothing") else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    for micros in (0..60).map(|step| step * 300) {
        let write = write(&one, epoch, 0..500);
        let _ = tokio::time::timeout(Duration::from_micros(micros), write).await;
        let count = one.count().await.unwrap();
        assert!(count == 0 || count == 500, "{count}");
    }
    super::until_value(server, &database, open, "0").await;
    write(&one, epoch, 0..500).await.unwrap();
    let rows = one.history(all_history()).await.unwrap().rows;
    assert_eq!(rows.len(), 500);
}

#[tokio::test]
async fn large_records_and_many_records_are_written_in_parts() {
    let test = "large_records_and_many_records_are_written_in_parts";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    let mut upserts: Vec<_> = (0..11_003).map(|id| upsert(id, None)).collect();
    for upsert in upserts.iter_mut().take(5) {
        upsert.bytes = vec![b'x'; 5 << 20].into();
    }
    let written = one.write(epoch, write_of("plain", upserts.clone())).await.unwrap();
    let sequence = one.sequence("plain").await.unwrap();
    let expected = (written.first_version.0..).take(upserts.len()).map(Version);
    assert!(sequence.iter().copied().eq(expected));
    let records = one.records(&sequence[..10]).await.unwrap();
    assert_eq!(records.len(), 10);
    for record in records.iter() {
        let index = usize::try_from(record.version.0 - written.first_version.0).unwrap();
        assert_eq!((record.id, record.bytes), (upserts[index].id, &upserts[index].bytes[..]));
    }
    assert_eq!(one.count().await, Ok(11_003));
    // All leave, with more versions than a statement takes.
    let changes = RecordChanges { left: sequence, ..RecordChanges::default() };
    let write =
        SourceWrite { content: Some(Content::Records(changes)), ..write_of("plain", vec![]) };
    one.write(epoch, write).await.unwrap();
    let current = "SELECT count(*) FROM records WHERE last_seen IS NULL";
    assert_eq!(server.value(&database, current).await, "0");
}

/// A page ends where its bytes do, whatever the database would send.
#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let Some(server) = PostgresServer::shared("a_page_is_bounded_in_bytes") else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..10).await.unwrap();
    let bytes = upsert(0, None).bytes.len();
    for (max_bytes, expected) in [(0, 1), (1, 1), (bytes, 1), (bytes + 1, 2), (3 * bytes, 3)] {
        let page = one.history(HistoryQuery { max_bytes, ..all_history() }).await.unwrap();
        assert_eq!(page.rows.len(), expected, "{max_bytes} bytes");
        assert_eq!(page.next.unwrap().number, page.rows[expected - 1].number);
    }
    let page = one.history(HistoryQuery { limit: 10, ..all_history() }).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (10, None));
}

#[tokio::test]
async fn a_refresh_that_brings_nothing_new_writes_one_row() {
    let test = "a_refresh_that_brings_nothing_new_writes_one_row";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..10).await.unwrap();
    let before = server.value(&database, "SELECT txid_current()").await;
    let unchanged = SourceWrite { content: None, ..write_of("plain", Vec::new()) };
    one.write(epoch, unchanged).await.unwrap();
    let failed = SourceWrite {
        age: None,
        report: SourceReport { consecutive_failures: 1, ..SourceReport::default() },
        fingerprint: FINGERPRINT,
        based_on: None,
        content: None,
        name: "plain".to_owned(),
    };
    one.write(epoch, failed).await.unwrap();
    // Written or locked since.
    for (table, expected) in [("records", "0"), ("counters", "0"), ("sources", "1")] {
        let rows = format!(
            "SELECT count(*) FROM {table} \
             WHERE greatest(xmin::text::bigint, xmax::text::bigint) > {before}"
        );
        assert_eq!(server.value(&database, &rows).await, expected, "{table}");
    }
    let head = one.heads().await.unwrap().sources.remove(0);
    assert_eq!(head.report.consecutive_failures, 1);
    assert_eq!(one.sequence("plain").await.unwrap().len(), 10);
}

/// The server does not go on with what nobody waits for.
#[tokio::test]
async fn a_statement_ends_when_its_caller_has_gone() {
    let test = "a_statement_ends_when_its_caller_has_gone";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let connection = one.reads.connection(READ.server).await.unwrap();
    let sleep = connection.run(Mode::Read, "SELECT pg_sleep(20)", &[]);
    let running = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%'";
    tokio::select! {
        _ = sleep => panic!("it takes longer"),
        () = super::until_value(server, &database, running, "1") => {}
    }
    let started = tokio::time::Instant::now();
    super::until_value(server, &database, running, "0").await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A proxy may keep a connection open though nothing comes through any more.
#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let test = "an_answer_that_never_comes_is_not_waited_for";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let bounds = ServerBounds { statement: Duration::from_millis(1), ..READ.server };
    let connection = one.writes.connection(bounds).await.unwrap();
    let answer = connection.answer(pending::<Result<(), _>>());
    assert!(matches!(super::within(answer).await, Err(Failure::TimedOut)));
}
