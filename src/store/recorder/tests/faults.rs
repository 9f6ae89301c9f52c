//! A store that is slow, fails or is lost, and data that is not to be stored.

use std::sync::Weak;

use super::*;
use crate::store::testing::texts;
use crate::store::{Content, Store as _, StoreError};

async fn world_with_records() -> World {
    let mut world = World::new();
    world.table = Some(table(&[1, 2]));
    world.batches =
        [Some(plain(&[record(1, 1, 0)])), Some(mapped(&[record(1, 1, 0), record(2, 1, 1)]))];
    world.refresh().await;
    world
}

fn writes(world: &World) -> usize {
    world.store.memory().writes.len()
}

#[tokio::test(start_paused = true)]
async fn what_is_published_is_stored() {
    let world = world_with_records().await;
    let memory = world.store.memory();
    assert_eq!(memory.writes.len(), 3, "one for each source, the table first");
    assert_eq!(memory.writes[0].name, "table");
    assert_eq!(texts(&memory.current("plain")), [record(1, 1, 0)]);
    let mapped = memory.current("mapped");
    let employees: Vec<_> = mapped.iter().map(|row| row.record.employee_id.as_deref()).collect();
    assert_eq!(employees, [Some("e1"), Some("e2")]);
    assert_eq!(memory.sources["mapped"].report.records, 2);
    drop(memory);
    assert!(world.handle.state().is_up());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_brings_nothing_new_writes_one_row_and_reads_nothing() {
    let mut world = world_with_records().await;
    let (reads, first) = (world.calls() - writes(&world), writes(&world));
    world.refresh().await;
    // Equal data of another body.
    world.batches[1] = Some(mapped(&[record(1, 1, 0), record(2, 1, 1)]));
    world.refresh().await;
    assert_eq!(writes(&world), first + 6);
    assert_eq!(world.calls() - writes(&world), reads);
    assert!(world.store.memory().writes[first..].iter().all(|write| write.content.is_none()));
    world.publish();
    world.settle().await;
    assert_eq!(writes(&world), first + 6, "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn while_a_write_is_under_way_newer_snapshots_replace_each_other() {
    let mut world = world_with_records().await;
    let first = writes(&world);
    world.store.hang(true);
    let mut bodies: Vec<Weak<Incidents>> = Vec::new();
    for version in 2..6 {
        world.batches[1] = Some(mapped(&[record(1, version, 0)]));
        bodies.extend(world.batches[1].as_ref().map(Arc::downgrade));
        world.refresh().await;
    }
    let alive = bodies.iter().filter(|body| body.strong_count() > 0).count();
    assert_eq!(alive, 1, "the newest; the recorder keeps none");
    world.store.hang(false);
    world.settle().await;
    let memory = world.store.memory();
    let of_mapped = memory.writes[first..].iter().filter(|write| write.name == "mapped");
    assert_eq!(of_mapped.count(), 1);
    let stored = memory.current("mapped");
    assert!(texts(&stored)[0].contains("\"timestamp\":1700000005"));
    assert_eq!(memory.records.len(), 3, "the record that left stays in the history");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_written_is_tried_again_with_the_newest_data() {
    let mut world = world_with_records().await;
    let fault = StoreError::Unavailable("the disk is full".to_owned());
    world.store.fail(Some(fault));
    let before = world.store.calls("write");
    world.batches[1] = Some(mapped(&[record(1, 2, 0)]));
    world.refresh().await;
    assert_eq!(world.store.calls("write"), before + 1, "then the heads cannot be read");
    let state = world.handle.state();
    assert_eq!(state.last_error().map(|error| &**error), Some("the disk is full"));
    assert!(!state.is_up());
    let calls = world.calls();
    sleep(MINUTE * 10).await;
    let tries = world.calls() - calls;
    assert!((20..30).contains(&tries), "{tries}: every 30 s, more often at first");
    world.batches[1] = Some(mapped(&[record(1, 3, 0)]));
    world.refresh().await;
    world.store.fail(None);
    sleep(Duration::from_secs(30)).await;
    assert!(texts(&world.store.memory().current("mapped"))[0].contains("\"timestamp\":1700000003"));
    assert!(world.handle.state().is_up());
    assert_eq!(world.store.calls("sequence"), 2, "what is stored has not changed meanwhile");
}

/// On a full disk a source with nothing new may still be written.
#[tokio::test(start_paused = true)]
async fn the_store_is_down_until_every_source_can_be_written() {
    let mut world = world_with_records().await;
    world.store.fail_writes_of(Some("mapped"));
    for version in 2..5 {
        world.batches[1] = Some(mapped(&[record(1, version, 0)]));
        world.refresh().await;
        assert!(!world.handle.state().is_up(), "others were written after it or before");
        sleep(MINUTE).await;
        assert!(!world.handle.state().is_up());
    }
    world.store.fail_writes_of(None);
    sleep(MINUTE).await;
    assert!(world.handle.state().is_up());
    assert!(texts(&world.store.memory().current("mapped"))[0].contains("\"timestamp\":1700000004"));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_noticed_by_the_revision() {
    let mut world = world_with_records().await;
    world.store.lose_answers(true);
    world.batches[1] = Some(mapped(&[record(1, 2, 0)]));
    world.refresh().await;
    world.store.lose_answers(false);
    // The stored record is no longer the one that the recorder knew, though its content is.
    world.batches[1] = Some(mapped(&[record(1, 1, 0)]));
    sleep(MINUTE).await;
    world.refresh().await;
    let memory = world.store.memory();
    assert!(texts(&memory.current("mapped"))[0].contains("\"timestamp\":1700000001"));
    assert_eq!(memory.current("mapped").len(), 1);
}

/// The server may commit a write long after its connection was lost, and after its heads were read.
#[tokio::test(start_paused = true)]
async fn a_write_that_takes_effect_late_is_noticed() {
    let mut world = world_with_records().await;
    let sequences = world.store.calls("sequence");
    {
        let mut memory = world.store.memory();
        memory.last_revision += 1;
        let revision = memory.last_revision;
        memory.sources.get_mut("mapped").unwrap().revision = revision;
    }
    world.batches[1] = Some(mapped(&[record(1, 2, 0)]));
    world.refresh().await;
    assert_eq!(world.store.calls("sequence"), sequences + 2, "what is stored is read again");
    let memory = world.store.memory();
    assert!(texts(&memory.current("mapped"))[0].contains("\"timestamp\":1700000002"));
    assert_eq!(memory.current("mapped").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_written() {
    let mut world = world_with_records().await;
    let first = writes(&world);
    // In the middle of a write another process takes the lease.
    world.store.hang(true);
    world.batches[1] = Some(mapped(&[record(1, 2, 0)]));
    world.refresh().await;
    world.store.memory().epoch = 2;
    world.store.hang(false);
    world.settle().await;
    let calls = world.calls();
    world.refresh().await;
    sleep(MINUTE * 10).await;
    assert_eq!((world.calls(), writes(&world)), (calls, first), "the lease is not held any more");
    assert!(world.handle.state().is_up(), "that is no fault of the store");
    // Data that was fetched without the lease is not stored in the next term.
    world.store.memory().epoch = 3;
    world.lead(3);
    world.publish();
    world.settle().await;
    assert_eq!(writes(&world), first);
    world.refresh().await;
    assert!(texts(&world.store.memory().current("mapped"))[0].contains("\"timestamp\":1700000002"));
    assert_eq!(world.store.calls("sequence"), 4, "read once in each term");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_given_up_with_its_lease() {
    let mut world = world_with_records().await;
    let (first, heads) = (writes(&world), world.store.calls("heads"));
    world.store.hang(true);
    world.batches[1] = Some(mapped(&[record(1, 2, 0)]));
    world.refresh().await;
    world.store.memory().epoch = 2;
    world.lead(2);
    world.refresh().await;
    assert_eq!(world.store.calls("heads"), heads + 1, "the new term begins at once");
    world.store.hang(false);
    world.settle().await;
    assert_eq!(writes(&world), first + 3);
    assert!(texts(&world.store.memory().current("mapped"))[0].contains("\"timestamp\":1700000002"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_has_run_out_is_used_again_when_it_is_renewed() {
    let mut world = world_with_records().await;
    let first = writes(&world);
    world.store.fail(Some(StoreError::LeaseLost));
    world.refresh().await;
    let calls = world.calls();
    world.refresh().await;
    assert_eq!(world.calls(), calls);
    world.store.fail(None);
    sleep(Duration::from_secs(1)).await;
    world.lead(1);
    world.settle().await;
    assert_eq!(writes(&world), first + 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_has_run_out_by_the_own_clock_writes_nothing() {
    let mut world = world_with_records().await;
    sleep(MINUTE * 600).await;
    let first = writes(&world);
    world.refresh().await;
    assert_eq!(writes(&world), first);
    world.lead(1);
    world.settle().await;
    assert_eq!(writes(&world), first + 3);
    assert_eq!(world.store.calls("sequence"), 2, "nobody else has written meanwhile");
}

#[tokio::test(start_paused = true)]
async fn forgotten_records_that_a_source_still_lists_come_back_at_once() {
    let mut world = world_with_records().await;
    assert_eq!(world.store.forget("e1").await, Ok(2));
    assert_eq!(world.store.memory().current("mapped").len(), 1);
    world.refresh().await;
    let memory = world.store.memory();
    assert_eq!((memory.current("plain").len(), memory.current("mapped").len()), (1, 2));
    let upserts = memory.writes.iter().rev().take(3).map(|write| match &write.content {
        Some(Content::Records(changes)) => changes.upserts.len(),
        _ => 0,
    });
    assert_eq!(upserts.sum::<usize>(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_definition_is_written_though_the_records_are_the_same() {
    let mut world = world_with_records().await;
    world.succeed_all();
    for source in [TABLE, MAPPED] {
        let origin = world.statuses[source].origin.as_mut().unwrap();
        origin.fingerprint = Fingerprint([2; 32]);
    }
    world.publish();
    world.settle().await;
    let memory = world.store.memory();
    let stored = ["table", "plain", "mapped"].map(|name| memory.sources[name].fingerprint.0[0]);
    assert_eq!(stored, [2, 1, 2]);
    assert_eq!(memory.records.len(), 3);
    let revisions = ["table", "plain", "mapped"].map(|name| memory.sources[name].revision);
    assert_eq!(revisions, [4, 2, 5], "others read it again");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_removed_and_comes_back_is_read_again() {
    let mut world = world_with_records().await;
    let retained = ["table", "plain"].map(str::to_owned);
    world.store.retain_sources(Epoch(1), &retained).await.unwrap();
    world.revision = 1;
    world.refresh().await;
    let memory = world.store.memory();
    assert_eq!(memory.current("mapped").len(), 2);
    assert!(memory.records.values().all(|row| row.last_seen.is_none()));
}
