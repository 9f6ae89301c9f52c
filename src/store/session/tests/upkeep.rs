//! What the leader does beside refreshing, and the count.

use super::*;
use crate::store::{Operation, StoreError};

#[tokio::test(start_paused = true)]
async fn removed_sources_are_dropped_at_the_begin_of_a_term_and_after_a_reload() {
    let database: Arc<Database> = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    let follower = Process::start(&database, 2, Link::Good);
    seconds(60.0).await;
    let retained = || database.with(|data| std::mem::take(&mut data.retained));
    assert_eq!(retained(), [BTreeSet::from(["denial".to_owned()])]);
    let (leader, follower) =
        if leader.holds_the_lease() { (leader, follower) } else { (follower, leader) };
    leader.session.set(settings(&["okta"]));
    follower.session.set(settings(&["okta", "graph"]));
    seconds(60.0).await;
    assert_eq!(retained(), [BTreeSet::from(["okta".to_owned()])]);
    leader.session.leave().await;
    seconds(60.0).await;
    assert_eq!(retained(), [BTreeSet::from(["graph".to_owned(), "okta".to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn expired_records_are_deleted_in_batches_at_least_every_minute_or_keep() {
    for (keep, most) in [(Duration::from_hours(24), 60.0), (Duration::from_secs(1), 1.0)] {
        let database: Arc<Database> = Arc::default();
        let _leader = Process::start_with(&database, 1, Link::Good, keep);
        seconds(120.0).await;
        for expired in [950, 100, 1] {
            database.with(|data| data.expired = expired);
            seconds(most).await;
            // The last look began before they had expired, and there are ten batches.
            seconds(1.5).await;
            assert_eq!(database.with(|data| data.expired), 0, "{keep:?}");
            seconds(random_part_of(most)).await;
        }
        let deletions = database.with(|data| data.deletions.clone());
        let in_a_row = deletions.windows(2).filter(|pair| pair[0].1 > 0);
        for pair in in_a_row {
            assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(100));
        }
    }
}

fn random_part_of(seconds: f64) -> f64 {
    fastrand::Rng::with_seed(seconds.to_bits()).f64() * seconds
}

#[tokio::test(start_paused = true)]
async fn followers_write_nothing() {
    let database: Arc<Database> = Arc::default();
    let (elsewhere, _) = database.connect(9);
    let follower = Process::start(&database, 1, Link::Refused);
    let renewals = async {
        loop {
            let _ = crate::store::Store::acquire_or_renew(&*elsewhere, &KeptUp::default()).await;
            seconds(2.0).await;
        }
    };
    let run = async {
        seconds(1.0).await;
        follower.set_link(Link::Good);
        follower.becomes(is_follower).await;
        database.with(|data| data.expired = 10);
        seconds(300.0).await;
    };
    tokio::select! { () = run => {}, () = renewals => {} }
    database.with(|data| {
        assert!(data.retained.is_empty() && data.deletions.is_empty() && data.expired == 10);
    });
}

#[tokio::test(start_paused = true)]
async fn records_are_counted_after_writes_and_each_minute() {
    let database: Arc<Database> = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(|state| state.records == Some(0)).await;
    database.with(|data| data.records = 7);
    for _ in 0..50 {
        leader.handle.note(Operation::Write, &Ok(()));
        seconds(0.01).await;
    }
    assert!(leader.becomes(|state| state.records == Some(7)).await < Duration::from_secs(2));
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(|state| state.records == Some(7)).await;
    database.with(|data| data.records = 8);
    database.store_revision(1);
    follower.becomes(|state| state.records == Some(8)).await;
    seconds(30.0).await;
    let before = database.with(|data| data.counts);
    seconds(600.0).await;
    let counts = database.with(|data| data.counts) - before;
    // Each process counts after its own deletions, too, of which there are none.
    assert!((16..=62).contains(&counts), "{counts}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_upkeep_shows_until_it_succeeds() {
    let database: Arc<Database> = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    seconds(1.0).await;
    let full = Err::<(), _>(StoreError::Unavailable("disk full".to_owned()));
    leader.handle.note(Operation::Write, &full);
    seconds(120.0).await;
    let state = leader.handle.state();
    assert!(!state.is_up(), "no other success hides it");
    assert_eq!(state.last_error().map(|error| &**error), Some("disk full"));
    leader.handle.note(Operation::Write, &Ok(()));
    assert!(leader.handle.state().is_up());
}

#[tokio::test(start_paused = true)]
async fn concurrency_limits_are_adopted_and_saved_when_they_change() {
    let database: Arc<Database> = Arc::default();
    database.with(|data| data.heads.limits = vec![("default".to_owned(), 5)]);
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    assert_eq!(leader.upstreams.limits(), [("default".to_owned(), 5)]);
    seconds(60.0).await;
    assert_eq!(database.with(|data| data.limit_saves), 0);
    leader.upstreams.adopt_limits(&[("default".to_owned(), 3)]);
    seconds(60.0).await;
    assert_eq!(database.with(|data| data.heads.limits.clone()), [("default".to_owned(), 3)]);
    assert_eq!(database.with(|data| data.limit_saves), 1);
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(is_follower).await;
    assert_eq!(follower.upstreams.limits(), [("default".to_owned(), 3)]);
}
