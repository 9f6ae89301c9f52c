//! What is shown while records are being sent.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::target::{Answer, Outlet, Target};
use super::{Process, add, forward, settle};
use crate::config::Forward;
use crate::forward::ForwardState;
use crate::store::testing::MemoryStore;

#[tokio::test(start_paused = true)]
async fn a_forward_is_not_idle_as_long_as_records_are_due() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let process = Process::leader(&store, forward("siem"), &target).await;
    let before = process.idle().await;
    store.delay(Duration::from_millis(7));
    target.delay(Duration::from_millis(20));
    let mut due = 100;
    add(&store, due, Some("10001"));
    process.note_write();
    loop {
        sleep(Duration::from_millis(1)).await;
        let status = process.status();
        if status.sent == 40 && due == 100 {
            // The page of what is written now is read while the last known count is used.
            due += 90;
            add(&store, 90, Some("10001"));
            process.note_write();
        }
        if status.sent == due as u64 {
            break;
        }
        if target.requests().is_empty() {
            assert_eq!(status, before);
        } else {
            assert_eq!(status.state, ForwardState::Sending, "{status:?}");
            assert!(status.lag > Some(0), "{status:?}");
        }
    }
    assert_eq!((due, process.idle().await.sent), (190, 190));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shown_at_once_with_what_is_due() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.idle().await;
    store.delay(Duration::from_millis(7));
    target.script([Answer::Failed(Some(60))]);
    add(&store, 100, Some("10001"));
    process.note_write();
    let status = process.wait_for(|status| status.state == ForwardState::Retrying).await;
    assert!(status.lag >= Some(10), "{status:?}");
    process.wait_for(|status| status.lag == Some(100)).await;
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_settings_are_tried_at_once() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.script([Answer::Failed(None), Answer::Failed(Some(3600))]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!((target.requests().len(), process.status().state), (2, ForwardState::Retrying));
    let started = Instant::now();
    let timeout = Duration::from_secs(5);
    process.set(vec![Outlet::new(Forward { timeout, ..forward("siem") }, &target)]);
    settle().await;
    assert_eq!(process.idle().await.sent, 25);
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_forward_is_not_idle_before_it_knows_what_is_due() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    store.delay(Duration::from_secs(1));
    let process = Process::leader(&store, forward("siem"), &target).await;
    let before = process.status();
    assert_eq!((before.state, before.lag), (ForwardState::Idle, None));
    // What is stored was read, and what is due was not.
    sleep(Duration::from_millis(1500)).await;
    let status = process.status();
    assert_eq!((status.state, status.lag), (ForwardState::Sending, None));
    assert_eq!(process.idle().await.sent, 25);
}
