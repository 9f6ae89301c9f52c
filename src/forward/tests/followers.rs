//! What processes show that do not send.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::target::{Answer, Outlet, Target};
use super::{Process, add, forward, stored};
use crate::forward::ForwardState;
use crate::store::testing::MemoryStore;
use crate::store::{ForwardStore as _, Heads, KeptUp, Role};

#[tokio::test(start_paused = true)]
async fn followers_show_what_the_leader_does() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.script([Answer::Honest, Answer::Failed(Some(60))]);
    let leader = Process::leader(&store, forward("siem"), &target).await;
    let follower = Process::start(&store, vec![Outlet::new(forward("siem"), &target)]);
    assert_eq!(follower.status().lag, None);
    follower.set_role(Role::Follower { kept_up: KeptUp::default() });
    let status = follower.wait_for(|status| status.state == ForwardState::Retrying).await;
    assert_eq!((status.sent, status.lag), (10, Some(15)));
    assert_eq!(status, leader.status());
    leader.idle().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(follower.status(), leader.status());
    // It reads sooner when others have stored.
    sleep(Duration::from_secs(1)).await;
    add(&store, 1, Some("10001"));
    leader.note_write();
    leader.wait_for(|status| status.sent == 26).await;
    assert_eq!(follower.status().sent, 25);
    follower.handle.update(|state| state.heads = Some(Arc::new(Heads::default())));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(follower.status(), leader.status());
    assert_eq!(target.taken().len(), 26);
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_counted_while_the_receiver_does_not_answer() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 100, Some("10001"));
    target.delay(Duration::from_hours(1));
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.wait_for(|status| status.lag == Some(100)).await;
    add(&store, 7, Some("10001"));
    process.note_write();
    let status = process.wait_for(|status| status.lag == Some(107)).await;
    assert_eq!(status.state, ForwardState::Sending);
    // Another process has deleted some, and tells nobody.
    store.memory().records.retain(|_, row| row.number <= 50);
    process.wait_for(|status| status.lag == Some(50)).await;
    let calls = store.calls("count_due");
    sleep(Duration::from_mins(1)).await;
    let calls = store.calls("count_due") - calls;
    assert!((10..=13).contains(&calls), "{calls}");
    assert_eq!(stored(&store, "siem").position, 0);
}

#[tokio::test(start_paused = true)]
async fn a_forward_that_a_reload_adds_waits_until_it_has_begun() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 5, Some("10001"));
    let process = Process::start(&store, Vec::new());
    process.lead(&store).await;
    process.set(vec![Outlet::new(forward("siem"), &target)]);
    sleep(Duration::from_secs(3)).await;
    assert!(target.requests().is_empty());
    let epoch = process.handle.state().role.epoch(tokio::time::Instant::now()).unwrap();
    let begun = [("siem".to_owned(), forward("siem").from)];
    store.begin_forwards(epoch, &begun).await.unwrap();
    assert_eq!(process.wait_for(|status| status.sent > 0).await.sent, 5);
}
