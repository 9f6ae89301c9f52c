//! A process takes last good data and statuses from the store.

use tokio::time::sleep;

use super::replica::*;
use super::script::*;
use crate::delta::Baseline;
use crate::outcome::Outcome;
use crate::refresh::*;
use crate::snapshot::Completeness;
use crate::sources::SourceId;
use crate::store::testing::MemoryStore;
use crate::store::{SourceReport, StoreError};

const TABLE: SourceId = SourceId::Table(0);
const ALL: [SourceId; 3] = [TABLE, DENIAL, PROBING];

fn failing(after: u64) -> [Vec<Answer>; 3] {
    [(); 3].map(|()| vec![fail(after, Outcome::Timeout)])
}

#[tokio::test(start_paused = true)]
async fn a_restarted_leader_serves_at_once_with_true_ages_and_calls_when_data_is_due() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, answers());
    sleep(seconds(1)).await;
    assert_eq!(replica.calls(), 0, "it waits for the store");
    assert!(replica.bench.snapshot().is_loading());
    replica.lead(1).await;
    let took = replica.bench.until("restored", complete).await;
    assert!(took < seconds(1), "{took:?}");
    assert_eq!(replica.bench.snapshot().view.index().employee_count(), 2);
    for source in ALL {
        let age = replica.age(source);
        assert!(age >= seconds(11) && age < seconds(12), "{source:?}: {age:?}");
        let status = replica.status(source);
        assert_eq!(status.origin.unwrap().lease, None, "it is stored already");
        assert!(status.was_attempted && status.next_attempt.is_some());
        assert_eq!(status.last_success, Some(status.fetched_at.unwrap().wall()));
    }
    assert_eq!(replica.status(DENIAL).records, 1);
    sleep(Duration::from_millis(15_500)).await;
    assert_eq!(replica.calls(), 0, "not before it is due");
    sleep(TTL.mul_f64(0.05) + seconds(4)).await;
    assert_eq!(replica.calls(), 3);
    assert!(ALL.iter().all(|source| replica.age(*source) < seconds(5)));
    assert!(ALL.iter().all(|source| replica.status(*source).origin.unwrap().lease == Some(1)));
}

#[tokio::test(start_paused = true)]
async fn sources_that_are_not_stored_are_called_at_once() {
    let store = MemoryStore::new();
    let report = SourceReport::default();
    stored(&store, DENIAL, seconds(5), Stored::Records(&["7"]), report).await;
    let mut replica = Replica::start(&store, answers());
    replica.lead(1).await;
    replica.bench.until("all", complete).await;
    assert!(replica.bench.script.calls_of(DENIAL).is_empty());
    assert_eq!(replica.bench.script.calls_of(PROBING).len(), 1);
    assert_eq!(replica.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn data_that_is_too_old_is_not_served() {
    let store = MemoryStore::new();
    store_all(&store, STALE_FOR + seconds(1)).await;
    let replica = Replica::start(&store, failing(1));
    replica.lead(1).await;
    sleep(seconds(2)).await;
    assert!(!replica.bench.snapshot().has_data() && !replica.bench.snapshot().has_had_data());
    assert_eq!(replica.bench.completeness(), Completeness::Partial);
    assert!(replica.calls() >= 3, "it is called at once");
    assert_eq!(store.calls("records"), 0);
}

#[tokio::test(start_paused = true)]
async fn restored_data_expires_at_its_true_age() {
    let store = MemoryStore::new();
    store_all(&store, seconds(540)).await;
    let mut replica = Replica::start(&store, failing(1));
    replica.lead(1).await;
    replica.bench.until("restored", Snapshot::has_data).await;
    assert_eq!(replica.bench.completeness(), Completeness::Stale);
    let took = replica.bench.until("expired", |snapshot| !snapshot.has_data()).await;
    assert!(took >= seconds(59) && took <= seconds(61), "{took:?}");
    sleep(seconds(100)).await;
    assert!(!replica.bench.snapshot().has_data(), "it is not restored again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_no_call_beyond_the_budget() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, answers());
    replica.lead(1).await;
    store.hang(true);
    sleep(Duration::from_millis(2900)).await;
    assert_eq!(replica.calls(), 0);
    let took = replica.bench.until("fetched", complete).await;
    assert!(took < seconds(2), "{took:?}");
    assert_eq!(replica.calls(), 3);
    // What comes later is older than what was fetched, and is not applied.
    let view = replica.bench.snapshot().view.id();
    store.hang(false);
    sleep(seconds(5)).await;
    assert_eq!(replica.bench.snapshot().view.id(), view);
    assert!(ALL.iter().all(|source| replica.status(*source).origin.unwrap().lease == Some(1)));
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_follower_wait_for_a_store_that_hangs_no_longer_than_the_budget() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, answers());
    replica.follow(kept_up()).await;
    store.hang(true);
    let took = replica.bench.until("no wait", |snapshot| !snapshot.is_loading()).await;
    assert!(took >= seconds(2) && took <= seconds(4), "{took:?}");
    assert_eq!(replica.calls(), 0, "the leader keeps the sources up");
    store.hang(false);
    replica.bench.until("restored", complete).await;
}

#[tokio::test(start_paused = true)]
async fn data_that_is_restored_late_is_served_while_nothing_newer_was_fetched() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, failing(2));
    replica.lead(1).await;
    store.hang(true);
    sleep(seconds(20)).await;
    assert!(!replica.bench.snapshot().has_data() && !replica.bench.snapshot().is_loading());
    store.hang(false);
    replica.bench.until("restored", Snapshot::has_data).await;
    assert!(ALL.iter().all(|source| replica.age(*source) >= seconds(30)));
}

#[tokio::test(start_paused = true)]
async fn reading_is_tried_again_after_the_store_has_failed() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, failing(3600));
    replica.lead(1).await;
    store.fail(Some(StoreError::Unavailable("scripted".to_owned())));
    sleep(seconds(2)).await;
    assert!(!replica.bench.snapshot().has_data());
    store.fail(None);
    assert!(replica.bench.until("restored", complete).await <= seconds(1));
}

#[tokio::test(start_paused = true)]
async fn data_that_cannot_be_used_is_fetched() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    for row in store.memory().records.values_mut().filter(|row| row.source == "denial") {
        row.record.bytes = bytes::Bytes::from_static(b"{");
    }
    store.memory().sources.get_mut("identities").unwrap().table = Some(vec![0, 1, 2]);
    let mut replica = Replica::start(&store, answers());
    replica.lead(1).await;
    replica.bench.until("all", complete).await;
    assert_eq!(replica.calls(), 2, "the third source was restored");
    assert!(replica.bench.script.calls_of(PROBING).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_follower_calls_what_it_cannot_read_until_it_can() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    store.memory().sources.get_mut("identities").unwrap().table = Some(vec![0, 1, 2]);
    let mut replica = Replica::start(&store, answers());
    replica.follow(kept_up()).await;
    replica.bench.until("all", complete).await;
    assert_eq!(replica.bench.script.calls_of(TABLE).len(), 1);
    assert_eq!(replica.status(TABLE).origin.unwrap().lease, None);
    let table = Stored::Table(r#"{"17.0.0.1":7}"#);
    stored(&store, TABLE, Duration::ZERO, table, SourceReport::default()).await;
    replica.follow(kept_up()).await;
    sleep(TTL * 5).await;
    assert_eq!(replica.status(TABLE).records, 1);
    assert_eq!(replica.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_what_the_leader_reported() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let report = SourceReport {
        records: 9,
        bytes: 1234,
        pages: 3,
        duplicates: 2,
        truncated: true,
        consecutive_failures: 4,
        last_error: Some(("timeout".to_owned(), "it took long".to_owned())),
        last_attempt: Some(1_772_000_000.5),
        last_duration: Some(2.5),
        resume: Some(crate::snapshot::ResumeTimes { now: 7, full_at: 5 }),
    };
    stored(&store, DENIAL, seconds(10), Stored::Unchanged, report).await;
    let mut replica = Replica::start(&store, answers());
    replica.follow(kept_up()).await;
    replica.bench.until("restored", Snapshot::has_data).await;
    sleep(seconds(1)).await;
    let status = replica.status(DENIAL);
    assert_eq!((status.records, status.bytes, status.pages), (1, 1234, 3), "records are counted");
    assert_eq!((status.duplicates, status.truncated), (2, true));
    assert_eq!(status.consecutive_failures, 4);
    let error = status.last_error.clone().unwrap();
    assert_eq!((error.kind, &*error.detail), (Outcome::Timeout, "it took long"));
    assert_eq!(status.last_duration, Some(Duration::from_millis(2500)));
    assert_eq!(status.resume.unwrap().now, 7);
    assert_eq!(replica.bench.state(DENIAL), Freshness::Stale, "as at the leader");
    assert!(status.next_attempt.is_some_and(|next| next >= Instant::now() - seconds(1)));
    assert_eq!(replica.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_is_read_and_equal_records_are_repeated() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let mut replica = Replica::start(&store, answers());
    replica.follow(kept_up()).await;
    replica.bench.until("restored", complete).await;
    // Whatever is read again cannot be decoded.
    for row in store.memory().records.values_mut() {
        row.record.bytes = bytes::Bytes::from_static(b"{");
    }
    let mut baseline = Baseline::default();
    let first = baseline.advance(&replica.bench.snapshot().view);
    assert!(first.iter().all(|delta| delta.is_first));
    let reads = store.calls("records");
    stored(&store, DENIAL, seconds(1), Stored::Unchanged, SourceReport::default()).await;
    replica.follow(kept_up()).await;
    sleep(seconds(1)).await;
    assert_eq!(store.calls("records"), reads, "its age alone has changed");
    assert!(replica.age(DENIAL) < seconds(3));
    let view = replica.bench.snapshot().view.id();
    let whos = ["7", "9"];
    stored(&store, DENIAL, Duration::ZERO, Stored::Records(&whos), SourceReport::default()).await;
    {
        // The new record twice.
        let mut memory = store.memory();
        let sequence = &mut memory.sources.get_mut("denial").unwrap().sequence;
        let last = *sequence.last().unwrap();
        sequence.push(last);
    }
    replica.follow(kept_up()).await;
    replica.bench.until("the next", |snapshot| snapshot.view.id() != view).await;
    let snapshot = replica.bench.snapshot();
    assert_eq!(snapshot.view.index().incident_count(), 4);
    assert_eq!(store.calls("records"), reads + 1);
    let added = baseline.advance(&snapshot.view);
    assert_eq!(added.len(), 1, "no other source has changed");
    assert_eq!(
        (added[0].is_first, &*added[0].added, added[0].dropped.len()),
        (false, &[1, 2][..], 0)
    );
    assert_eq!(replica.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn records_that_were_forgotten_are_left_out() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let report = SourceReport::default();
    stored(&store, DENIAL, seconds(10), Stored::Records(&["7", "9", "5"]), report).await;
    store.memory().records.retain(|_, row| !row.record.bytes.starts_with(br#"{"who":9"#));
    let mut replica = Replica::start(&store, answers());
    replica.lead(1).await;
    replica.bench.until("restored", complete).await;
    let snapshot = replica.bench.snapshot();
    assert!(snapshot.view.index().employee("9").is_none());
    assert!(["7", "5", "8"].iter().all(|id| snapshot.view.index().employee(id).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_changed_by_a_reload_is_restored_if_it_is_stored() {
    let store = MemoryStore::new();
    store_all(&store, seconds(10)).await;
    let other = {
        let mut config = crate::config::Config::default();
        config.sources[0] = crate::config::Source::plain("denial", "/other/", &["who"]);
        crate::sources::definitions(&config)[DENIAL].clone()
    };
    let mut changed = settings();
    changed.sources[DENIAL].definition = other.clone();
    let mut replica = Replica::start_with(&store, failing(3600), changed);
    replica.follow(kept_up()).await;
    replica.bench.until("restored", Snapshot::has_data).await;
    sleep(seconds(1)).await;
    assert!(replica.status(DENIAL).fetched_at.is_none(), "it is stored under another definition");
    let script = Arc::clone(&replica.bench.script) as Arc<dyn Fetcher>;
    let cache = Arc::clone(&replica.bench.cache);
    let (fetcher, cache) = (script, cache);
    replica.refresh.reconfigure(Reconfiguration { fetcher, cache, settings: settings() });
    replica.bench.until("restored", complete).await;
    assert!(replica.age(DENIAL) >= seconds(11));
}
