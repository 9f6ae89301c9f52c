//! Records that are done behind some that are not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, advance, sleep, timeout};

use super::command::{outcome, send};
use super::faults::delete_expired;
use super::target::{Answer, Outlet, Target};
use super::{Process, add, forward, settle, stored};
use crate::forward::{ForwardState, ForwardStatus};
use crate::store::Store as _;
use crate::store::testing::MemoryStore;

/// The receiver takes two of three records, and is to be left alone for an hour.
async fn with_gap(store: &Arc<MemoryStore>, target: &Arc<Target>) -> Process {
    add(store, 3, Some("10001"));
    target.script([Answer::Items(vec![(1, 429)]), Answer::Failed(Some(3600))]);
    let process = Process::leader(store, forward("siem"), target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((target.requests().len(), process.status().lag), (2, Some(3)));
    process
}

fn expire(store: &MemoryStore, is_expired: impl Fn(i64) -> bool) {
    for row in store.memory().records.values_mut() {
        if is_expired(row.number) {
            row.last_seen = Some(SystemTime::UNIX_EPOCH);
        }
    }
}

fn counts(status: &ForwardStatus) -> (u64, u64, Option<&str>) {
    (status.sent, status.dead_letters, status.last_error.as_deref())
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_counts_as_sent_when_all_is_forgotten() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let process = with_gap(&store, &target).await;
    store.forget("10001").await.unwrap();
    let started = Instant::now();
    assert_eq!(counts(&process.idle().await), (2, 0, None));
    // It does not wait until the receiver would be tried again.
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    add(&store, 1, Some("10001"));
    process.note_write();
    settle().await;
    assert_eq!(counts(&process.idle().await), (3, 0, None));
    assert_eq!(target.taken(), [2, 3, 4]);
    assert_eq!(stored(&store, "siem").position, 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_no_dead_letter_when_keep_deletes_it() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let process = with_gap(&store, &target).await;
    expire(&store, |number| number == 2);
    delete_expired(&store, &process).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(stored(&store, "siem").dead_letters, 0);
    expire(&store, |_| true);
    let started = Instant::now();
    delete_expired(&store, &process).await;
    assert_eq!(counts(&process.idle().await), (2, 1, None));
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    assert!(store.memory().records.is_empty());
    settle().await;
    let stored = stored(&store, "siem");
    assert_eq!((stored.sent, stored.dead_letters, stored.position), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_counts_as_sent_when_it_gets_another_number() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 1, Some("10001"));
    add(&store, 2, None);
    target.script([Answer::Items(vec![(1, 429)])]);
    let mut forward = forward("siem");
    forward.select.unattributed = true;
    let process = Process::leader(&store, forward, &target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    {
        let now = store.now();
        let mut memory = store.memory();
        let mut row = memory.records.values().find(|row| row.number == 3).cloned().unwrap();
        row.record.employee_id = Some("10001".into());
        memory.upsert("denial", row.record, now);
    }
    process.note_write();
    let status = process.wait_for(|status| status.sent == 4).await;
    assert_eq!(counts(&status), (4, 0, None));
    assert_eq!(target.taken(), [2, 3, 1, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_command_ends_when_all_is_forgotten() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 3, Some("10001"));
    target.script([Answer::Items(vec![(1, 429)])]);
    let outlets = [Outlet::new(forward("siem"), &target)];
    let forget = async {
        sleep(Duration::from_millis(100)).await;
        store.forget("10001").await.unwrap();
    };
    let both = async { tokio::join!(send(&store, &outlets), forget) };
    let (outcomes, ()) = timeout(Duration::from_mins(1), both).await.expect("it ends");
    assert_eq!(outcomes, [outcome("siem", 2, 0, 0, "")]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_is_forgiven_when_keep_has_deleted_all() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 3, Some("10001"));
    target.script([Answer::Failed(Some(3600))]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.wait_for(|status| status.state == ForwardState::Retrying).await;
    settle().await;
    expire(&store, |_| true);
    advance(Duration::from_secs(1)).await;
    let started = Instant::now();
    delete_expired(&store, &process).await;
    assert_eq!(counts(&process.idle().await), (0, 3, None));
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    settle().await;
    assert!(!stored(&store, "siem").report.is_retrying);
}
