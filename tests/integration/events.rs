//! `/events` under paused time: which events are sent, from where clients resume, and how streams
//! end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use incident_gateway::http::{Body, Phase};
use incident_gateway::outcome::Outcome;
use incident_gateway::snapshot::SourceError;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::snapshot_gateway::SnapshotGateway;

/// An event as a client parses it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// A client that reads a stream.
struct Client {
    body: Body,
    text: String,
    id: String,
    comments: usize,
}

impl Client {
    async fn connect(gateway: &SnapshotGateway, last: Option<&str>) -> Self {
        // Lets the task that makes events process what was published before.
        sleep(Duration::from_millis(10)).await;
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let response = gateway.ask(Method::GET, "/events", &headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
        let mut client = Self {
            body: response.into_body(),
            text: String::new(),
            id: String::new(),
            comments: 0,
        };
        // Reads the opening, and the events after `last`.
        client.read(Duration::from_millis(10)).await;
        client
    }

    /// Reads what arrives within this time; returns whether the stream has ended.
    async fn read(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match tokio::time::timeout_at(until, self.body.frame()).await {
                Ok(Some(frame)) => self
                    .text
                    .push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap()),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The events read so far, parsed as the standard says.
    fn events(&mut self) -> Vec<Event> {
        let text = std::mem::take(&mut self.text);
        let mut events = Vec::new();
        for block in text.split_terminator("\n\n") {
            let mut event = Event::default();
            for line in block.lines() {
                match line.split_once(": ").unwrap() {
                    ("", _) => self.comments += 1,
                    ("event", name) => name.clone_into(&mut event.name),
                    ("data", data) => data.clone_into(&mut event.data),
                    ("id", id) => id.clone_into(&mut self.id),
                    ("retry", milliseconds) => assert_eq!(milliseconds, "3000"),
                    other => panic!("{other:?}"),
                }
            }
            event.id.clone_from(&self.id);
            // The opening event has a test of its own.
            if !event.data.is_empty() && event.name != "connected" {
                events.push(event);
            }
        }
        events
    }

    /// The events of the next seconds.
    async fn next(&mut self) -> Vec<Event> {
        self.read(Duration::from_secs(3)).await;
        self.events()
    }
}

fn records(ids: impl IntoIterator<Item = u32>) -> String {
    let mut body = String::from(r#"{"results":["#);
    for id in ids {
        let comma = if body.ends_with('[') { "" } else { "," };
        write!(body, r#"{comma}{{"employee_id":{id},"priority":"high","timestamp":{id}}}"#)
            .unwrap();
    }
    body + "]}"
}

#[tokio::test(start_paused = true)]
async fn each_record_that_a_refresh_adds_is_sent_once() {
    let first = r#"{"results":[{"ip":"17.0.0.1","priority":"low","timestamp":1}]}"#;
    let gateway = SnapshotGateway::with(&[("misuse", &records([1, 2])), ("probing", first)]);
    let mut client = Client::connect(&gateway, None).await;
    assert_eq!(client.next().await, [], "existing records are not new");

    let probing = concat!(
        r#"{"results":[{"ip":"17.0.0.9","priority":"critical","timestamp":5,"type":"x","#,
        "\n",
        r#""note":"a\nb"},{"ip":"17.0.0.1","priority":"low","timestamp":1},7]}"#
    );
    gateway.publish_named(&[("misuse", &records([3, 2, 1, 2])), ("probing", probing)]);
    let events = client.next().await;
    assert!(events.iter().all(|event| event.name == "incidents"), "{events:?}");
    let data: Vec<Value> = events.iter().map(Event::json).collect();
    let misuse = |id: u32| {
        json!({"type": "misuse", "employee_id": id.to_string(), "priority": "high",
               "incident": {"type": "misuse", "employee_id": id, "priority": "high", "timestamp": id}})
    };
    assert_eq!(data[..2], [misuse(3), misuse(2)]);
    assert_eq!(
        events[2].data,
        r#"{"type":"probing","employee_id":null,"priority":"critical","reason":"unknown_ip","incident":{"type":"probing","ip":"17.0.0.9","priority":"critical","timestamp":5,"note":"a\nb"}}"#
    );
    assert_eq!(
        data[3],
        json!({"type": "probing", "employee_id": null, "priority": null, "reason": "not_an_object", "incident": 7})
    );
    assert_eq!(data.len(), 4);

    // With identities, the same records move to other employees, which sends no events.
    gateway.publish_named(&[
        ("misuse", &records([3, 2, 1, 2])),
        ("probing", probing),
        ("identities", r#"{"17.0.0.9":5,"17.0.0.1":6}"#),
    ]);
    assert_eq!(client.next().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_after_its_last_event() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let mut client = Client::connect(&gateway, None).await;
    client.events();
    let begin = client.id.clone();
    gateway.publish_named(&[("misuse", &records([1, 2, 3]))]);
    let events = client.next().await;
    assert_eq!(events.len(), 2);
    drop(client);

    // Events are made while the client is disconnected.
    sleep(Duration::from_mins(1)).await;
    gateway.publish_named(&[("misuse", &records([1, 2, 3, 4]))]);
    sleep(Duration::from_mins(1)).await;
    let mut again = Client::connect(&gateway, Some(&events[0].id)).await;
    // Meanwhile the data has become stale and fresh again, which sends `sources` events.
    let incidents = |events: Vec<Event>| -> Vec<Event> {
        events.into_iter().filter(|event| event.name == "incidents").collect()
    };
    let told = incidents(again.next().await);
    assert_eq!(told[0], events[1]);
    assert_eq!((told.len(), told[1].json()["employee_id"].clone()), (2, json!("4")));
    let mut from_begin = Client::connect(&gateway, Some(&begin)).await;
    assert_eq!(incidents(from_begin.next().await).len(), 3);

    for strange in ["", "x", "0-0", "0000000000000000-1", "99999999999999999999-1"] {
        let mut other = Client::connect(&gateway, Some(strange)).await;
        let told = other.next().await;
        assert_eq!(
            (told.len(), told[0].name.as_str(), told[0].json()),
            (1, "reset", json!({"reason": "unknown_id"}))
        );
    }

    // Events are made although no stream is open.
    drop((again, from_begin));
    sleep(Duration::from_hours(1)).await;
    gateway.publish_named(&[("misuse", &records([1, 2, 3, 4, 5]))]);
    sleep(Duration::from_hours(1)).await;
    let mut late = Client::connect(&gateway, Some(&events[1].id)).await;
    assert_eq!(incidents(late.next().await).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_opens_with_an_event_that_has_an_id() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let client = Client::connect(&gateway, None).await;
    let opening = client.text.split_once("\n\n").unwrap().0;
    let id = opening.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    assert!(opening.contains("\nevent: connected\ndata: {}"), "{opening}");

    // A client that reconnects before its first event loses nothing.
    drop(client.body);
    gateway.publish_named(&[("misuse", &records([1, 2]))]);
    sleep(Duration::from_secs(5)).await;
    let mut again = Client::connect(&gateway, Some(id)).await;
    let events = again.next().await;
    assert_eq!((events.len(), &*events[0].name), (1, "incidents"));
    assert!(again.text.is_empty() && events[0].id != id);
}

#[tokio::test(start_paused = true)]
async fn superseded_bodies_are_not_kept_in_memory() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let client = Client::connect(&gateway, None).await;
    let view = |gateway: &SnapshotGateway| Arc::clone(&gateway.snapshots.borrow().view);
    let old = Arc::downgrade(view(&gateway).batches()[3].as_ref().unwrap());
    let old_view = Arc::downgrade(&view(&gateway));
    gateway.publish_named(&[("misuse", &records([2]))]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!((old.strong_count(), old_view.strong_count()), (0, 0));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_is_sent_as_a_reset() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let mut client = Client::connect(&gateway, None).await;
    let text = "x".repeat(300_000);
    let large = format!(
        r#"{{"results":[{{"employee_id":1,"priority":"high","timestamp":1,"text":"{text}"}}]}}"#
    );
    gateway.publish_named(&[("misuse", &large)]);
    assert_eq!(client.next().await[0].json(), json!({"reason": "too_many"}));
}

#[tokio::test(start_paused = true)]
async fn changed_states_are_sent_and_a_returning_source_sends_only_its_new_records() {
    let gateway = SnapshotGateway::new();
    let empty = r#"{"results":[]}"#;
    let all = |misuse: Option<&'static str>| {
        let mut bodies = vec![Some(empty); 7];
        bodies[3] = misuse;
        bodies
    };
    let mut client = Client::connect(&gateway, None).await;
    let (one, two) = (records([1]), records([1, 2]));
    let (one, two): (&'static str, &'static str) = (one.leak(), two.leak());
    gateway.publish(Some("{}"), all(None));
    let events = client.next().await;
    assert_eq!(events.len(), 7, "every source but the missing one: {events:?}");
    assert_eq!(
        events[0].json(),
        json!({"name": "identities", "state": "fresh", "completeness": "partial"})
    );

    gateway.publish(Some("{}"), all(Some(one)));
    let events = client.next().await;
    assert_eq!(events.len(), 1, "a first batch adds nothing: {events:?}");
    assert_eq!(
        events[0].json(),
        json!({"name": "misuse", "state": "fresh", "completeness": "complete"})
    );

    gateway.publish_states(|source| {
        if &*source.name == "misuse" {
            source.consecutive_failures = 1;
            source.last_error =
                Some(SourceError { kind: Outcome::Timeout, detail: "scripted".to_owned() });
        }
    });
    let events = client.next().await;
    assert_eq!(
        events[0].json(),
        json!({"name": "misuse", "state": "stale", "error": "timeout", "completeness": "stale"})
    );
    gateway.publish(Some("{}"), all(None));
    assert_eq!(client.next().await[0].json()["state"], "missing");
    gateway.publish(Some("{}"), all(Some(two)));
    let events = client.next().await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["sources", "incidents"]);
    assert_eq!(events[1].json()["employee_id"], "2");

    // Data becomes stale although no snapshot is published.
    sleep(Duration::from_mins(1)).await;
    let events = client.next().await;
    assert_eq!(events.len(), 8);
    assert_eq!(
        events[7].json(),
        json!({"name": "other", "state": "stale", "completeness": "stale"})
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_new_records_are_sent_as_one_reset() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let mut client = Client::connect(&gateway, None).await;
    gateway.publish_named(&[("misuse", &records(1..10_003))]);
    let events = client.next().await;
    assert_eq!((events.len(), events[0].json()), (1, json!({"reason": "too_many"})));
    gateway.publish_named(&[("misuse", &records(1..10_004))]);
    assert_eq!(client.next().await[0].json()["employee_id"], "10003");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_behind_gets_a_reset_and_its_stream_ends() {
    let gateway = SnapshotGateway::with(&[("misuse", &records([1]))]);
    let mut slow = Client::connect(&gateway, None).await;
    let mut quick = Client::connect(&gateway, None).await;
    slow.events();
    for end in [9_000, 18_000, 27_000] {
        gateway.publish_named(&[("misuse", &records(1..end))]);
        quick.read(Duration::from_secs(3)).await;
    }
    assert_eq!(quick.events().len(), 26_998);
    assert!(slow.read(Duration::from_secs(3)).await, "the stream has ended");
    let told = slow.events();
    assert_eq!((told.len(), told[0].json()), (1, json!({"reason": "too_slow"})));
    // It resumes after that event.
    gateway.publish_named(&[("misuse", &records(1..27_001))]);
    let mut again = Client::connect(&gateway, Some(&slow.id)).await;
    assert_eq!(again.next().await[0].json()["employee_id"], "27000");
    // An older id is no longer in the ring.
    let begin = slow.id.split_once('-').unwrap().0.to_owned() + "-1";
    let mut old = Client::connect(&gateway, Some(&begin)).await;
    assert_eq!(old.next().await[0].json(), json!({"reason": "gone"}));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_has_heartbeats() {
    let gateway = SnapshotGateway::new();
    let mut client = Client::connect(&gateway, None).await;
    client.read(Duration::from_secs(61)).await;
    client.events();
    assert_eq!(client.comments, 4);
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_listener_closes_and_not_before() {
    let gateway = SnapshotGateway::new();
    let mut client = Client::connect(&gateway, None).await;
    gateway.phase.send_replace(Phase::Draining);
    assert!(!client.read(Duration::from_secs(5)).await);
    gateway.phase.send_replace(Phase::Closing);
    let ended = timeout(Duration::from_millis(10), client.read(Duration::from_secs(5))).await;
    assert_eq!(ended, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_clients_is_bounded() {
    let gateway = SnapshotGateway::with(&[]);
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(gateway.ask(Method::GET, "/events", &[]).await);
    }
    let refused = gateway.get("/events").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json()["type"], "urn:incident-gateway:problem:overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    // Streams need no permits of other requests, and HEAD needs no permit of a stream.
    assert_eq!(gateway.get("/incidents").await.status, StatusCode::OK);
    assert_eq!(gateway.ask(Method::HEAD, "/events", &[]).await.status(), StatusCode::OK);
    assert_eq!(
        gateway.ask(Method::POST, "/events", &[]).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    clients.pop();
    assert_eq!(gateway.ask(Method::GET, "/events", &[]).await.status(), StatusCode::OK);
}
