//! Processes that share a store, and the end of a process.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::target::{Answer, Outlet, Target};
use super::{LONG, Process, add, forward, list, next_epoch, settle, stored};
use crate::forward::ForwardState;
use crate::store::testing::MemoryStore;
use crate::store::{KeptUp, Role};

fn follower() -> Role {
    Role::Follower { kept_up: KeptUp::default() }
}

#[tokio::test(start_paused = true)]
async fn late_answers_of_a_former_leader_change_nothing() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.delay(Duration::from_secs(5));
    let first = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_secs(7)).await;
    assert_eq!(stored(&store, "siem").position, 10);
    let epoch = first.handle.state().role.epoch(Instant::now()).unwrap();
    first.set_role(Role::Leader { epoch, until: Instant::now() + LONG });
    // The first one does not know that its lease is over.
    let second = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(target.in_flight(), 2);
    second.idle().await;
    let expected = stored(&store, "siem");
    assert_eq!((expected.position, expected.sent), (25, 25));
    add(&store, 5, Some("10001"));
    first.note_write();
    sleep(Duration::from_mins(1)).await;
    // It has noticed when it was to store its position, and sends no more.
    let expected = stored(&store, "siem");
    assert_eq!((expected.position, expected.sent), (30, 30));
    assert_eq!(
        target.batches(),
        [list(1..=10), list(11..=20), list(11..=20), list(21..=25), list(21..=25), list(26..=30)]
    );
    // It takes over again, and begins where the other one has ended.
    second.set_role(follower());
    add(&store, 1, Some("10001"));
    first.lead(&store).await;
    first.wait_for(|status| status.sent == 31).await;
    assert_eq!(target.batches()[6..], [[31]]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_the_request_under_way() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.delay(Duration::from_secs(5));
    let process = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_secs(7)).await;
    next_epoch(&store);
    process.set_role(Role::Detached);
    settle().await;
    assert_eq!(target.in_flight(), 0);
    sleep(Duration::from_mins(1)).await;
    assert_eq!((target.batches().len(), stored(&store, "siem").sent), (2, 10));
    // The time of a lease that is not renewed is over, though nobody has said so.
    let epoch = next_epoch(&store);
    let until = Instant::now() + Duration::from_secs(2);
    process.set_role(Role::Leader { epoch, until });
    sleep(Duration::from_mins(1)).await;
    assert_eq!((target.batches().len(), stored(&store, "siem").sent), (3, 10));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_leaves_ends_its_request_and_stores_it() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.delay(Duration::from_secs(5));
    let mut process = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_secs(6)).await;
    process.handle.update(|state| state.is_leaving = true);
    settle().await;
    assert!(!process.task.is_finished());
    let left = Instant::now();
    timeout(LONG, &mut process.task).await.unwrap().unwrap();
    assert!(left.elapsed() < Duration::from_secs(5));
    assert_eq!((target.batches().len(), stored(&store, "siem").position), (2, 20));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_nothing_under_way_leaves_at_once() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.script(vec![Answer::Failed(Some(3000)); 10]);
    let retrying = Process::leader(&store, forward("siem"), &target).await;
    retrying.wait_for(|status| status.state == ForwardState::Retrying).await;
    let following = Process::start(&store, vec![Outlet::new(forward("siem"), &target)]);
    following.set_role(follower());
    let without = Process::start(&store, Vec::new());
    for mut process in [retrying, following, without] {
        settle().await;
        assert!(!process.task.is_finished());
        process.handle.update(|state| state.is_leaving = true);
        timeout(Duration::from_millis(10), &mut process.task).await.unwrap().unwrap();
    }
}
