//! The gateway forwards to receivers of each format, over real sockets: what they get, what
//! happens to what they refuse, and what their trouble does to others.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::cli::{Ran, run};
use crate::support::client::get;
use crate::support::forward_receiver::{Answer, FORMATS, ForwardReceiver, Record};
use crate::support::reloadable::{CONFIG, Files, Reloadable};
use crate::support::scripted_upstream::{Reply, Script};

/// How long a test waits for a condition.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// A forward that sends at once.
const FROM_BEGINNING: &str = "from: beginning, batch: { max_wait: 0s }";

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < MAX_WAIT, "never {what}");
        sleep(Duration::from_millis(30)).await;
    }
}

/// Replaces the file of the source: an event for each number, of an employee each.
fn write_events(files: &Files, events: impl IntoIterator<Item = (usize, &'static str)>) {
    let line = |(event, employee)| {
        format!(
            "{{\"event\":\"e{event}\",\"when\":\"2026-03-02T11:00:00Z\",\"who\":\"{employee}\"}}\n"
        )
    };
    files.write("badge.ndjson", events.into_iter().map(line).collect::<String>());
}

fn of_ada(events: usize) -> impl Iterator<Item = (usize, &'static str)> {
    (1..=events).map(|event| (event, "ada"))
}

/// The number of the event that a record has.
fn event(record: &Record) -> usize {
    record.incident["record"]["event"].as_str().unwrap()[1..].parse().unwrap()
}

/// The events of all requests, in their order.
fn received(receiver: &ForwardReceiver) -> Vec<usize> {
    let requests = receiver.requests();
    requests.iter().flat_map(|request| &request.records).map(event).collect()
}

fn distinct(ids: &[String]) -> usize {
    ids.iter().collect::<HashSet<_>>().len()
}

/// A folder with a configuration, and this many events in the file of its source.
fn folder(keep: &str, forwards: &[String], events: usize) -> Files {
    let files = Files::new("");
    let text = format!(
        "store: {{ url: 'sqlite:{}', keep: {keep} }}
sources:
  - {{ name: badge, file: '{}', every: 100ms, id: event, priority: {{ default: low }},
      timestamp: when, identity: {{ at: who, as: employee_id }} }}
forward:\n  - {}\n",
        files.name("history.db"),
        files.name("badge.ndjson"),
        forwards.join("\n  - "),
    );
    files.write(CONFIG, text);
    write_events(&files, of_ada(events));
    files
}

async fn start(forwards: &[String], events: usize) -> Reloadable {
    Reloadable::start(folder("90d", forwards, events), &[]).await
}

/// Stops it in order, and starts it again.
async fn restart(gateway: Reloadable) -> Reloadable {
    let Reloadable { mut process, files, .. } = gateway;
    process.signal(Signal::TERM);
    assert_eq!(process.ends_within(Duration::from_secs(20)).await.code(), Some(0));
    Reloadable::start(files, &[]).await
}

/// What `/sources` says of a forward.
async fn forward(gateway: &Reloadable, name: &str) -> Value {
    let sources = get(gateway.process.address, "/sources").await.json();
    let forwards = sources["forwards"].as_array().unwrap();
    forwards.iter().find(|forward| forward["name"] == name).unwrap().clone()
}

/// Waits until a forward has nothing to do any more, and has done so many records.
async fn until_done(gateway: &Reloadable, name: &str, [sent, dead_letters]: [u64; 2]) -> Value {
    until(&format!("{name}: {sent} sent, {dead_letters} dead letters"), async || {
        let forward = forward(gateway, name).await;
        let is_idle = forward["state"] == "idle" && forward["lag"] == 0;
        is_idle && forward["sent"] == sent && forward["dead_letters"] == dead_letters
    })
    .await;
    forward(gateway, name).await
}

/// The value of a metric of a forward, by its name without prefix and `_total`.
async fn metric(gateway: &Reloadable, metric: &str, name: &str) -> u64 {
    let page = get(gateway.process.admin_address, "/metrics").await;
    let series = format!("incident_gateway_forward_{metric}{{forward=\"{name}\"}} ");
    let value = page.text().lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_gets_each_record_once_and_a_restart_sends_none_again() {
    let mut receivers = Vec::new();
    for format in FORMATS {
        receivers.push(ForwardReceiver::start(format).await);
    }
    let recent = ForwardReceiver::start("ndjson").await;
    let with_name = receivers.iter().zip(FORMATS);
    let mut forwards: Vec<_> =
        with_name.map(|(receiver, format)| receiver.forward(format, FROM_BEGINNING)).collect();
    forwards.push(recent.forward("recent", "from: now, batch: { max_wait: 0s }"));
    let gateway = start(&forwards, 25).await;
    let history = async |gateway: &Reloadable| -> Vec<String> {
        let rows = get(gateway.process.address, "/history?limit=100").await.json();
        let rows = rows["incidents"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    for (receiver, format) in receivers.iter().zip(FORMATS) {
        let forward = until_done(&gateway, format, [25, 0]).await;
        assert_eq!(forward["last_error"], Value::Null);
        assert_eq!(received(receiver), (1..=25).collect::<Vec<_>>(), "{format}");
        let (mut accepted, mut stored) = (receiver.accepted(), history(&gateway).await);
        accepted.sort_unstable();
        stored.sort_unstable();
        assert_eq!(accepted, stored, "{format}");
        for (name, value) in
            [("sent_total", 25), ("failed_total", 0), ("dead_letters_total", 0), ("lag_records", 0)]
        {
            assert_eq!(metric(&gateway, name, format).await, value, "{format}: {name}");
        }
        assert_eq!(receiver.upstream.most_in_flight(), 1, "{format}");
    }
    until_done(&gateway, "recent", [0, 0]).await;
    assert!(recent.requests().is_empty());

    let gateway = restart(gateway).await;
    write_events(&gateway.files, of_ada(26));
    for (receiver, format) in receivers.iter().zip(FORMATS) {
        until_done(&gateway, format, [26, 0]).await;
        assert_eq!(received(receiver), (1..=26).collect::<Vec<_>>(), "{format}");
        assert_eq!(metric(&gateway, "sent_total", format).await, 1, "{format}: of this process");
    }
    until_done(&gateway, "recent", [1, 0]).await;
    assert_eq!(received(&recent), [26]);
}

/// How each format says that a record is at fault.
const REFUSALS: [(&str, u16); 5] = [
    ("ndjson", 400),
    ("cloudevents", 413),
    ("splunk_hec", 422),
    ("alertmanager", 400),
    ("elasticsearch", 400),
];

const REFUSED: [usize; 3] = [7, 8, 30];

/// One that has every record already, and two that can be had only when they are asked for again.
fn item(record: &Record, is_first: bool) -> u16 {
    match event(record) {
        event if REFUSED.contains(&event) => 400,
        9 => 409,
        10 if is_first => 429,
        11 if is_first => 503,
        _ => 201,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_at_fault_are_found_and_put_aside() {
    let (mut receivers, mut forwards) = (Vec::new(), Vec::new());
    for (format, status) in REFUSALS {
        let receiver = ForwardReceiver::start(format).await;
        let requests = AtomicUsize::new(0);
        receiver.answer(move |records| {
            let is_first = requests.fetch_add(1, Ordering::SeqCst) == 0;
            if format == "elasticsearch" {
                Answer::Items(records.iter().map(|record| item(record, is_first)).collect())
            } else if records.iter().any(|record| REFUSED.contains(&event(record))) {
                Answer::Status(status)
            } else {
                Answer::Status(202)
            }
        });
        forwards.push(receiver.forward(format, FROM_BEGINNING));
        receivers.push(receiver);
    }
    let gateway = start(&forwards, 50).await;
    for (receiver, (format, status)) in receivers.iter().zip(REFUSALS) {
        let forward = until_done(&gateway, format, [47, 3]).await;
        let accepted = receiver.accepted();
        assert_eq!((accepted.len(), distinct(&accepted)), (47, 47), "{format}: each once");
        assert_eq!(metric(&gateway, "dead_letters_total", format).await, 3, "{format}");
        assert_eq!(metric(&gateway, "sent_total", format).await, 47, "{format}");
        assert!(metric(&gateway, "failed_total", format).await > 0, "{format}");

        let records: Vec<Record> =
            receiver.requests().into_iter().flat_map(|request| request.records).collect();
        let id = |number| {
            let record = records.iter().find(|record| event(record) == number);
            record.unwrap().id.clone()
        };
        let events = gateway.events();
        for number in REFUSED {
            let warnings: Vec<_> = events
                .iter()
                .filter(|event| event.field("forward") == format && event.field("id") == id(number))
                .collect();
            let [warning] = &warnings[..] else { panic!("{format}: {warnings:#?}") };
            assert_eq!((&*warning.level, &warning.fields["status"]), ("WARN", &status.into()));
            let answer = warning.field("answer");
            assert!(answer == "{}" || answer.contains("as the test says"), "{answer}");
        }
        if format == "elasticsearch" {
            // Two records had to be sent again, which has succeeded since.
            assert_eq!(forward["last_error"], Value::Null);
        } else {
            let error = forward["last_error"].as_str().unwrap();
            assert!(error.contains(&id(REFUSED[2])), "{error}");
            assert!(error.contains(&status.to_string()), "{error}");
        }
        let again = &receiver.requests()[1..];
        let again = again.iter().flat_map(|request| &request.records).map(event);
        if format == "elasticsearch" {
            assert_eq!(again.collect::<Vec<_>>(), [10, 11], "no others are sent again");
        } else {
            let requests = receiver.requests().len();
            assert!(requests <= 3 * 12, "{format}: it takes {requests} requests to find three");
        }
    }
}

/// What a receiver does that is in trouble.
fn troubles() -> Vec<(&'static str, Answer)> {
    let other = |script| Answer::Other(script);
    vec![
        ("failing", Answer::Status(500)),
        ("busy", Answer::Status(429)),
        ("forbidding", Answer::Status(403)),
        ("absent", Answer::Status(404)),
        ("redirecting", other(Script::Redirect("/trap".to_owned()))),
        ("resetting", other(Script::ResetBeforeHeaders)),
        ("closing", other(Script::Close)),
        ("babbling", other(Script::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()))),
        ("hanging", other(Script::HangBeforeHeaders)),
        ("halting", other(Script::HangInHeaders)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_a_receiver_is_waited_out_and_holds_up_nobody_else() {
    let is_well = Arc::new(AtomicBool::new(false));
    let quick = format!("{FROM_BEGINNING}, timeout: 500ms");
    let (mut receivers, mut forwards) = (Vec::new(), Vec::new());
    let mut troubles = troubles();
    // It is no answer of its API that it gives.
    troubles.push(("nonsense", Answer::Other(Reply::json("{}").into())));
    for (name, trouble) in troubles {
        let format = if name == "nonsense" { "elasticsearch" } else { "ndjson" };
        let receiver = ForwardReceiver::start(format).await;
        let is_well = Arc::clone(&is_well);
        receiver.answer(move |_| {
            if is_well.load(Ordering::SeqCst) { Answer::Status(200) } else { trouble.clone() }
        });
        forwards.push(receiver.forward(name, &quick));
        receivers.push((name, receiver));
    }
    let well = ForwardReceiver::start("ndjson").await;
    forwards.push(well.forward("well", &quick));
    let patient = ForwardReceiver::start("ndjson").await;
    let busy = Reply { status: 503, ..Reply::json("{}") }.header("Retry-After", "3");
    patient.answer_each([Answer::Other(busy.into()), Answer::Status(200)]);
    forwards.push(patient.forward("patient", &quick));

    let gateway = start(&forwards, 3).await;
    until_done(&gateway, "well", [3, 0]).await;
    for (name, _) in &receivers {
        until(&format!("{name} retrying"), async || {
            forward(&gateway, name).await["state"] == "retrying"
        })
        .await;
        let forward = forward(&gateway, name).await;
        assert!(forward["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{forward}");
        assert_eq!([&forward["lag"], &forward["sent"], &forward["dead_letters"]], [3, 0, 0]);
        assert!(metric(&gateway, "failed_total", name).await > 0, "{name}");
        assert_eq!(metric(&gateway, "lag_records", name).await, 3, "{name}");
    }
    write_events(&gateway.files, of_ada(4));
    let began = Instant::now();
    until_done(&gateway, "well", [4, 0]).await;
    let incidents = get(gateway.process.address, "/incidents").await;
    assert!(incidents.text().contains("\"e4\""), "{}", incidents.text());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    is_well.store(true, Ordering::SeqCst);
    for (name, receiver) in &receivers {
        let forward = until_done(&gateway, name, [4, 0]).await;
        assert_eq!(forward["last_error"], Value::Null, "{name}");
        let accepted = receiver.accepted();
        assert_eq!((accepted.len(), distinct(&accepted)), (4, 4), "{name}");
        assert_eq!(receiver.upstream.calls("/trap"), 0, "{name}");
    }
    until_done(&gateway, "patient", [4, 0]).await;
    let seen = patient.upstream.seen();
    let waited = seen[1].began - seen[0].began;
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_no_longer_is_counted_unless_it_was_sent() {
    let (siem, other) =
        (ForwardReceiver::start("ndjson").await, ForwardReceiver::start("cloudevents").await);
    siem.answer(|_| Answer::Status(503));
    let forwards = [siem.forward("siem", FROM_BEGINNING), other.forward("other", FROM_BEGINNING)];
    let gateway = Reloadable::start(folder("2s", &forwards, 20), &[]).await;
    until_done(&gateway, "other", [20, 0]).await;
    write_events(&gateway.files, of_ada(5));
    until("fifteen records deleted", async || {
        let siem = forward(&gateway, "siem").await;
        siem["dead_letters"] == 15 && siem["lag"] == 5
    })
    .await;
    assert_eq!(forward(&gateway, "siem").await["sent"], 0);
    siem.answer(|_| Answer::Status(200));
    until_done(&gateway, "siem", [5, 15]).await;
    assert_eq!(siem.accepted().len(), 5);
    assert_eq!(metric(&gateway, "dead_letters_total", "siem").await, 15);
    until_done(&gateway, "other", [20, 0]).await;
    let gateway = restart(gateway).await;
    until_done(&gateway, "siem", [5, 15]).await;
    until_done(&gateway, "other", [20, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_not_sent_and_leaves_no_dead_letter() {
    let (siem, refusing) =
        (ForwardReceiver::start("ndjson").await, ForwardReceiver::start("splunk_hec").await);
    siem.answer(|_| Answer::Status(503));
    refusing.answer(|_| Answer::Status(400));
    let forwards =
        [siem.forward("siem", FROM_BEGINNING), refusing.forward("refusing", FROM_BEGINNING)];
    let files = folder("90d", &forwards, 0);
    let both = (1..=10).map(|event| (event, if event % 2 == 0 { "bob" } else { "ada" }));
    write_events(&files, both.clone());
    let gateway = Reloadable::start(files, &[]).await;
    until_done(&gateway, "refusing", [0, 10]).await;
    until("siem retrying", async || forward(&gateway, "siem").await["state"] == "retrying").await;
    // A source that lists them still would bring them back.
    write_events(&gateway.files, both.filter(|(_, employee)| *employee == "ada"));
    until("the records of bob gone", async || {
        !get(gateway.process.address, "/incidents").await.text().contains("\"bob\"")
    })
    .await;
    let config = gateway.files.name(CONFIG);
    let forget = move || run(&["forget", "--config", &config, "--", "bob"], &[]);
    let Ran { code, stdout, stderr } = spawn_blocking(forget).await.unwrap();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let database = rusqlite::Connection::open(gateway.files.path("history.db")).unwrap();
    let letters = "SELECT group_concat(DISTINCT employee_id), count(*) FROM dead_letters";
    let letters: (String, i64) =
        database.query_row(letters, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(letters, ("ada".to_owned(), 5));
    let before = siem.requests().len();
    siem.answer(|_| Answer::Status(200));
    until_done(&gateway, "siem", [5, 0]).await;
    let sent = siem.requests().into_iter().skip(before).flat_map(|request| request.records);
    assert_eq!(sent.map(|record| event(&record)).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    until_done(&gateway, "refusing", [0, 10]).await;
}
