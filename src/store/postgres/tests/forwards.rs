//! Where forwards stand: who may move them, and that nothing is counted twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::costs::{RoundTrips, counting_proxy};
use super::{
    PostgresServer, PostgresStore, config, expire_lease, held, store, until_value, upsert, within,
    write, write_of,
};
use crate::config::{ForwardFrom, Postgres, Selection};
use crate::store::{
    Advance, DeadLetter, DueQuery, DueRange, Epoch, ForwardClaim, ForwardReport, ForwardStore as _,
    StableId, Store, StoreError, StoredForward,
};

pub(super) const NAME: &str = "siem";

pub(super) async fn begin(store: &PostgresStore, epoch: Epoch, from: ForwardFrom) {
    store.begin_forwards(epoch, &[(NAME.to_owned(), from)]).await.unwrap();
}

pub(super) fn advance(from: i64, to: i64, sent: u64) -> Advance {
    Advance { name: NAME.to_owned(), from, to, sent, ..Advance::default() }
}

fn dead_letter(number: i64, id: usize, employee: &str) -> DeadLetter {
    DeadLetter {
        number,
        id: StableId::of_id("plain", &id.to_le_bytes()),
        source: "plain".to_owned(),
        employee_id: Some(employee.to_owned()),
        status: 400,
        answer: "no\0".to_owned(),
    }
}

fn claim(sending_through: i64) -> ForwardClaim {
    ForwardClaim {
        name: NAME.to_owned(),
        selection: Selection::default(),
        sending_through,
        done: Vec::new(),
    }
}

async fn due(store: &PostgresStore, after: i64, start: Option<i64>) -> Vec<i64> {
    let range = DueRange { after, start, selection: Selection::default() };
    let query = DueQuery { range: range.clone(), limit: 100, max_bytes: usize::MAX };
    let numbers: Vec<i64> =
        store.due(query).await.unwrap().rows.iter().map(|row| row.number).collect();
    assert_eq!(store.count_due(range).await, Ok(numbers.len() as u64));
    numbers
}

#[tokio::test]
async fn a_former_holder_moves_no_forward() {
    let Some(server) = PostgresServer::shared("a_former_holder_moves_no_forward") else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    let first = held(&one).await.unwrap();
    begin(&one, first, ForwardFrom::Beginning).await;
    write(&one, first, 0..6).await.unwrap();
    one.advance(first, advance(0, 2, 2)).await.unwrap();
    let before = one.forwards().await.unwrap();
    expire_lease(server, &database).await;
    let refused = Advance { dead_letters: vec![dead_letter(3, 2, "ada")], ..advance(2, 3, 0) };
    assert_eq!(one.advance(first, refused.clone()).await, Err(StoreError::LeaseLost));

    let second = held(&other).await.unwrap();
    other.retain_sources(second, &[]).await.unwrap();
    let other_name = [("other".to_owned(), ForwardFrom::Now)];
    // Its connections were closed, which it may not have noticed yet.
    while one.advance(first, refused.clone()).await != Err(StoreError::LeaseLost) {
        assert_eq!(other.forwards().await.as_ref(), Ok(&before));
    }
    while one.begin_forwards(first, &other_name).await != Err(StoreError::LeaseLost) {}
    let delete = async || one.delete_expired(first, Duration::ZERO, &[claim(0)]).await;
    while delete().await != Err(StoreError::LeaseLost) {}
    assert_eq!(other.forwards().await.as_ref(), Ok(&before));
    let letters = "SELECT count(*) FROM dead_letters";
    assert_eq!(server.value(&database, letters).await, "0");
    assert_eq!(other.count().await, Ok(6));

    // The holder goes on where the former one was.
    other.advance(second, refused).await.unwrap();
    assert_eq!(server.value(&database, letters).await, "1");
    assert_eq!(due(&other, 3, None).await, [4, 5, 6]);
    // What it has not sent yet is counted when it is deleted, with the dead letter.
    assert_eq!(other.delete_expired(second, Duration::ZERO, &[claim(5)]).await, Ok(5));
    assert_eq!(other.delete_expired(second, Duration::ZERO, &[claim(5)]).await, Ok(0));
    assert_eq!(due(&other, 3, None).await, [4, 5]);
    let expected = StoredForward {
        name: NAME.to_owned(),
        position: 3,
        sent: 2,
        dead_letters: 2,
        ..StoredForward::default()
    };
    assert_eq!(one.forwards().await, Ok(vec![expected]));
}

#[tokio::test]
async fn an_advance_whose_answer_was_lost_counts_once() {
    let test = "an_advance_whose_answer_was_lost_counts_once";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (port, trips) = counting_proxy(server).await;
    let behind = Postgres { host: "127.0.0.1".to_owned(), port, ..config(server, &database) };
    let one = PostgresStore::new(&behind).unwrap();
    one.prepare().await.unwrap();
    let epoch = held(&one).await.unwrap();
    begin(&one, epoch, ForwardFrom::Beginning).await;
    write(&one, epoch, 0..3).await.unwrap();
    let report =
        ForwardReport { is_retrying: true, last_error: Some("\0 bad \u{E000}0".to_owned()) };
    let dead_letters = vec![dead_letter(2, 1, "ada")];
    let moved = Advance { dead_letters, report: report.clone(), ..advance(0, 3, 2) };
    let position = "SELECT position FROM forwards";
    RoundTrips::lose_answers(&trips, true);
    tokio::select! {
        answer = one.advance(epoch, moved.clone()) => panic!("it was lost: {answer:?}"),
        () = until_value(server, &database, position, "3") => {}
    }
    RoundTrips::lose_answers(&trips, false);
    assert_eq!(one.advance(epoch, moved).await, Err(StoreError::Outdated));
    let expected = StoredForward {
        name: NAME.to_owned(),
        position: 3,
        start: None,
        sent: 2,
        dead_letters: 1,
        report,
    };
    assert_eq!(one.forwards().await, Ok(vec![expected]));
    // The report changes alone.
    one.advance(epoch, advance(3, 3, 0)).await.unwrap();
    assert_eq!(one.forwards().await.unwrap()[0].report, ForwardReport::default());
}

/// A write under way neither delays the begin of a forward, nor is it left out in parts.
#[tokio::test]
async fn a_write_under_way_is_behind_the_begin() {
    let Some(server) = PostgresServer::shared("a_write_under_way_is_behind_the_begin") else {
        return;
    };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..2).await.unwrap();
    let blocker = server.connect(&database).await;
    let lock = "BEGIN; SELECT value FROM counters WHERE name = 'records' FOR UPDATE";
    blocker.batch_execute(lock).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let begun = async {
        // Its numbers are taken.
        until_value(server, &database, waiting, "1").await;
        begin(&one, epoch, ForwardFrom::Now).await;
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (written, ()) = within(async { tokio::join!(write(&one, epoch, 2..4), begun) }).await;
    written.unwrap();
    let [forward] = one.forwards().await.unwrap().try_into().unwrap();
    assert_eq!((forward.position, forward.start), (2, Some(2)));
    assert_eq!(due(&one, 2, Some(2)).await, [3, 4]);
    // It stays where it began.
    begin(&one, epoch, ForwardFrom::Beginning).await;
    assert_eq!(one.forwards().await, Ok(vec![forward]));
}

/// What a source brought first, and what was there before, is left out for good.
#[tokio::test]
async fn what_a_forward_leaves_out_stays_left_out() {
    let test = "what_a_forward_leaves_out_stays_left_out";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    let brings = async |name: &str, ids: std::ops::Range<usize>, employee: Option<&str>| {
        let upserts = ids.map(|id| upsert(id, employee)).collect();
        one.write(epoch, write_of(name, upserts)).await.unwrap();
    };
    brings("plain", 0..2, None).await;
    begin(&one, epoch, ForwardFrom::Now).await;
    brings("other", 10..12, None).await;
    // Nothing, but once.
    brings("third", 0..0, None).await;
    assert_eq!(due(&one, 2, Some(2)).await, Vec::<i64>::new());
    // They get an employee, and with it a new number.
    brings("plain", 0..3, Some("ada")).await;
    brings("other", 10..13, Some("ada")).await;
    brings("third", 20..21, Some("ada")).await;
    assert_eq!(due(&one, 2, Some(2)).await, [7, 10, 11]);
    assert_eq!(due(&one, 0, None).await, (5..=11).collect::<Vec<_>>());
}

/// A dead letter ends with its employee's records, also when the receiver has answered after that.
#[tokio::test]
async fn forget_leaves_no_dead_letter() {
    let Some(server) = PostgresServer::shared("forget_leaves_no_dead_letter") else { return };
    let database = server.create_database().await;
    let (one, command) = (store(server, &database).await, store(server, &database).await);
    let epoch = held(&one).await.unwrap();
    begin(&one, epoch, ForwardFrom::Beginning).await;
    let employees = ["ada", "nul\0", "ada"];
    let upserts = (0..).zip(employees).map(|(id, employee)| upsert(id, Some(employee)));
    one.write(epoch, write_of("plain", upserts.collect())).await.unwrap();
    let refused = |id, number, employee| {
        let dead_letters = vec![dead_letter(number, id, employee)];
        Advance { dead_letters, ..advance(number - 1, number, 0) }
    };
    one.advance(epoch, refused(0, 1, "ada")).await.unwrap();
    one.advance(epoch, refused(1, 2, "nul\0")).await.unwrap();
    assert_eq!(command.forget("ada").await, Ok(2));
    let letters = "SELECT coalesce(string_agg(number::text, ','), '') FROM dead_letters";
    assert_eq!(server.value(&database, letters).await, "2");
    one.advance(epoch, refused(2, 3, "ada")).await.unwrap();
    assert_eq!(server.value(&database, letters).await, "2");
    assert_eq!(command.forget("nul\0").await, Ok(1));
    assert_eq!(server.value(&database, letters).await, "");
    // Nothing was lost by it.
    assert_eq!(one.forwards().await.unwrap()[0].dead_letters, 3);
}

/// Advances, writes and deletions of two processes wait for each other only in an order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_at_once_do_not_block_each_other() {
    let test = "operations_at_once_do_not_block_each_other";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (one, command) = (store(server, &database).await, store(server, &database).await);
    let epoch = held(&one).await.unwrap();
    begin(&one, epoch, ForwardFrom::Beginning).await;
    let employees = ["ada", "bob", "eve"];
    let has_ended = AtomicBool::new(false);
    let moves = async {
        for (id, number) in (0..60).cycle().zip(0..300) {
            let dead_letters = vec![dead_letter(number + 1, id, employees[id % 3])];
            let moved = Advance { dead_letters, ..advance(number, number + 1, 0) };
            one.advance(epoch, moved).await.unwrap();
            if number % 50 == 0 {
                held(&one).await.unwrap();
            }
        }
        has_ended.store(true, Ordering::Relaxed);
    };
    let ends = || has_ended.load(Ordering::Relaxed);
    let writes = async {
        while !ends() {
            let upserts = (0..60).map(|id| upsert(id, Some(employees[id % 3]))).collect();
            match one.write(epoch, write_of("plain", upserts)).await {
                Ok(_) => one.retain_sources(epoch, &[]).await.unwrap(),
                Err(StoreError::Forgotten) => drop(one.sequence("plain").await.unwrap()),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let deletions = async {
        let mut deleted = 0;
        while !ends() {
            deleted += one.delete_expired(epoch, Duration::ZERO, &[claim(0)]).await.unwrap();
        }
        deleted
    };
    let forgets = async {
        let mut forgotten = 0;
        for employee in employees.iter().cycle().take_while(|_| !ends()) {
            forgotten += command.forget(employee).await.unwrap();
        }
        forgotten
    };
    let all = async { tokio::join!(moves, writes, deletions, forgets) };
    let ((), (), deleted, forgotten) = within(all).await;
    assert!(deleted > 0 && forgotten > 0, "{deleted} deleted, {forgotten} forgotten");
    let [forward] = one.forwards().await.unwrap().try_into().unwrap();
    assert_eq!(forward.position, 300);
    assert!(forward.dead_letters >= 300);
    let records = server.value(&database, "SELECT count(*) FROM records").await;
    assert_eq!(one.count().await.unwrap().to_string(), records);
}
