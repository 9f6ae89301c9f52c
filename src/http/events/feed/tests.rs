//! Sources that a reload adds, changes and drops.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::clock::{FetchTime, WallClock};
use crate::decode::{Incidents, SourceFields};
use crate::join::join;
use crate::snapshot::{Policy, SourceStatus};
use crate::sources::PerSource;

fn batch(employees: &[u32]) -> Arc<Incidents> {
    let record = |id: &u32| format!(r#"{{"who":{id},"priority":"low","timestamp":{id}}}"#);
    let records: Vec<_> = employees.iter().map(record).collect();
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
    let records = incident_events(&snapshot.view, &deltas).ok().unwrap();
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
