//! What is written when a refresh fails, and when the recorder waits or ends.

use std::time::SystemTime;

use super::*;
use crate::outcome::Outcome;
use crate::snapshot::SourceError;
use crate::store::SourceReport;

impl World {
    /// A refresh of a source begins.
    fn begin(&mut self, source: SourceId, seconds: u64) {
        let status = &mut self.statuses[source];
        status.last_attempt = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        status.next_attempt = None;
    }

    /// It failed.
    fn fail(&mut self, source: SourceId) {
        let status = &mut self.statuses[source];
        status.consecutive_failures += 1;
        let detail = "no answer within 10 s".to_owned();
        status.last_error = Some(SourceError { kind: Outcome::Timeout, detail });
        status.next_attempt = Some(Instant::now() + MINUTE);
        status.was_attempted = true;
    }

    async fn publish_and_settle(&mut self) {
        self.publish();
        self.settle().await;
    }

    fn report(&self, source: &str) -> SourceReport {
        self.store.memory().sources[source].report.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_changes_the_report_alone() {
    let mut world = World::new();
    world.batches[0] = Some(plain(&[record(1, 1, 1)]));
    world.succeed(PLAIN);
    world.publish_and_settle().await;
    sleep(MINUTE).await;
    let before = world.store.memory().sources["plain"].clone();
    let first = world.store.memory().writes.len();
    world.begin(PLAIN, 7);
    world.publish_and_settle().await;
    assert_eq!(world.store.memory().writes.len(), first, "the begin alone is not written");
    world.fail(PLAIN);
    world.publish_and_settle().await;
    let after = world.store.memory().sources["plain"].clone();
    assert_eq!((after.revision, after.fetched_at), (before.revision, before.fetched_at));
    let expected = SourceReport {
        consecutive_failures: 1,
        last_error: Some(("timeout".to_owned(), "no answer within 10 s".to_owned())),
        last_attempt: Some(7.0),
        ..before.report
    };
    assert_eq!(after.report, expected);
    world.publish_and_settle().await;
    assert_eq!(world.store.memory().writes.len(), first + 1, "an unchanged report is not written");
    // The data has expired, which changes nothing but what is told of the failures.
    world.statuses[PLAIN] = world.statuses[PLAIN].clone().without_data();
    world.batches[0] = None;
    world.fail(PLAIN);
    world.publish_and_settle().await;
    assert_eq!(world.report("plain"), SourceReport { consecutive_failures: 2, ..expected });
    assert_eq!(world.store.memory().current("plain").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_takeover_a_failure_is_written_though_the_data_is_restored() {
    let mut world = World::new();
    world.batches[0] = Some(plain(&[record(1, 1, 1)]));
    world.succeed(PLAIN);
    world.publish_and_settle().await;
    let first = world.store.memory().writes.len();
    let report = world.report("plain");
    world.store.memory().epoch = 2;
    world.lead(2);
    world.publish_and_settle().await;
    world.fail(PLAIN);
    world.publish_and_settle().await;
    let memory = world.store.memory().clone();
    assert_eq!(memory.writes.len(), first + 1);
    assert_eq!(memory.writes[first].age, None);
    let stored = &memory.sources["plain"].report;
    assert_eq!((stored.records, stored.consecutive_failures), (report.records, 1));
    // Of a source whose data was fetched under another definition, nothing is known there.
    world.statuses[PLAIN].origin.as_mut().unwrap().fingerprint = Fingerprint([2; 32]);
    world.fail(PLAIN);
    world.fail(MAPPED);
    world.publish_and_settle().await;
    assert_eq!(world.store.memory().writes.len(), first + 1);
}

/// A world whose callers wait for every source.
fn loading() -> World {
    let mut world = World::new();
    world.statuses.iter_mut().for_each(|status| status.is_awaited = true);
    world.publish();
    world
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_the_first_data_is_awaited_but_not_for_ever() {
    let mut world = loading();
    world.batches[0] = Some(plain(&[record(1, 1, 0)]));
    world.succeed(PLAIN);
    world.fail(MAPPED);
    world.publish_and_settle().await;
    assert_eq!(world.calls(), 0, "the table is still being fetched");
    sleep(Duration::from_secs(29)).await;
    assert_eq!(world.calls(), 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.store.memory().current("plain").len(), 1);

    let mut world = loading();
    world.batches[0] = Some(plain(&[record(1, 1, 0)]));
    world.succeed(PLAIN);
    world.fail(MAPPED);
    world.publish_and_settle().await;
    world.table = Some(table(&[1]));
    world.succeed(TABLE);
    world.publish_and_settle().await;
    let memory = world.store.memory();
    assert_eq!(memory.current("plain")[0].record.employee_id.as_deref(), Some("e1"));
    assert_eq!(memory.current("plain")[0].number, 1);
}

#[tokio::test(start_paused = true)]
async fn before_the_lease_is_given_back_everything_is_written() {
    let mut world = World::new();
    world.batches[0] = Some(plain(&[record(1, 1, 1)]));
    world.succeed(PLAIN);
    world.begin(PLAIN, 7);
    world.publish_and_settle().await;
    world.handle.update(|state| state.is_leaving = true);
    world.settle().await;
    assert!(!world.task.is_finished(), "a call is under way");
    world.batches[0] = Some(plain(&[record(2, 1, 1)]));
    world.succeed(PLAIN);
    world.publish();
    (&mut world.task).await.unwrap();
    assert_eq!(world.store.memory().records.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_refresh() {
    let mut world = World::new();
    world.batches[0] = Some(plain(&[record(1, 1, 1)]));
    for source in [PLAIN, MAPPED, TABLE] {
        world.succeed(source);
    }
    world.publish();
    let (snapshots, _) = watch::channel(Arc::clone(&world.snapshots.borrow()));
    drop(std::mem::replace(&mut world.snapshots, snapshots));
    world.task.await.unwrap();
    assert_eq!(world.store.memory().records.len(), 1, "what came last is written");
}
