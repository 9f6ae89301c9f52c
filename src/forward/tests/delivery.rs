//! What is sent, and when.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::target::{Outlet, Target};
use super::{Process, add, forward, list, settle, stored};
use crate::config::{Batch, Forward, ForwardFrom, Rate, Selection};
use crate::forward::{ForwardState, ForwardStatus};
use crate::metrics;
use crate::store::testing::MemoryStore;
use crate::store::{Store as _, StoredForward};

#[tokio::test(start_paused = true)]
async fn all_records_are_sent_once_in_order_in_full_batches() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let numbers = add(&store, 95, Some("10001"));
    add(&store, 50, None);
    let process = Process::leader(&store, forward("siem"), &target).await;
    let status = process.idle().await;
    assert_eq!(target.taken(), numbers);
    assert_eq!(target.batches().len(), 10);
    let expected =
        ForwardStatus { name: "siem".to_owned(), lag: Some(0), sent: 95, ..Default::default() };
    assert_eq!(status, expected);
    let StoredForward { position, sent, .. } = stored(&store, "siem");
    assert!((95..=145).contains(&position) && sent == 95);
    // The end was read, so nothing was counted.
    assert!(store.calls("count_due") <= 1);
    let more = add(&store, 3, Some("10001"));
    process.note_write();
    process.wait_for(|status| status.sent == 98).await;
    assert_eq!(target.taken()[95..], more);
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_the_limits_in_bytes_and_larger_records_go_alone() {
    let (store, target) = (MemoryStore::new(), Target::new());
    // Each record takes 27 bytes of a body.
    for (max_bytes, size) in [(1 << 10, 10), (100, 3), (54, 2), (10, 1)] {
        let numbers = add(&store, 25, Some("10001"));
        let batch = Batch { max_bytes, ..forward("siem").batch };
        let name = format!("siem{size}");
        let forward = Forward { batch, from: ForwardFrom::Beginning, ..forward(&name) };
        let process = Process::leader(&store, forward, &target).await;
        process.idle().await;
        let batches = target.batches();
        let last = batches.iter().rev().take(25_usize.div_ceil(size));
        assert!(last.clone().all(|batch| batch.len() <= size), "{batches:?}");
        assert!(target.taken().ends_with(&numbers));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_more_records_but_not_when_it_is_full() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let batch = Batch { max_wait: Duration::from_secs(1), ..forward("siem").batch };
    let process = Process::leader(&store, Forward { batch, ..forward("siem") }, &target).await;
    settle().await;
    let started = Instant::now();
    for _ in 0..3 {
        add(&store, 3, Some("10001"));
        process.note_write();
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(target.batches().len(), 0);
    assert_eq!(process.status().lag, Some(9));
    assert_eq!(process.status().state, ForwardState::Sending);
    process.idle().await;
    let waited = started.elapsed().as_millis();
    assert!((1000..1010).contains(&waited), "{waited}");
    assert_eq!(target.batches(), [list(1..=9)]);
    // A full one goes at once, and the rest waits for as long as it may.
    let started = Instant::now();
    add(&store, 12, Some("10001"));
    process.note_write();
    settle().await;
    assert_eq!(target.batches()[1..], [list(10..=19)]);
    process.idle().await;
    let waited = started.elapsed().as_millis();
    assert!((1000..1010).contains(&waited), "{waited}");
    assert_eq!(target.batches()[2..], [list(20..=21)]);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_forgotten_while_they_wait_are_not_sent() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let batch = Batch { max_wait: Duration::from_mins(5), ..forward("siem").batch };
    let process = Process::leader(&store, Forward { batch, ..forward("siem") }, &target).await;
    add(&store, 2, Some("10001"));
    add(&store, 3, Some("10002"));
    process.note_write();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(store.forget("10001").await, Ok(2));
    process.wait_for(|status| status.sent > 0).await;
    assert_eq!(target.batches(), [[3, 4, 5]]);
}

#[tokio::test(start_paused = true)]
async fn records_are_found_that_nobody_has_told_of() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.idle().await;
    // As when the answer of a write was lost that took effect.
    let numbers = add(&store, 3, Some("10001"));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(target.batches(), [numbers]);
    assert_eq!((process.status().sent, process.status().lag), (3, Some(0)));
    // Looking costs little.
    let calls = store.calls("due");
    sleep(Duration::from_mins(1)).await;
    assert!(store.calls("due") - calls <= 13);
}

#[tokio::test(start_paused = true)]
async fn requests_keep_to_the_rate_evenly() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 55, Some("10001"));
    let rate = Some(Rate { requests: 120, per: Duration::from_mins(1) });
    let process = Process::leader(&store, Forward { rate, ..forward("siem") }, &target).await;
    process.idle().await;
    let requests = target.requests();
    for pair in requests.windows(2) {
        let gap = (pair[1].at - pair[0].at).as_millis();
        assert!((500..505).contains(&gap), "{gap}");
    }
    assert_eq!(requests.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn at_a_slow_rate_batches_are_read_again_before_they_are_sent() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 55, Some("10001"));
    let rate = Some(Rate { requests: 1, per: Duration::from_mins(1) });
    let process = Process::leader(&store, Forward { rate, ..forward("siem") }, &target).await;
    process.wait_for(|status| status.sent == 20).await;
    let before = store.calls("due");
    process.wait_for(|status| status.sent == 50).await;
    // Of each minute: the batch, the next one while it is sent, and none beside those.
    let calls = store.calls("due") - before;
    assert!((6..=7).contains(&calls), "{calls}");
    process.idle().await;
    assert_eq!(target.requests().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn selected_records_are_sent_and_the_others_passed_over() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 15_000, None);
    let number = add(&store, 1, Some("10001"));
    add(&store, 3000, None);
    let all = Selection { unattributed: true, ..Selection::default() };
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.idle().await;
    assert_eq!(target.taken(), number);
    // The position is behind all of it, because it moved with what was sent or far enough alone.
    assert!(stored(&store, "siem").position >= 15_001);
    let calls = store.calls("advance");
    assert!(calls <= 3, "{calls}");
    drop(process);
    let target = Target::new();
    let forward = Forward { select: all, ..forward("all") };
    let process = Process::leader(&store, forward, &target).await;
    process.idle().await;
    assert_eq!(target.taken(), list(1..=18_001));
}

#[tokio::test(start_paused = true)]
async fn forwards_do_not_hold_up_each_other_and_a_reload_keeps_those_that_have_not_changed() {
    let (store, target, other) = (MemoryStore::new(), Target::new(), Target::new());
    add(&store, 30, Some("10001"));
    other.delay(Duration::from_hours(10));
    let (siem, pager) =
        (Outlet::new(forward("siem"), &target), Outlet::new(forward("pager"), &other));
    let process = Process::start(&store, vec![pager, siem]);
    process.lead(&store).await;
    let mut statuses = process.statuses.clone();
    statuses.wait_for(|statuses| statuses[1].sent == 30).await.unwrap();
    assert_eq!(other.in_flight(), 1);
    assert_eq!(process.status().lag, Some(30));
    let mut registry = metrics::registry();
    let has = |registry: &_, series: &str| {
        metrics::encode(registry).contains(&format!("\nincident_gateway_forward_{series}\n"))
    };
    assert!(!metrics::encode(&registry).contains("forward"));
    process.metrics.register_in(&mut registry);
    assert!(has(&registry, "sent_total{forward=\"siem\"} 30"));
    assert!(has(&registry, "sent_total{forward=\"pager\"} 0"));
    assert!(has(&registry, "failed_total{forward=\"pager\"} 0"));
    assert!(has(&registry, "dead_letters_total{forward=\"siem\"} 0"));
    assert!(has(&registry, "lag_records{forward=\"pager\"} 30"));
    assert!(has(&registry, "lag_records{forward=\"siem\"} 0"));
    // Settings that are equal change nothing, in whatever order they are.
    process.set(vec![Outlet::new(forward("siem"), &target), Outlet::new(forward("pager"), &other)]);
    settle().await;
    assert_eq!((other.in_flight(), other.requests().len()), (1, 1));
    assert_eq!(process.status().sent, 30);
    // The one that has changed begins where its position is; the other one ends.
    let batch = Batch { max_records: 4, ..forward("pager").batch };
    other.delay(Duration::ZERO);
    process.set(vec![Outlet::new(Forward { batch, ..forward("pager") }, &other)]);
    process.wait_for(|status| status.name == "pager" && status.sent == 30).await;
    assert_eq!(other.taken(), list(1..=30));
    assert_eq!(other.batches()[1].len(), 4);
    assert!(!metrics::encode(&registry).contains("siem"));
    assert!(has(&registry, "sent_total{forward=\"pager\"} 30"));
    process.set(Vec::new());
    settle().await;
    assert!(process.statuses.borrow().is_empty());
    assert!(!process.task.is_finished());
}
