//! Single behaviours, beside the random series.

use std::sync::Arc;
use std::time::Duration;

use super::model::Model;
use super::series::{acquire, fingerprint};
use crate::decode::Priority;
use crate::store::{
    Content, Epoch, HistoryFilter, HistoryQuery, HistorySummary, KeptUp, RecordChanges,
    SequenceItem, SourceReport, SourceWrite, StableId, Store, StoreError, Upsert, Version,
};

/// Tests them, each with a store of its own.
pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Store>) {
    an_empty_store_has_nothing(&*make().await).await;
    generations_only_grow(&*make().await).await;
    limits_are_kept(&*make().await).await;
    tables_are_kept(&*make().await).await;
    only_the_newest_lease_writes(&*make().await).await;
    a_write_that_fails_changes_nothing(&*make().await).await;
    a_record_that_was_forgotten_comes_back(&*make().await).await;
    a_write_on_another_revision_is_refused(&*make().await).await;
    large_and_many_records_are_kept(&*make().await).await;
    equal_employees_are_named_in_the_order_of_the_document(&*make().await).await;
    operations_may_run_at_once_and_be_given_up(&*make().await).await;
}

pub(super) fn record(source: &str, key: usize) -> Upsert {
    let employee_id = format!("{}", key % 100);
    Upsert {
        id: StableId::of_id(source, &key.to_le_bytes()),
        bytes: format!("{{\"key\":{key}}}").into(),
        employee_id: Some(employee_id.into()),
        priority: Some(Priority::High),
        timestamp: Some(key as f64),
        reason: None,
    }
}

pub(super) fn write_of(source: &str, upserts: Vec<Upsert>) -> SourceWrite {
    let sequence = (0..upserts.len()).map(SequenceItem::Upsert).collect();
    let changes = RecordChanges { upserts, left: Vec::new(), sequence };
    content_write(source, Content::Records(changes))
}

fn content_write(source: &str, content: Content) -> SourceWrite {
    SourceWrite {
        name: source.to_owned(),
        fingerprint: fingerprint(1),
        based_on: None,
        age: Some(Duration::ZERO),
        report: SourceReport::default(),
        content: Some(content),
    }
}

pub(super) fn all() -> HistoryQuery {
    let filter = HistoryFilter::default();
    HistoryQuery { filter, after: None, limit: 10_000, max_bytes: 1 << 30 }
}

async fn an_empty_store_has_nothing(store: &dyn Store) {
    store.prepare().await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
    assert!(store.heads().await.unwrap().sources.is_empty());
    assert!(store.sequence("okta").await.unwrap().is_empty());
    assert!(store.records(&[]).await.unwrap().is_empty());
    assert!(store.records(&[Version(0), Version(-1), Version(1)]).await.unwrap().is_empty());
    assert_eq!(store.table("identities").await.unwrap(), None);
    assert!(store.history(all()).await.unwrap().rows.is_empty());
    assert_eq!(store.summary(HistoryFilter::default()).await.unwrap(), HistorySummary::default());
    assert_eq!(store.forget("1").await.unwrap(), 0);
    let key = store.key().await.unwrap();
    assert_eq!(store.key().await.unwrap(), key);
    assert_ne!(key.0, [0; 16]);
    let epoch = acquire(store).await;
    assert_eq!(store.delete_expired(epoch, Duration::ZERO, &[]).await.unwrap(), 0);
    store.retain_sources(epoch, &[]).await.unwrap();
}

async fn equal_employees_are_named_in_the_order_of_the_document(store: &dyn Store) {
    let epoch = acquire(store).await;
    // By text, `10` and `-7` stand before `9`, and `+1` before all.
    let ids = ["+1", "alice", "-7", "007", "7"].map(str::to_owned);
    let ids: Vec<String> = ids.into_iter().chain((8..40).map(|id| id.to_string())).collect();
    let upsert = |(key, id): (usize, &String)| Upsert {
        employee_id: Some(id.as_str().into()),
        ..record("okta", key)
    };
    let mut upserts: Vec<Upsert> = ids.iter().enumerate().map(upsert).collect();
    upserts.push(Upsert { employee_id: Some("39".into()), ..record("okta", ids.len()) });
    store.write(epoch, write_of("okta", upserts)).await.unwrap();
    let summary = store.summary(HistoryFilter::default()).await.unwrap();
    let top = summary.top_employees.iter().map(|employee| employee.employee_id.clone());
    let numbers = (8..24).map(|id| id.to_string());
    let expected = ["39", "-7", "007", "7"].map(str::to_owned).into_iter().chain(numbers);
    assert_eq!(top.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

async fn generations_only_grow(store: &dyn Store) {
    let first = store.take_generation(1_000_000).await.unwrap();
    assert!(first > 1_000_000);
    let second = store.take_generation(5).await.unwrap();
    assert!(second > first);
    let (third, fourth) = tokio::join!(store.take_generation(0), store.take_generation(0));
    let (third, fourth) = (third.unwrap(), fourth.unwrap());
    assert!(third > second && fourth > second && third != fourth);
}

async fn limits_are_kept(store: &dyn Store) {
    let epoch = acquire(store).await;
    store.save_limits(epoch, &[("siem".to_owned(), 8)]).await.unwrap();
    let limits = [("o'dd".to_owned(), 3), ("siem".to_owned(), 20)];
    store.save_limits(epoch, &limits).await.unwrap();
    let mut stored = store.heads().await.unwrap().limits;
    stored.sort();
    assert_eq!(stored, limits);
}

async fn tables_are_kept(store: &dyn Store) {
    let epoch = acquire(store).await;
    let first = vec![0, 255, 1, 39, 92];
    let table = content_write("identities", Content::Table(first.clone()));
    let one = store.write(epoch, table).await.unwrap();
    assert_eq!(store.table("identities").await.unwrap(), Some(first));
    let second: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    let table = content_write("identities", Content::Table(second.clone()));
    let two = store.write(epoch, table).await.unwrap();
    assert!(two.revision > one.revision);
    let same = SourceWrite { content: None, ..content_write("identities", Content::Table(vec![])) };
    assert_eq!(store.write(epoch, same).await.unwrap().revision, two.revision);
    assert_eq!(store.table("identities").await.unwrap(), Some(second));
    assert_eq!(store.heads().await.unwrap().sources[0].revision, two.revision);
    assert_eq!(store.count().await.unwrap(), 0);
    store.retain_sources(epoch, &["okta".to_owned()]).await.unwrap();
    assert_eq!(store.table("identities").await.unwrap(), None);
}

async fn only_the_newest_lease_writes(store: &dyn Store) {
    let epoch = acquire(store).await;
    store.write(epoch, write_of("okta", vec![record("okta", 1)])).await.unwrap();
    let other = Epoch(epoch.0 + 1);
    let lost = Err(StoreError::LeaseLost);
    let write = write_of("okta", vec![record("okta", 2)]);
    assert_eq!(store.write(other, write).await.unwrap_err(), StoreError::LeaseLost);
    assert_eq!(store.retain_sources(other, &[]).await, lost);
    assert_eq!(store.save_limits(other, &[("siem".to_owned(), 8)]).await, lost);
    let deleted = store.delete_expired(other, Duration::ZERO, &[]).await;
    assert!(matches!(deleted, Err(StoreError::LeaseLost) | Ok(0)));
    assert_eq!(store.count().await.unwrap(), 1);
    assert!(store.history(all()).await.unwrap().rows[0].is_current);
    assert!(store.heads().await.unwrap().limits.is_empty());
    assert_eq!(store.acquire_or_renew(&KeptUp::default()).await.map(drop), Ok(()));
    store.write(epoch, write_of("okta", vec![record("okta", 2)])).await.unwrap();
    store.release(epoch).await.unwrap();
}

async fn a_write_that_fails_changes_nothing(store: &dyn Store) {
    let epoch = acquire(store).await;
    let first = store.write(epoch, write_of("okta", vec![record("okta", 1)])).await.unwrap();
    let before = store.history(all()).await.unwrap();

    let mut bad = write_of("okta", (2..2_000).map(|key| record("okta", key)).collect());
    let Some(Content::Records(changes)) = &mut bad.content else { unreachable!() };
    changes.left.push(first.first_version);
    changes.sequence.push(SequenceItem::Upsert(5_000));
    assert!(matches!(store.write(epoch, bad).await, Err(StoreError::Unavailable(_))));

    assert_eq!(store.history(all()).await.unwrap(), before);
    assert_eq!(store.count().await.unwrap(), 1);
    assert_eq!(store.sequence("okta").await.unwrap(), [first.first_version]);
    assert_eq!(store.heads().await.unwrap().sources[0].revision, first.revision);
    store.write(epoch, write_of("okta", vec![record("okta", 3)])).await.unwrap();
}

/// A source that brings the same as before does not bring a record back that is not stored any
/// more: the process must learn of it.
async fn a_record_that_was_forgotten_comes_back(store: &dyn Store) {
    let epoch = acquire(store).await;
    let listed = vec![record("okta", 1), record("okta", 2)];
    store.write(epoch, write_of("okta", listed.clone())).await.unwrap();
    let before = store.history(all()).await.unwrap().rows;
    assert_eq!(store.forget("1").await.unwrap(), 1);
    assert_eq!(store.count().await.unwrap(), 1);

    let same = SourceWrite { content: None, ..write_of("okta", Vec::new()) };
    assert_eq!(store.write(epoch, same).await.unwrap_err(), StoreError::Forgotten);
    let sequence = store.sequence("okta").await.unwrap();
    let stored = store.records(&sequence).await.unwrap();
    assert_eq!((sequence.len(), stored.len()), (2, 1));
    let upserts = vec![listed[0].clone()];
    let sequence = vec![SequenceItem::Upsert(0), SequenceItem::Stored(sequence[1])];
    let changes = RecordChanges { upserts, left: Vec::new(), sequence };
    store.write(epoch, content_write("okta", Content::Records(changes))).await.unwrap();

    let rows = store.history(all()).await.unwrap().rows;
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0],
        crate::store::HistoryRow { last_seen: rows[0].last_seen, ..before[0].clone() }
    );
    assert_eq!(rows[1].id, before[1].id);
    assert!(rows[1].number > before[0].number.max(before[1].number), "a number is not reused");
}

async fn a_write_on_another_revision_is_refused(store: &dyn Store) {
    let epoch = acquire(store).await;
    let on = |based_on: i64, key: usize| {
        let write = write_of("okta", vec![record("okta", key)]);
        SourceWrite { based_on: Some(based_on), ..write }
    };
    let unchanged = |based_on: i64| SourceWrite { content: None, ..on(based_on, 0) };
    let refused = Err(StoreError::Outdated);
    assert_eq!(store.write(epoch, on(1, 1)).await, refused);
    assert!(store.heads().await.unwrap().sources.is_empty());
    let first = store.write(epoch, on(0, 1)).await.unwrap().revision;
    for outdated in [0, first + 1] {
        assert_eq!(store.write(epoch, on(outdated, 2)).await, refused);
        assert_eq!(store.write(epoch, unchanged(outdated)).await, refused);
    }
    assert_eq!(store.count().await, Ok(1));
    assert_eq!(store.write(epoch, unchanged(first)).await.unwrap().revision, first);
    let second = store.write(epoch, on(first, 2)).await.unwrap().revision;
    // A source that was removed has no head any more, and no record that is current.
    store.retain_sources(epoch, &[]).await.unwrap();
    assert_eq!(store.write(epoch, unchanged(second)).await, refused);
    assert_eq!(store.write(epoch, on(second, 2)).await, refused);
    assert!(store.write(epoch, on(0, 2)).await.unwrap().revision > second);
}

async fn large_and_many_records_are_kept(store: &dyn Store) {
    const RECORDS: usize = 12_000;
    let epoch = acquire(store).await;
    let mut upserts: Vec<_> = (0..RECORDS).map(|key| record("okta", key)).collect();
    upserts[77].bytes = vec![b'x'; 3_000_000].into();
    upserts[78].bytes = (0..=255).collect::<Vec<u8>>().into();
    let written = store.write(epoch, write_of("okta", upserts.clone())).await.unwrap();
    let sequence = store.sequence("okta").await.unwrap();
    let first = written.first_version.0;
    assert_eq!(sequence.len(), RECORDS);
    assert!(sequence.iter().copied().eq((first..).take(RECORDS).map(Version)));
    for (versions, upserts) in sequence.chunks(10_000).zip(upserts.chunks(10_000)) {
        let chunk = store.records(versions).await.unwrap();
        assert_eq!(chunk.len(), versions.len());
        let mut records: Vec<_> = chunk.iter().collect();
        records.sort_by_key(|record| record.version);
        for (record, upsert) in records.iter().zip(upserts) {
            assert!(record.id == upsert.id && record.bytes == upsert.bytes);
        }
    }
    // One percent changes, one percent leaves, one percent is new.
    let mut model = Model::default();
    model.apply(&write_of("okta", upserts.clone()), written, super::model::now());
    let mut changed = upserts.split_off(RECORDS / 100);
    changed.extend((RECORDS..RECORDS + RECORDS / 100).map(|key| record("okta", key)));
    for record in changed.iter_mut().step_by(100) {
        record.bytes = "{}".into();
    }
    let write = model.write("okta", fingerprint(1), Duration::ZERO, &changed);
    store.write(epoch, write).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (RECORDS + RECORDS / 100) as u64);
    let current = HistoryFilter { current: Some(true), ..HistoryFilter::default() };
    let summary = store.summary(current).await.unwrap();
    assert_eq!(summary.cells.iter().map(|cell| cell.count).sum::<u64>(), RECORDS as u64);
    assert_eq!(summary.employees, 100);
}

async fn operations_may_run_at_once_and_be_given_up(store: &dyn Store) {
    let epoch = acquire(store).await;
    let write = |round: usize| {
        let upserts = (0..300).map(|key| record("okta", round * 1_000 + key)).collect();
        store.write(epoch, write_of("okta", upserts))
    };
    write(0).await.unwrap();
    for round in 1..10 {
        // The write is given up at some point, and takes effect as a whole or not at all.
        let time = Duration::from_micros(200 * round as u64);
        let _ = tokio::time::timeout(time, write(round)).await;
        let (page, count) = tokio::join!(store.history(all()), store.count());
        assert_eq!((page.unwrap().rows.len() % 300, count.unwrap() % 300), (0, 0));
    }
    write(10).await.unwrap();
    assert_eq!(store.count().await.unwrap() % 300, 0);
}
