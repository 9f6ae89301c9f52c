//! Intervals, backoff and the largest age of data after a reload.

use super::*;

#[tokio::test(start_paused = true)]
async fn policies_and_schedules_follow_without_a_fetch() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    sleep(seconds(10)).await;
    let view = running.bench.snapshot().view.id();
    let mut longer = three();
    longer.cache.ttl = 10 * MINUTE;
    longer.cache.stale_for = 20 * MINUTE;
    running.apply(&longer).await;
    let snapshot = running.bench.snapshot();
    assert_eq!((snapshot.view.id(), snapshot.sources[DENIAL].policy.ttl), (view, 10 * MINUTE));
    sleep(9 * MINUTE).await;
    assert_eq!(world.made().len(), 3, "nothing was due");
    // It is overdue by the shorter interval.
    let mut every = longer.clone();
    every.sources[1].every = Some(2 * MINUTE);
    running.apply(&every).await;
    assert_eq!((world.made().len(), world.calls_of("b")), (4, 2));
    sleep(seconds(40)).await;
    assert_eq!(world.made().len(), 6, "the others at their interval");
    let mut shorter = longer;
    shorter.cache.ttl = 5 * MINUTE;
    running.apply(&shorter).await;
    sleep(4 * MINUTE).await;
    assert_eq!(world.made().len(), 6);
    sleep(MINUTE).await;
    assert_eq!(world.made().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_is_followed_by_the_next_at_the_new_interval() {
    for (before, after) in [(10 * MINUTE, MINUTE), (MINUTE, 10 * MINUTE)] {
        for has_every in [false, true] {
            let world = world();
            world.answer("b", incidents(8, &["8"]));
            let with = |interval: Duration| {
                let mut config = three();
                config.cache.ttl = interval;
                config.sources[1].every = has_every.then_some(interval);
                config
            };
            let mut running = Running::start(&world, &with(before));
            sleep(seconds(4)).await;
            assert_eq!(world.in_flight.load(Ordering::Relaxed), 1);
            running.apply(&with(after)).await;
            sleep(after.mul_f64(0.94).saturating_sub(seconds(5))).await;
            assert_eq!(world.calls_of("b"), 1, "{before:?} {has_every}");
            sleep(after.mul_f64(0.07) + seconds(5)).await;
            assert_eq!(world.calls_of("b"), 2, "{before:?} {has_every}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_beyond_a_shorter_stale_for_is_dropped() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    world.answer("b", fail(1, Outcome::Timeout));
    sleep(5 * MINUTE).await;
    assert_eq!(running.bench.state(PROBING), Freshness::Stale);
    let mut shorter = three();
    shorter.cache.stale_for = 2 * MINUTE;
    running.apply(&shorter).await;
    let missing = |snapshot: &Snapshot| snapshot.view.batches()[1].is_none();
    assert!(running.bench.until("missing", missing).await <= seconds(1));
    assert!(running.bench.snapshot().view.batches()[0].is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_keeps_its_backoff_unless_it_changed() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    world.answer("b", Answer::Fail(seconds(1), Outcome::Status, Some(10 * MINUTE)));
    sleep(MINUTE).await;
    let (calls, status) = (world.calls_of("b"), running.bench.snapshot().sources[PROBING].clone());
    running.apply(&three()).await;
    let mut shorter = three();
    shorter.cache.ttl = seconds(5);
    running.apply(&shorter).await;
    sleep(MINUTE).await;
    assert_eq!(world.calls_of("b"), calls, "its upstream asked for a wait");
    let after = running.bench.snapshot().sources[PROBING].clone();
    assert_eq!(after.consecutive_failures, status.consecutive_failures);
    assert_eq!(after.next_attempt, status.next_attempt);
    redefine(&mut shorter, "b");
    running.apply(&shorter).await;
    assert_eq!(world.calls_of("b"), calls + 1);
}
