//! Receivers and stores that fail.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::target::{Answer, Target};
use super::{Process, add, dead_letters, forward, id_of, list, settle, stored};
use crate::forward::ForwardState;
use crate::store::testing::MemoryStore;
use crate::store::{Store as _, StoreError};

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_backoff_and_retry_after() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 3, Some("10001"));
    let failures = [None, None, Some(1), Some(30), Some(3), None, Some(3600)];
    target.script(failures.map(Answer::Failed));
    let process = Process::leader(&store, forward("siem"), &target).await;
    let status = process.wait_for(|status| status.state == ForwardState::Retrying).await;
    assert_eq!(status.lag, Some(3));
    assert_eq!(status.last_error.as_deref(), Some("the receiver answered 503"));
    settle().await;
    // Followers show it, too.
    assert!(stored(&store, "siem").report.is_retrying);
    assert_eq!(process.idle().await.sent, 3);
    let times: Vec<Instant> = target.requests().iter().map(|request| request.at).collect();
    let gaps: Vec<u64> = times
        .windows(2)
        .map(|pair| u64::try_from((pair[1] - pair[0]).as_millis()).unwrap())
        .collect();
    let expected = [
        500..=1000,
        1000..=2000,
        2000..=4000,
        30_000..=30_000,
        8000..=16_000,
        16_000..=32_000,
        3_600_000..=3_600_000,
    ];
    assert_eq!(gaps.len(), expected.len());
    for (gap, range) in gaps.iter().zip(expected) {
        assert!((*range.start()..=range.end() + 2).contains(gap), "{gaps:?}");
    }
    settle().await;
    assert!(!stored(&store, "siem").report.is_retrying);
    // The report was stored when it changed: once retrying, and with the position.
    assert_eq!(store.calls("advance"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_repeats_the_batch() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 12, Some("10001"));
    target.script([Answer::Lost, Answer::Hang]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    assert_eq!(process.idle().await.sent, 12);
    assert_eq!(target.taken(), list((1..=10).chain(1..=12)));
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_or_forgotten_while_the_receiver_is_down_is_not_sent() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 2, Some("10001"));
    add(&store, 3, Some("10002"));
    add(&store, 20, Some("10003"));
    target.script([Answer::Failed(Some(600))]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    store.forget("10001").await.unwrap();
    for row in store.memory().records.values_mut() {
        if row.number <= 5 || row.number > 20 {
            row.last_seen = Some(row.first_seen);
        }
    }
    advance(Duration::from_mins(2)).await;
    delete_expired(&store, &process).await;
    let status = process.wait_for(|status| status.dead_letters > 0).await;
    assert_eq!((status.dead_letters, status.lag), (8, Some(15)));
    assert_eq!(status.state, ForwardState::Retrying);
    let status = process.idle().await;
    assert_eq!((status.sent, status.dead_letters), (15, 8));
    assert_eq!(target.taken(), list(6..=20));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_is_not_tried_again_when_nothing_is_due() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 3, Some("10001"));
    target.script([Answer::Failed(Some(60))]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    store.forget("10001").await.unwrap();
    let status = process.idle().await;
    assert_eq!((status.sent, status.last_error), (0, None));
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_sent_is_not_deleted() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 50, Some("10001"));
    target.delay(Duration::from_mins(3));
    let process = Process::leader(&store, forward("siem"), &target).await;
    settle().await;
    for row in store.memory().records.values_mut() {
        row.last_seen = Some(row.first_seen);
    }
    advance(Duration::from_mins(2)).await;
    // One batch is in flight, and one was read ahead.
    delete_expired(&store, &process).await;
    assert_eq!(stored(&store, "siem").dead_letters, 30);
    let status = process.idle().await;
    assert_eq!((status.sent, status.dead_letters), (20, 30));
    assert_eq!(target.taken(), list(1..=20));
}

/// Deletes what has not been current for a minute, as the session does.
pub(super) async fn delete_expired(store: &MemoryStore, process: &Process) {
    let Some(epoch) = process.handle.state().role.epoch(Instant::now()) else { return };
    let deletion = process.handle.claims().deleting().await;
    let deleted = store.delete_expired(epoch, Duration::from_mins(1), &deletion.claims).await;
    process.handle.note(crate::store::Operation::Upkeep, &deleted);
}

#[tokio::test(start_paused = true)]
async fn one_request_is_sent_while_the_position_is_being_stored() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 50, Some("10001"));
    target.delay(Duration::from_secs(1));
    let process = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_millis(1500)).await;
    store.hang(true);
    sleep(Duration::from_mins(1)).await;
    // The second is answered, and the third is the one beside the position of the second.
    assert_eq!(target.batches().len(), 3);
    assert_eq!(process.status().sent, 10);
    assert_eq!(stored(&store, "siem").position, 10);
    store.hang(false);
    assert_eq!(process.idle().await.sent, 50);
    assert_eq!(target.taken(), list(1..=50));
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_whatever_the_store_says_of_its_writes() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 100, Some("10001"));
    target.poison([17]);
    target.delay(Duration::from_millis(700));
    let process = Process::leader(&store, forward("siem"), &target).await;
    for round in 0..20 {
        store.lose_answers(round % 2 == 0);
        let full = StoreError::Unavailable("the disk is full".to_owned());
        store.fail((round % 5 == 3).then_some(full));
        sleep(Duration::from_secs(1)).await;
    }
    store.lose_answers(false);
    store.fail(None);
    let status = process.idle().await;
    assert_eq!((status.sent, status.dead_letters), (99, 1));
    let stored = stored(&store, "siem");
    assert_eq!((stored.sent, stored.dead_letters, stored.position), (99, 1, 100));
    // Nothing was sent twice, because what was sent is remembered until it is stored.
    assert_eq!(target.taken(), list((1..=16).chain(18..=100)));
    assert!(process.handle.state().is_up());
}

/// Collects the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects until the guard is dropped.
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_has_a_line_when_a_receiver_fails_and_when_it_is_well_again() {
    let (log, _guard) = Log::begin();
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 30, Some("10001"));
    target.poison([25]);
    target.script(vec![Answer::Failed(None); 20]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    assert_eq!(process.idle().await.sent, 29);
    let log = log.text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("forward=siem")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("a request has failed; it is tried again"),
        "{log}"
    );
    assert!(lines[0].contains("detail=the receiver answered 503"), "{log}");
    assert!(lines[1].contains("INFO") && lines[1].contains("takes records again"), "{log}");
    let id = id_of(25);
    let letter = format!(
        "the receiver refuses a record: it becomes a dead letter and is not sent again \
         forward=siem id={id} status=400 answer=no"
    );
    assert!(lines[2].contains("WARN") && lines[2].contains(&letter), "{log}");
    assert_eq!(dead_letters(&store).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_log_has_a_line_when_records_are_deleted_before_they_were_sent() {
    let (log, _guard) = Log::begin();
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 15, Some("10001"));
    target.script([Answer::Failed(Some(600))]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    settle().await;
    for row in store.memory().records.values_mut() {
        row.last_seen = Some(std::time::SystemTime::UNIX_EPOCH);
    }
    delete_expired(&store, &process).await;
    assert_eq!(process.idle().await.dead_letters, 15);
    let log = log.text();
    let deleted = "records before they were sent: they count as dead letters forward=siem \
                   records=15";
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("store.keep")).collect();
    assert!(lines.len() == 1 && lines[0].contains(deleted), "{log}");
}
