//! Single behaviours of forwards, beside the random series.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::InspectedStore;
use super::behaviours::{all, record, write_of};
use super::forwards::dead_letter;
use super::series::{acquire, expire};
use crate::config::{ForwardFrom, Selection};
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::{
    Advance, Content, DeadLetter, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, SourceWrite,
    Store, StoreError, StoredForward, Upsert, Version,
};

/// Tests them, each with a store of its own.
pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn InspectedStore>) {
    an_empty_store_has_no_forwards(&*make().await).await;
    forwards_begin_once(&*make().await).await;
    what_was_there_is_left_out_for_good(&*make().await).await;
    few_records_are_looked_for_in_bounded_steps(&*make().await).await;
    a_page_ends_with_enough_bytes(&*make().await).await;
    unsent_records_expire_in_batches_and_claimed_ones_stay(&*make().await).await;
    dead_letters_expire(&*make().await).await;
    dead_letters_are_forgotten_with_their_records(&*make().await).await;
    nothing_is_missed_while_records_are_written(&*make().await).await;
    advances_may_run_at_once_and_be_given_up(&*make().await).await;
}

async fn begin(store: &dyn Store, name: &str, from: ForwardFrom) -> Epoch {
    let epoch = acquire(store).await;
    store.begin_forwards(epoch, &[(name.to_owned(), from)]).await.unwrap();
    epoch
}

async fn forward(store: &dyn Store, name: &str) -> StoredForward {
    let forwards = store.forwards().await.unwrap();
    forwards.into_iter().find(|forward| forward.name == name).expect("it has begun")
}

/// The records that a forward has yet to send, all unless it leaves some out.
async fn due(store: &dyn Store, name: &str) -> DuePage {
    let StoredForward { position, start, .. } = forward(store, name).await;
    let selection = Selection { unattributed: true, ..Selection::default() };
    let range = DueRange { after: position, start, selection };
    let page = store.due(query(range.clone())).await.unwrap();
    assert_eq!(store.count_due(range).await.unwrap(), page.rows.len() as u64);
    page
}

fn query(range: DueRange) -> DueQuery {
    DueQuery { range, limit: 10_000, max_bytes: 1 << 30 }
}

fn claim(name: &str, sending_through: i64) -> ForwardClaim {
    ForwardClaim {
        name: name.to_owned(),
        selection: Selection::default(),
        sending_through,
        done: Vec::new(),
    }
}

fn unattributed(upsert: Upsert) -> Upsert {
    Upsert { employee_id: None, reason: Some(Reason::UnknownIp), ..upsert }
}

/// A write after which the source lists nothing.
fn write_of_none(source: &str, left: Vec<Version>) -> SourceWrite {
    let mut write = write_of(source, Vec::new());
    let Some(Content::Records(changes)) = &mut write.content else { unreachable!() };
    changes.left = left;
    write
}

async fn an_empty_store_has_no_forwards(store: &dyn InspectedStore) {
    assert!(store.forwards().await.unwrap().is_empty());
    let page = store.due(query(DueRange::default())).await.unwrap();
    assert_eq!(page, DuePage { rows: Vec::new(), through: page.through, is_end: true });
    assert!(page.through >= 0);
    assert_eq!(store.count_due(DueRange::default()).await.unwrap(), 0);
    let epoch = acquire(store).await;
    let advance = Advance { name: "siem".to_owned(), ..Advance::default() };
    assert_eq!(store.advance(epoch, advance).await, Err(StoreError::Outdated));
    store.begin_forwards(epoch, &[]).await.unwrap();
    assert_eq!(expire(store, epoch, Duration::ZERO, &[claim("siem", 5)]).await, 0);
    assert!(store.forwards().await.unwrap().is_empty());
}

async fn forwards_begin_once(store: &dyn InspectedStore) {
    let epoch = acquire(store).await;
    let both = ["pager", "siem"].map(|name| (name.to_owned(), ForwardFrom::Beginning));
    let (one, two) =
        tokio::join!(store.begin_forwards(epoch, &both[1..]), store.begin_forwards(epoch, &both));
    assert_eq!((one, two), (Ok(()), Ok(())));
    let begun = store.forwards().await.unwrap();
    let fresh = |name: &str| StoredForward { name: name.to_owned(), ..StoredForward::default() };
    assert_eq!(begun, [fresh("pager"), fresh("siem")]);
    // `from` counts only while there is no position.
    store.write(epoch, write_of("okta", vec![record("okta", 1)])).await.unwrap();
    begin(store, "siem", ForwardFrom::Now).await;
    assert_eq!(store.forwards().await.unwrap(), begun);
    assert_eq!(due(store, "siem").await.rows.len(), 1);
}

async fn what_was_there_is_left_out_for_good(store: &dyn InspectedStore) {
    let epoch = acquire(store).await;
    for key in [1, 2] {
        let stored = unattributed(record("okta", key));
        store.write(epoch, write_of("okta", vec![stored])).await.unwrap();
    }
    // A first refresh that brings nothing is one too.
    begin(store, "old", ForwardFrom::Beginning).await;
    begin(store, "new", ForwardFrom::Now).await;
    store.write(epoch, write_of("empty", Vec::new())).await.unwrap();
    let first = vec![unattributed(record("first", 1)), record("first", 2)];
    store.write(epoch, write_of("first", first)).await.unwrap();
    assert_eq!(due(store, "new").await.rows, []);
    assert_eq!(due(store, "old").await.rows.len(), 4);

    // Those without an employee get one, and a new number.
    let stored = vec![record("okta", 1), record("okta", 2)];
    store.write(epoch, write_of("okta", stored)).await.unwrap();
    store.write(epoch, write_of("first", vec![record("first", 1)])).await.unwrap();
    assert_eq!(due(store, "new").await.rows, []);
    let old: Vec<_> = due(store, "old").await.rows.into_iter().map(|row| row.id).collect();
    let expected = [("first", 2), ("okta", 1), ("okta", 2), ("first", 1)];
    let expected = expected.map(|(source, key)| record(source, key).id);
    assert_eq!(old, expected);

    // Also when they lose it and get another.
    store.write(epoch, write_of("okta", vec![unattributed(record("okta", 1))])).await.unwrap();
    store.write(epoch, write_of("okta", vec![record("okta", 1)])).await.unwrap();
    assert_eq!(due(store, "new").await.rows, []);
    store.write(epoch, write_of("empty", vec![record("empty", 1)])).await.unwrap();
    store.write(epoch, write_of("okta", vec![record("okta", 3)])).await.unwrap();
    store.write(epoch, write_of("first", vec![record("first", 3)])).await.unwrap();
    let new: Vec<_> = due(store, "new").await.rows.into_iter().map(|row| row.id).collect();
    let expected = [record("empty", 1), record("okta", 3), record("first", 3)].map(|it| it.id);
    assert_eq!(new, expected);
}

async fn few_records_are_looked_for_in_bounded_steps(store: &dyn InspectedStore) {
    const RECORDS: usize = 25_000;
    const MAX_STEP: usize = 10_000;
    let epoch = acquire(store).await;
    let low = |key| Upsert { priority: Some(Priority::Low), ..record("okta", key) };
    let mut upserts: Vec<_> = (0..RECORDS).map(low).collect();
    upserts[RECORDS - 7] = record("okta", RECORDS - 7);
    store.write(epoch, write_of("okta", upserts)).await.unwrap();
    let selection = Selection { priorities: Some(vec![Priority::High]), ..Selection::default() };
    let mut range = DueRange { selection, ..DueRange::default() };
    assert_eq!(store.count_due(range.clone()).await.unwrap(), 1);
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let all = DueRange { after: range.after, ..DueRange::default() };
        let page = store.due(query(range.clone())).await.unwrap();
        pages += 1;
        let behind = DueRange { after: page.through, ..DueRange::default() };
        let (before, behind) =
            (store.count_due(all).await.unwrap(), store.count_due(behind).await.unwrap());
        assert!(before - behind <= MAX_STEP as u64);
        found.extend(page.rows);
        if page.is_end {
            assert_eq!(behind, 0);
            break;
        }
        assert!(page.through > range.after);
        range.after = page.through;
    }
    assert!(pages >= RECORDS / MAX_STEP);
    assert_eq!(
        found.iter().map(|row| row.id).collect::<Vec<_>>(),
        [record("okta", RECORDS - 7).id]
    );
}

async fn a_page_ends_with_enough_bytes(store: &dyn InspectedStore) {
    let epoch = acquire(store).await;
    let of_bytes = |key, len| Upsert { bytes: vec![b'x'; len].into(), ..record("okta", key) };
    let upserts = vec![of_bytes(0, 3_000_000), of_bytes(1, 10), of_bytes(2, 2_000_000)];
    store.write(epoch, write_of("okta", upserts)).await.unwrap();
    let mut range = DueRange::default();
    for expected in [&[3_000_000][..], &[10, 2_000_000]] {
        let query = DueQuery { range: range.clone(), limit: 100, max_bytes: 2_000_000 };
        let page = store.due(query).await.unwrap();
        assert_eq!(page.rows.iter().map(|row| row.bytes.len()).collect::<Vec<_>>(), expected);
        range.after = page.through;
    }
}

async fn unsent_records_expire_in_batches_and_claimed_ones_stay(store: &dyn InspectedStore) {
    const RECORDS: usize = 6_000;
    let epoch = acquire(store).await;
    let names = ["claimed", "counted", "removed"];
    let forwards = names.map(|name| (name.to_owned(), ForwardFrom::Beginning));
    store.begin_forwards(epoch, &forwards).await.unwrap();
    let upserts = (0..RECORDS).map(|key| record("okta", key)).collect();
    store.write(epoch, write_of("okta", upserts)).await.unwrap();
    let sequence = store.sequence("okta").await.unwrap();
    store.write(epoch, write_of_none("okta", sequence)).await.unwrap();

    let rows = due(store, "claimed").await.rows;
    let (sent, claimed) = (1_000, 2_500);
    let advance = Advance {
        name: "claimed".to_owned(),
        to: rows[sent - 1].number,
        sent: sent as u64,
        ..Advance::default()
    };
    store.advance(epoch, advance).await.unwrap();
    let through = rows[sent + claimed - 1].number;
    // The forward that was removed from the configuration claims and counts nothing.
    let claims = [claim("claimed", through), claim("counted", 0), claim("never-begun", i64::MAX)];
    let deleted = expire(store, epoch, Duration::ZERO, &claims).await;
    assert_eq!(deleted, (RECORDS - claimed) as u64);
    assert_eq!(store.count().await.unwrap(), claimed as u64);
    assert!(due(store, "claimed").await.rows.iter().eq(&rows[sent..sent + claimed]));
    let counts = async || {
        let forwards = store.forwards().await.unwrap();
        forwards.into_iter().map(|forward| forward.dead_letters).collect::<Vec<_>>()
    };
    let unsent = (RECORDS - sent - claimed) as u64;
    assert_eq!(counts().await, [unsent, deleted, 0]);
    // Once the claim is given back, they expire.
    let claims = [claim("claimed", 0), claim("counted", 0)];
    assert_eq!(expire(store, epoch, Duration::ZERO, &claims).await, claimed as u64);
    assert_eq!(counts().await, [unsent + claimed as u64, RECORDS as u64, 0]);
    assert_eq!(store.dead_letters().await, []);
}

async fn refuse_all(store: &dyn Store, epoch: Epoch, name: &str) -> Advance {
    let page = due(store, name).await;
    let from = forward(store, name).await.position;
    let dead_letters = page.rows.iter().map(dead_letter).collect();
    let (name, to) = (name.to_owned(), page.through);
    let advance = Advance { name, from, to, dead_letters, ..Advance::default() };
    store.advance(epoch, advance.clone()).await.unwrap();
    advance
}

async fn dead_letters_expire(store: &dyn InspectedStore) {
    let epoch = begin(store, "siem", ForwardFrom::Beginning).await;
    let upserts = (0..2_500).map(|key| record("okta", key)).collect();
    store.write(epoch, write_of("okta", upserts)).await.unwrap();
    refuse_all(store, epoch, "siem").await;
    let hour = Duration::from_hours(1);
    assert_eq!(store.delete_expired(epoch, hour, &[]).await, Ok(0));
    assert_eq!(store.dead_letters().await.len(), 2_500);
    assert_eq!(expire(store, epoch, Duration::ZERO, &[claim("siem", i64::MAX)]).await, 2_500);
    assert_eq!(store.dead_letters().await, []);
    // Their records are current, and the count is of all that were refused.
    assert_eq!(store.count().await, Ok(2_500));
    assert_eq!(forward(store, "siem").await.dead_letters, 2_500);
}

async fn dead_letters_are_forgotten_with_their_records(store: &dyn InspectedStore) {
    let epoch = acquire(store).await;
    let both = ["pager", "siem"].map(|name| (name.to_owned(), ForwardFrom::Beginning));
    store.begin_forwards(epoch, &both).await.unwrap();
    let listed = vec![record("okta", 1), record("okta", 2), unattributed(record("okta", 3))];
    store.write(epoch, write_of("okta", listed)).await.unwrap();
    refuse_all(store, epoch, "pager").await;
    let late = due(store, "siem").await;
    let moved = Upsert { employee_id: Some("3".into()), ..record("okta", 2) };
    store.write(epoch, write_of("okta", vec![moved])).await.unwrap();
    assert_eq!(store.forget("1").await, Ok(1));
    let employees = |letters: Vec<(String, DeadLetter)>| {
        letters.into_iter().map(|(name, letter)| (name, letter.employee_id)).collect::<Vec<_>>()
    };
    let (pager, siem) = ("pager".to_owned(), "siem".to_owned());
    let two = Some("2".to_owned());
    let mut expected = vec![(pager.clone(), None), (pager, two.clone())];
    let mut shown = employees(store.dead_letters().await);
    shown.sort();
    assert_eq!(shown, expected);

    // A record that was forgotten while it was being sent is counted, and nothing of it kept.
    let dead_letters = late.rows.iter().map(dead_letter).collect();
    let to = late.through;
    let advance = Advance { name: siem.clone(), from: 0, to, dead_letters, ..Advance::default() };
    store.advance(epoch, advance).await.unwrap();
    expected.extend([(siem.clone(), None), (siem, two)]);
    let mut shown = employees(store.dead_letters().await);
    shown.sort();
    assert_eq!(shown, expected);
    let counts = store.forwards().await.unwrap().into_iter().map(|it| it.dead_letters);
    assert_eq!(counts.collect::<Vec<_>>(), [3, 3]);

    // An employee of whom only dead letters are left.
    assert_eq!(store.forget("2").await, Ok(0));
    assert!(employees(store.dead_letters().await).iter().all(|(_, id)| id.is_none()));

    // A record that was refused before it had its employee.
    let write = async || store.write(epoch, write_of("okta", vec![record("okta", 3)])).await;
    assert_eq!(write().await, Err(StoreError::Forgotten));
    store.sequence("okta").await.unwrap();
    write().await.unwrap();
    assert_eq!(store.dead_letters().await.len(), 2);
    assert_eq!(store.forget("3").await, Ok(2));
    assert_eq!(store.dead_letters().await, []);
}

async fn nothing_is_missed_while_records_are_written(store: &dyn InspectedStore) {
    const ROUNDS: usize = 40;
    const RECORDS: usize = 30;
    let epoch = acquire(store).await;
    let write = async {
        for round in 0..ROUNDS {
            let key = |index| round * RECORDS + index;
            let upserts = (0..RECORDS).map(|index| record("okta", key(index))).collect();
            store.write(epoch, write_of("okta", upserts)).await.unwrap();
        }
    };
    let read = async {
        let mut range = DueRange::default();
        let mut seen = Vec::new();
        while seen.len() < ROUNDS * RECORDS {
            let query = DueQuery { range: range.clone(), limit: 7, max_bytes: 1 << 20 };
            let page = store.due(query).await.unwrap();
            seen.extend(page.rows.iter().map(|row| row.number));
            range.after = page.through;
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), seen) = tokio::join!(write, read);
    assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == seen.len());
    let shown: BTreeSet<_> =
        store.history(all()).await.unwrap().rows.iter().map(|row| row.number).collect();
    assert!(shown.into_iter().eq(seen));
}

async fn advances_may_run_at_once_and_be_given_up(store: &dyn InspectedStore) {
    let epoch = begin(store, "siem", ForwardFrom::Beginning).await;
    let step = |from: i64| Advance {
        name: "siem".to_owned(),
        from,
        to: from + 1,
        sent: 1,
        ..Advance::default()
    };
    for round in 1..30 {
        let position = forward(store, "siem").await.position;
        let time = Duration::from_micros(20 * round);
        let _ = tokio::time::timeout(time, store.advance(epoch, step(position))).await;
        let (one, two) = tokio::join!(
            store.advance(epoch, step(position)),
            store.advance(epoch, step(position))
        );
        // Of those, one has moved it.
        assert!(one == Err(StoreError::Outdated) || two == Err(StoreError::Outdated));
        let StoredForward { position: now, sent, .. } = forward(store, "siem").await;
        assert_eq!((now, sent), (position + 1, now.unsigned_abs()));
    }
}
