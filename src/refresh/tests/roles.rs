//! Which sources a process calls in each role, and what it is to be stored.

use tokio::time::sleep;

use super::replica::*;
use super::script::*;
use crate::outcome::Outcome;
use crate::refresh::*;
use crate::sources::SourceId;
use crate::store::testing::MemoryStore;
use crate::store::{Epoch, KeptUp, Role, SourceReport};

const ALL: [SourceId; 3] = [SourceId::Table(0), DENIAL, PROBING];

/// When data that was fetched now shows as stale.
const STALE_AFTER: Duration = Duration::from_secs(30 + 10);

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_answer_nothing_is_called_until_the_budget_is_over() {
    let replica = Replica::start(&MemoryStore::new(), answers());
    sleep(Duration::from_millis(2900)).await;
    assert_eq!(replica.calls(), 0);
    assert!(replica.bench.snapshot().is_loading());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(replica.calls(), 3);
    sleep(seconds(1)).await;
    assert!(complete(&replica.bench.snapshot()));
    assert!(ALL.iter().all(|source| replica.status(*source).origin.unwrap().lease.is_none()));
    // The store goes on being silent.
    sleep(TTL * 10).await;
    let calls = replica.calls();
    assert!((3 * 11..=3 * 12).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_calls_nothing_that_the_leader_keeps_up() {
    let store = MemoryStore::new();
    let mut replica = Replica::start(&store, answers());
    replica.follow(kept_up()).await;
    sleep(seconds(2)).await;
    assert!(replica.bench.snapshot().is_loading(), "callers wait for the leader's first data");
    sleep(seconds(2)).await;
    let snapshot = replica.bench.snapshot();
    assert!(!snapshot.is_loading() && !snapshot.is_fetching_missing(), "but not for ever");
    store_all(&store, Duration::ZERO).await;
    replica.follow(kept_up()).await;
    replica.bench.until("restored", complete).await;
    // Neither while it is stale, nor when it is missing.
    sleep(STALE_AFTER + seconds(1)).await;
    assert_eq!(replica.bench.state(DENIAL), Freshness::Stale);
    sleep(STALE_FOR).await;
    assert_eq!(replica.bench.state(DENIAL), Freshness::Missing);
    assert!(!replica.bench.snapshot().is_fetching_missing());
    assert_eq!(replica.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_follower_calls_what_the_leader_does_not_keep_up_once_it_is_stale() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let replica = Replica::start(&store, answers());
    let others = kept_up().0.iter().filter(|(name, _)| name != "denial").cloned().collect();
    replica.follow(KeptUp(Arc::new(others))).await;
    sleep(seconds(29)).await;
    assert_eq!(replica.calls(), 0);
    sleep(seconds(2)).await;
    assert_eq!((replica.bench.script.calls_of(DENIAL).len(), replica.calls()), (1, 1));
    sleep(seconds(1)).await;
    assert_eq!(replica.status(DENIAL).origin.unwrap().lease, None);
    sleep(TTL * 4).await;
    let calls = replica.bench.script.calls_of(DENIAL).len();
    assert!((5..=6).contains(&calls), "then each ttl: {calls}");
    assert_eq!(replica.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_brings_during_a_call_stays() {
    for answer in [incidents(20, &["70"]), fail(20, Outcome::Body)] {
        let store = MemoryStore::new();
        store_all(&store, seconds(10)).await;
        let [identities, _, probing] = answers();
        let mut replica = Replica::start(&store, [identities, vec![answer], probing]);
        let others = kept_up().0.iter().filter(|(name, _)| name != "denial").cloned().collect();
        replica.follow(KeptUp(Arc::new(others))).await;
        sleep(seconds(35)).await;
        assert_eq!(replica.calls(), 1);
        // The leader keeps the source up by now.
        let report = SourceReport::default();
        stored(&store, DENIAL, seconds(2), Stored::Records(&["7", "9"]), report).await;
        replica.follow(kept_up()).await;
        let has_9 = |snapshot: &Snapshot| snapshot.view.index().employee("9").is_some();
        replica.bench.until("restored", has_9).await;
        let view = replica.bench.snapshot().view.id();
        sleep(seconds(22)).await;
        assert_eq!(replica.bench.snapshot().view.id(), view);
        let status = replica.status(DENIAL);
        assert!(status.last_error.is_none() && status.next_attempt.is_some());
        assert_eq!(replica.bench.state(DENIAL), Freshness::Fresh);
        assert!(replica.age(DENIAL) >= seconds(24), "{:?}", replica.age(DENIAL));
        assert_eq!(replica.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_missing_and_not_kept_up_is_called_at_once() {
    let store = MemoryStore::new();
    let replica = Replica::start(&store, answers());
    replica.follow(KeptUp::default()).await;
    sleep(seconds(2)).await;
    assert_eq!(replica.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_detached_process_calls_once_data_is_stale_and_gives_way_to_the_store() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let own = [vec![table(1, "{}")], vec![incidents(1, &["70"])], vec![incidents(1, &["80"])]];
    let mut replica = Replica::start(&store, own);
    replica.follow(kept_up()).await;
    replica.bench.until("restored", complete).await;
    replica.detach();
    sleep(seconds(28)).await;
    assert_eq!(replica.calls(), 0);
    sleep(seconds(4)).await;
    assert_eq!(replica.calls(), 3);
    assert!(replica.bench.snapshot().view.index().employee("70").is_some());
    sleep(TTL * 3).await;
    let calls = replica.calls();
    assert!((9..=12).contains(&calls), "then each ttl: {calls}");
    // The store is back, with data that is old by now.
    replica.follow(kept_up()).await;
    sleep(seconds(2)).await;
    assert!(replica.bench.snapshot().view.index().employee("70").is_some());
    // The leader has refreshed, somewhat earlier than this process.
    sleep(seconds(3)).await;
    let age = replica.age(DENIAL) + seconds(1);
    let report = SourceReport::default();
    stored(&store, DENIAL, age, Stored::Records(&["7", "9"]), report).await;
    replica.follow(kept_up()).await;
    replica.bench.until("restored", |snapshot| snapshot.view.index().employee("9").is_some()).await;
    assert!(replica.bench.snapshot().view.index().employee("70").is_none());
    let calls = replica.calls();
    sleep(TTL * 2).await;
    assert_eq!(replica.calls(), calls, "it follows again");
}

#[tokio::test(start_paused = true)]
async fn a_leader_goes_on_until_its_lease_has_run_out() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, answers());
    replica.lead(1).await;
    replica.bench.until("restored", complete).await;
    let until = Instant::now() + seconds(25);
    replica.handle.update(|state| state.role = Role::Leader { epoch: Epoch(1), until });
    sleep(seconds(24)).await;
    assert_eq!(replica.calls(), 3);
    assert!(ALL.iter().all(|source| replica.status(*source).origin.unwrap().lease == Some(1)));
    let last = replica.age(DENIAL);
    sleep(STALE_AFTER.saturating_sub(last + seconds(1))).await;
    assert_eq!(replica.calls(), 3, "its own data counts as that of the store");
    sleep(seconds(4)).await;
    assert_eq!(replica.calls(), 6);
    assert!(ALL.iter().all(|source| replica.status(*source).origin.unwrap().lease.is_none()));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_brings_after_the_lease_is_lost_is_not_to_be_stored() {
    let store = MemoryStore::new();
    let slow = || vec![incidents(5, &["7"])];
    let mut replica = Replica::start(&store, [vec![table(1, "{}")], slow(), slow()]);
    replica.lead(1).await;
    sleep(seconds(2)).await;
    assert_eq!(replica.status(SourceId::Table(0)).origin.unwrap().lease, Some(1));
    replica.lead(2).await;
    replica.bench.until("all", complete).await;
    assert_eq!(replica.status(DENIAL).origin.unwrap().lease, None, "begun under another lease");
}

#[tokio::test(start_paused = true)]
async fn restored_data_is_still_that_of_the_store_when_renewing_it_fails() {
    let store = MemoryStore::new();
    store_all(&store, seconds(25)).await;
    let [identities, _, probing] = answers();
    let mut replica = Replica::start(&store, [identities, vec![fail(1, Outcome::Body)], probing]);
    replica.lead(3).await;
    replica.bench.until("restored", complete).await;
    sleep(seconds(8)).await;
    let status = replica.status(DENIAL);
    assert!(status.consecutive_failures > 0 && replica.age(DENIAL) > seconds(30));
    assert_eq!(status.origin.unwrap().lease, None);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_goes_on_where_the_last_has_stopped() {
    let store = MemoryStore::new();
    let first = Replica::start(&store, answers());
    let mut second = Replica::start(&store, answers());
    first.lead(1).await;
    let recording = first.keep_recording(1);
    let following = second.keep_following();
    second.bench.until("restored", complete).await;
    sleep(TTL * 4 + seconds(10)).await;
    assert_eq!(second.calls(), 0);
    assert_eq!(second.bench.document(), first.bench.document());
    let last = first.bench.script.calls_of(DENIAL).last().copied().unwrap();
    recording.abort();
    following.abort();
    drop(first);
    second.lead(2).await;
    sleep(TTL * 2).await;
    let next = second.bench.script.calls_of(DENIAL)[0];
    let gap = next.checked_sub(last).unwrap();
    assert!(gap >= TTL.mul_f64(0.95) && gap <= TTL + seconds(2), "{gap:?}");
    assert_eq!(second.status(DENIAL).origin.unwrap().lease, Some(2));
}

#[tokio::test(start_paused = true)]
async fn three_replicas_call_as_often_as_one() {
    let alone = Replica::start(&MemoryStore::new(), answers());
    alone.lead(1).await;
    let store = MemoryStore::new();
    let replicas = [(); 3].map(|()| Replica::start(&store, answers()));
    let mut calls = 0;
    // Each leads in turn, as in a rolling restart.
    for (epoch, leader) in (1..).zip(0..3) {
        let before: usize = replicas.iter().map(Replica::calls).sum();
        replicas[leader].lead(epoch).await;
        let recording = replicas[leader].keep_recording(epoch);
        let others = replicas.iter().enumerate().filter(|(index, _)| *index != leader);
        let following: Vec<_> = others.map(|(_, replica)| replica.keep_following()).collect();
        sleep(TTL * 10).await;
        for task in following.iter().chain([&recording]) {
            task.abort();
        }
        calls = replicas.iter().map(Replica::calls).sum();
        let others: usize = calls - before;
        assert!((27..=36).contains(&others), "{others} calls in ten ttl");
        let documents = replicas.each_ref().map(|replica| replica.bench.document());
        assert!(documents.iter().all(|document| *document == documents[0]));
    }
    let alone = alone.calls();
    assert!(calls <= alone && calls + 3 >= alone, "{calls} of three, {alone} of one");
}
