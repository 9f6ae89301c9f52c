//! The event stream of a caller who may see one employee alone.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use incident_gateway::http::Body;
use proptest::prelude::*;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::data::{
    ALL, EMPLOYEES, OWN, Record, SECOND, SELF, gateway, publish, records, some_of_each,
};
use crate::support::snapshot_gateway::SnapshotGateway;

/// An event: its name, its data, and its id.
type Event = (String, Value, String);

struct Stream {
    body: Body,
}

impl Stream {
    /// Opens a stream after what was published before; returns the id of its first event too.
    async fn open(
        gateway: &SnapshotGateway,
        caller: (&str, &str),
        last: Option<&str>,
    ) -> (Self, Vec<Event>) {
        sleep(Duration::from_millis(10)).await;
        let last = last.map(|last| ("last-event-id", last));
        let headers: Vec<_> = [caller].into_iter().chain(last).collect();
        let response = gateway.ask(Method::GET, "/events", &headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = Self { body: response.into_body() };
        let events = stream.read(Duration::from_millis(10)).await;
        assert_eq!(events[0].0, "connected");
        (stream, events)
    }

    /// The text that arrives within this time.
    async fn text(&mut self, within: Duration) -> String {
        let until = Instant::now() + within;
        let mut text = String::new();
        while let Ok(Some(frame)) = timeout_at(until, self.body.frame()).await {
            text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
        }
        text
    }

    async fn read(&mut self, within: Duration) -> Vec<Event> {
        let text = self.text(within).await;
        let events = text.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
        let events = events.map(|block| {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
            };
            let data = serde_json::from_str(field("data")).unwrap();
            (field("event").to_owned(), data, field("id").to_owned())
        });
        events.collect()
    }

    async fn next(&mut self) -> Vec<Event> {
        self.read(Duration::from_secs(3)).await
    }
}

/// The notes of the records of `incidents` events.
fn notes(events: &[Event]) -> Vec<&str> {
    let incidents = events.iter().filter(|(name, ..)| name == "incidents");
    incidents.map(|(_, data, _)| data["incident"]["note"].as_str().unwrap()).collect()
}

/// The first records, of which a gateway begins with `begin`.
fn first(records: &[Record], count: usize) -> impl Fn(&Record) -> bool {
    let seconds: Vec<u32> = records[..count].iter().map(|record| record.second).collect();
    move |record| seconds.contains(&record.second)
}

#[tokio::test(start_paused = true)]
async fn only_own_incidents_and_states_of_sources_are_sent() {
    let records = some_of_each();
    let gateway = gateway(&records, first(&records, 0));
    let (mut all, _) = Stream::open(&gateway, ALL, None).await;
    let (mut own, opening) = Stream::open(&gateway, SELF, None).await;
    assert_eq!(opening.len(), 1);
    publish(&gateway, &records, |_| true);
    let (all, own_events) = (all.next().await, own.next().await);
    assert_eq!((notes(&all).len(), notes(&own_events).len()), (30, 6));
    for (name, data, _) in &own_events {
        assert_eq!((name.as_str(), &data["employee_id"]), ("incidents", &OWN.into()));
        assert!(data["incident"]["note"].as_str().unwrap().starts_with("own-"));
    }
    gateway.publish_states(|source| source.consecutive_failures = 1);
    let states = own.next().await;
    assert_eq!(states.len(), 4, "three sources and a table: {states:?}");
    assert!(states.iter().all(|(name, ..)| name == "sources"), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumes_after_any_id_that_it_gave() {
    let records = some_of_each();
    let gateway = gateway(&records, first(&records, 0));
    let (own, opening) = Stream::open(&gateway, SELF, None).await;
    drop(own);
    publish(&gateway, &records, first(&records, 18));
    let (mut own, resumed) = Stream::open(&gateway, SELF, Some(&opening[0].2)).await;
    let mut events = resumed[1..].to_vec();
    events.extend(own.next().await);
    assert_eq!(notes(&events).len(), 6, "{events:?}");
    drop(own);
    publish(&gateway, &records, |_| true);
    for (position, (_, _, id)) in events.iter().enumerate() {
        let (mut own, mut again) = Stream::open(&gateway, SELF, Some(id)).await;
        again.extend(own.next().await);
        let incidents: Vec<Event> = again[1..].to_vec();
        assert_eq!(notes(&incidents), notes(&events[position + 1..]), "after {position}");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_of_other_streams_are_unknown() {
    let records = some_of_each();
    let gateway = gateway(&records, first(&records, 0));
    let mut ids = Vec::new();
    for caller in [ALL, SELF, SECOND] {
        let (mut stream, mut events) = Stream::open(&gateway, caller, None).await;
        publish(&gateway, &records, |_| true);
        events.extend(stream.next().await);
        publish(&gateway, &records, |_| false);
        stream.next().await;
        assert!(events.len() > 6);
        ids.push((caller, events));
    }
    for (giver, events) in &ids {
        for (_, _, id) in events {
            for caller in [ALL, SELF, SECOND] {
                let (_, told) = Stream::open(&gateway, caller, Some(id)).await;
                let is_reset = told.get(1).is_some_and(|(name, ..)| name == "reset");
                assert_eq!(is_reset, *giver != caller, "{giver:?} {caller:?} {id}");
                if is_reset {
                    assert_eq!(told[1].1["reason"], "unknown_id");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ids_tell_nothing_of_the_events_of_others() {
    let records = some_of_each();
    let gateway = gateway(&records, Record::is_own);
    let (quiet, first_opening) = Stream::open(&gateway, SELF, None).await;
    drop(quiet);
    let (quiet, second_opening) = Stream::open(&gateway, SELF, None).await;
    drop(quiet);
    publish(&gateway, &records, |_| true);
    let (mut stream, third_opening) = Stream::open(&gateway, SELF, None).await;
    let openings = [&first_opening, &second_opening, &third_opening].map(|events| &events[0].2);
    // Two ids of one position differ as much as two of different ones.
    for id in openings {
        assert_eq!(id.len(), openings[0].len());
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let equal = openings.iter().filter(|other| **other == id).count();
        assert_eq!(equal, 1);
    }
    // The events of others do not even wake the client.
    publish(&gateway, &records, Record::is_own);
    publish(&gateway, &records, |_| true);
    assert_eq!(stream.text(Duration::from_secs(3)).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_head_request_is_answered_without_a_stream() {
    let records = some_of_each();
    let gateway = gateway(&records, |_| false);
    let head = gateway.ask(Method::HEAD, "/events", &[SELF]).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_many_records_are_told_to_those_whom_they_concern() {
    let empty = r#"{"results":[]}"#;
    let record = |id: &str, at: usize| {
        format!(r#"{{"employee_id":"{id}","priority":"low","timestamp":{at}}}"#)
    };
    for has_own in [false, true] {
        let gateway = gateway(&some_of_each(), |_| false);
        let mut streams = Vec::new();
        for (caller, is_told) in [(ALL, true), (SELF, has_own), (SECOND, true)] {
            streams.push((caller, is_told, Stream::open(&gateway, caller, None).await));
        }
        let others = (0..10_001).map(|at| record(EMPLOYEES[1].0, at));
        let own = has_own.then(|| record(OWN, 0));
        let many: Vec<String> = others.chain(own).collect();
        let many = format!(r#"{{"results":[{}]}}"#, many.join(","));
        gateway.publish(Some(empty), vec![Some(&many), Some(empty), Some(empty)]);
        for (caller, is_told, (mut stream, opening)) in streams {
            let events = stream.next().await;
            let told: Vec<_> = events.iter().map(|(name, data, _)| (&**name, data)).collect();
            let reset = serde_json::json!({"reason": "too_many"});
            let expected = if is_told { vec![("reset", &reset)] } else { vec![] };
            assert_eq!(told, expected, "{caller:?}");
            let (_, resumed) = Stream::open(&gateway, caller, Some(&opening[0].2)).await;
            assert_eq!(resumed.len(), 1 + usize::from(is_told), "{caller:?}: {resumed:?}");
        }
    }
}

async fn check(before: &[Record], after: &[Record]) {
    let whole = gateway(before, |_| true);
    let own = gateway(before, Record::is_own);
    let (mut on_whole, _) = Stream::open(&whole, SELF, None).await;
    let (mut on_own, _) = Stream::open(&own, SELF, None).await;
    publish(&whole, after, |_| true);
    publish(&own, after, Record::is_own);
    let without_ids = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("id: ")).map(str::to_owned).collect()
    };
    let text = on_whole.text(Duration::from_secs(3)).await;
    assert!(!text.contains("foreign"), "{text}");
    assert!(EMPLOYEES[1..].iter().all(|(id, name)| !text.contains(id) && !text.contains(name)));
    let alone = on_own.text(Duration::from_secs(3)).await;
    assert_eq!(without_ids(text), without_ids(alone));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_stream_is_what_it_would_be_without_other_records(before in records(), after in records()) {
        super::run(check(&before, &after));
    }
}
