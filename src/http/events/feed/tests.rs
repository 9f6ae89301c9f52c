//! Sources that a reload adds, changes and drops, and refreshes that add too much.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::event::Audience;
use super::super::ring::MAX_BURST_EVENTS;
use super::*;
use crate::clock::{FetchTime, WallClock};
use crate::decode::{Incidents, SourceFields};
use crate::join::join;
use crate::snapshot::{Policy, SourceStatus, View};
use crate::sources::PerSource;

fn batch(employees: &[u32]) -> Arc<Incidents> {
    let record = |id: &u32| format!(r#"{{"who":{id},"priority":"low","timestamp":{id}}}"#);
    batch_of(employees.iter().map(record))
}

fn batch_of(records: impl IntoIterator<Item = String>) -> Arc<Incidents> {
    let records: Vec<_> = records.into_iter().collect();
    let body = format!(r#"{{"results":[{}]}}"#, records.join(","));
    Arc::new(Incidents::decode(body.into(), &SourceFields::new(&["who".to_owned()])).unwrap())
}

/// A snapshot of sources with these names, revisions and batches.
fn snapshot(sources: &[(&str, u64, Option<&Arc<Incidents>>)]) -> Snapshot {
    let names: Arc<[Arc<str>]> = sources.iter().map(|(name, ..)| Arc::from(*name)).collect();
    let batches: Box<[_]> = sources.iter().map(|(.., batch)| batch.cloned()).collect();
    let revisions = sources.iter().map(|(_, revision, _)| *revision).collect();
    let (minute, clock) = (Duration::from_mins(1), WallClock::system());
    let statuses = names.iter().zip(&batches).map(|(name, batch)| SourceStatus {
        fetched_at: batch.as_ref().map(|_| FetchTime::now(&clock)),
        ..SourceStatus::new(Arc::clone(name), Policy::of_ttl(minute, minute, minute))
    });
    let sources = Arc::new(PerSource::new([], statuses));
    let index = join(&[], &batches);
    let view = View::new(1, names, batches, index).with_revisions(revisions);
    Snapshot { view: Arc::new(view), sources, had_data: false }
}

fn data(content: &Bytes) -> Value {
    let text = std::str::from_utf8(content).unwrap();
    serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap())
        .unwrap()
}

/// The data of the events that a snapshot leads to.
fn events(last_seen: &mut LastSeen, snapshot: &Snapshot) -> Vec<Value> {
    let states = last_seen.state_events(snapshot, Instant::now());
    let deltas = last_seen.records.advance(&snapshot.view);
    let records = incident_events(&snapshot.view, &deltas);
    states.iter().chain(&records).map(|event| data(&event.content)).collect()
}

#[tokio::test(start_paused = true)]
async fn sources_that_come_and_go_are_told_and_the_others_are_not() {
    let (one, other) = (batch(&[1]), batch(&[2]));
    let first = snapshot(&[("a", 1, Some(&one)), ("b", 2, Some(&other))]);
    let mut last_seen = LastSeen::new(&first, Instant::now());
    assert_eq!(events(&mut last_seen, &first), [] as [Value; 0]);

    let added = snapshot(&[("c", 3, None), ("b", 2, Some(&other)), ("a", 1, Some(&one))]);
    let appeared = json!({"name": "c", "state": "missing", "completeness": "partial"});
    assert_eq!(events(&mut last_seen, &added), [appeared]);
    let third = batch(&[3]);
    let fetched = snapshot(&[("c", 3, Some(&third)), ("b", 2, Some(&other)), ("a", 1, Some(&one))]);
    let is_fresh = json!({"name": "c", "state": "fresh", "completeness": "complete"});
    assert_eq!(events(&mut last_seen, &fetched), [is_fresh], "no records of the first batch");

    // The others keep their baselines, although their positions have changed.
    let more = batch(&[1, 7]);
    let dropped = snapshot(&[("a", 1, Some(&more)), ("b", 2, Some(&other))]);
    let told = events(&mut last_seen, &dropped);
    assert_eq!(told[0], json!({"name": "c", "state": "missing", "completeness": "complete"}));
    assert_eq!(
        (told.len(), &told[1]["employee_id"], &told[1]["type"]),
        (2, &json!("7"), &json!("a"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_of_a_changed_definition_makes_no_events_of_records() {
    let before = snapshot(&[("a", 1, Some(&batch(&[1])))]);
    let mut last_seen = LastSeen::new(&before, Instant::now());
    let changed = snapshot(&[("a", 2, Some(&batch(&[1, 2])))]);
    let replaced = json!({"name": "a", "state": "fresh", "completeness": "complete"});
    assert_eq!(events(&mut last_seen, &changed), [replaced]);
    let next = snapshot(&[("a", 2, Some(&batch(&[1, 2, 3])))]);
    let told = events(&mut last_seen, &next);
    assert_eq!((told.len(), &told[0]["employee_id"]), (1, &json!("3")));
}

/// What readers who see everything, and employees 7 and 8 alone, are sent when `added` follows a
/// batch with one record, on an open stream and on one that resumes there.
async fn sent_for(added: &Arc<Incidents>) -> [Vec<Value>; 3] {
    let first = snapshot(&[("a", 1, Some(&batch(&[1])))]);
    let snapshots = watch::Sender::new(Arc::new(first));
    let feed = Feed::start(snapshots.subscribe(), 16, 7);
    let employee = |id: &str| Visibility::Employee(id.into());
    let readers = [Visibility::Everything, employee("7"), employee("8")];
    let mut open = readers.each_ref().map(|reader| feed.subscribe(reader, None, None).unwrap());
    snapshots.send_replace(Arc::new(snapshot(&[("a", 1, Some(added))])));
    open[0].changed.changed().await.unwrap();
    std::array::from_fn(|at| {
        let opened = &open[at];
        let id = opened.reader.id(opened.number);
        let resumed = feed.subscribe(&readers[at], Some(&id), None).unwrap();
        assert_eq!((resumed.number, resumed.reset), (opened.number, None));
        let [opened, resumed] = [opened, &resumed].map(|subscription| {
            let Subscription { number, reader, .. } = subscription;
            let (events, last) = feed.after(*number, usize::MAX, reader).unwrap();
            assert_eq!(last, feed.newest());
            let text = String::from_utf8(events).unwrap();
            text.split_terminator("\n\n")
                .map(|event| data(&Bytes::copy_from_slice(event.as_bytes())))
                .collect::<Vec<_>>()
        });
        assert_eq!(opened, resumed);
        opened
    })
}

#[tokio::test]
async fn a_burst_is_a_reset_for_those_alone_whose_records_are_in_it() {
    let many = |id: u32| {
        let time = 0..=u32::try_from(MAX_BURST_EVENTS).unwrap();
        time.map(move |time| format!(r#"{{"who":{id},"priority":"low","timestamp":{time}}}"#))
    };
    let own = r#"{"who":7,"priority":"high","timestamp":1}"#.to_owned();
    let reset = || vec![json!({"reason": "too_many"})];
    let others = batch_of(many(8));
    assert_eq!(sent_for(&others).await, [reset(), vec![], reset()]);
    let with_own = batch_of(many(8).chain([own.clone()]));
    assert_eq!(sent_for(&with_own).await, [reset(), reset(), reset()]);

    let large =
        format!(r#"{{"who":8,"priority":"low","timestamp":1,"text":"{}"}}"#, "x".repeat(300_000));
    let others = batch_of([large.clone()]);
    assert_eq!(sent_for(&others).await, [reset(), vec![], reset()]);
    let with_own = batch_of([own.clone(), large]);
    assert_eq!(sent_for(&with_own).await, [reset(), reset(), reset()]);

    let unattributed = (0..=MAX_BURST_EVENTS).map(|time| format!(r#"{{"timestamp":{time}}}"#));
    let of_nobody = batch_of(unattributed);
    assert_eq!(sent_for(&of_nobody).await, [reset(), vec![], vec![]]);

    let events = sent_for(&batch_of([own])).await;
    assert_eq!(events.map(|events| events.len()), [1, 1, 0], "no burst");
}

#[tokio::test]
async fn own_records_that_were_there_before_a_burst_are_not_in_it() {
    let own = r#"{"who":1,"priority":"low","timestamp":1}"#.to_owned();
    let others = (0..=MAX_BURST_EVENTS)
        .map(|time| format!(r#"{{"who":8,"priority":"low","timestamp":{time}}}"#));
    let after = snapshot(&[("a", 1, Some(&batch_of([own].into_iter().chain(others))))]);
    let mut last_seen = LastSeen::new(&snapshot(&[("a", 1, Some(&batch(&[1])))]), Instant::now());
    let deltas = last_seen.records.advance(&after.view);
    let events = incident_events(&after.view, &deltas);
    let secrets = IdSecrets::new(7);
    let sees =
        |id: &str| secrets.reader(&Visibility::Employee(id.into())).sees(&events[0].audience);
    assert_eq!((events.len(), sees("1"), sees("8")), (1, false, true));
}

#[test]
fn a_failure_is_told_to_everybody() {
    assert!(matches!(Reset::Lost.event().audience, Audience::Everybody));
}
