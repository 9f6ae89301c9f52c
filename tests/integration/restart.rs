//! Restarts of the built binary with a SQLite store, while the upstream hangs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::client::{Client, get};
use crate::support::gateway::{GOOD, document, good_upstream, path};
use crate::support::process::Process;
use crate::support::scripted_upstream::Script;

const MAX_WAIT: Duration = Duration::from_secs(30);

async fn serve(directory: &TempDir, base_url: &str, others: &[(&str, &str)]) -> Process {
    let url = format!("sqlite:{}", directory.path().join("history.db").display());
    let variables = [&[("STORE__URL", &*url)], others].concat();
    Process::serve(base_url, &variables).await
}

/// The value of a series, once it is as wanted.
async fn metric(process: &Process, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    let began = Instant::now();
    loop {
        let page = get(process.admin_address, "/metrics").await;
        let line =
            page.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.map(|value| value.parse().unwrap());
        if let Some(value) = value.filter(|value| wanted(*value)) {
            return value;
        }
        assert!(began.elapsed() < MAX_WAIT, "{series} is {line:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn is_all_stored(process: &Process) {
    let series = "incident_gateway_store_write_duration_seconds_count";
    #[expect(clippy::cast_precision_loss, reason = "there are eight sources")]
    metric(process, series, |count| count >= GOOD.len() as f64).await;
}

/// The first id of an event stream, once it has told an event of this name.
async fn first_id(address: SocketAddr, last: Option<&str>, event: &str) -> String {
    let mut client = Client::connect(address).await.unwrap();
    let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
    client.send(format!("GET /events HTTP/1.1\r\nHost: test\r\n{last}\r\n")).await.unwrap();
    let began = Instant::now();
    loop {
        let ended = client.is_ended_within(Duration::from_millis(20)).await;
        let text = String::from_utf8_lossy(client.unread());
        let field =
            |name: &'static str| text.lines().filter_map(move |line| line.strip_prefix(name));
        if field("event: ").any(|name| name == event) {
            return field("id: ").next().unwrap().to_owned();
        }
        assert!(!ended && began.elapsed() < Duration::from_secs(10), "no {event}: {text}");
    }
}

fn ages(sources: &Value) -> Vec<f64> {
    let sources = sources["sources"].as_array().unwrap();
    sources.iter().map(|source| source["age_seconds"].as_f64().unwrap()).collect()
}

/// The process is killed, not stopped.
#[tokio::test]
async fn a_restarted_process_serves_last_good_data_while_the_upstream_hangs() {
    let upstream = good_upstream().await;
    let directory = tempfile::tempdir().unwrap();
    let mut first = serve(&directory, &upstream.base_url(), &[]).await;
    is_all_stored(&first).await;
    let fetched = Instant::now();
    let before = get(first.address, "/incidents").await;
    assert_eq!(before.text(), document(|_| true));
    assert_eq!(before.header("incident-completeness"), "complete");
    let before_restart = first_id(first.address, None, "connected").await;
    first.signal(Signal::KILL);
    first.ends_within(Duration::from_secs(5)).await;

    for (source, _) in GOOD.iter().enumerate() {
        upstream.script(&path(source), Script::HangBeforeHeaders);
    }
    let calls = upstream.seen().len();
    sleep(Duration::from_secs(1)).await;
    let second = serve(&directory, &upstream.base_url(), &[]).await;
    let after = get(second.address, "/incidents").await;
    assert!(after.took < Duration::from_secs(2), "{:?}", after.took);
    assert_eq!((after.status, after.text()), (200, before.text()));
    for header in ["incident-completeness", "etag"] {
        assert_eq!(after.header(header), before.header(header), "{header}");
    }
    let sources = get(second.address, "/sources").await.json();
    let least = fetched.elapsed().as_secs_f64();
    for age in ages(&sources) {
        assert!(age >= 1.0 && age <= least + 5.0, "{age} of about {least}: {sources:#}");
    }
    assert_eq!(upstream.seen().len(), calls, "its data is not due yet");
    assert_eq!(get(second.admin_address, "/readyz").await.status, 200);

    let after_restart = first_id(second.address, Some(&before_restart), "reset").await;
    assert!(after_restart > before_restart, "{after_restart} after {before_restart}");
}

#[tokio::test]
async fn restored_data_is_served_as_stale_until_the_upstream_answers_again() {
    let upstream = good_upstream().await;
    let directory = tempfile::tempdir().unwrap();
    let settings = [("CACHE__TTL", "1s"), ("UPSTREAM__TIMEOUT", "500ms")];
    let mut first = serve(&directory, &upstream.base_url(), &settings).await;
    is_all_stored(&first).await;
    first.signal(Signal::TERM);
    assert!(first.ends_within(Duration::from_secs(20)).await.success());
    for (source, _) in GOOD.iter().enumerate() {
        upstream.script(&path(source), Script::HangBeforeHeaders);
    }
    sleep(Duration::from_secs(2)).await;
    let second = serve(&directory, &upstream.base_url(), &settings).await;
    let answer = get(second.address, "/incidents").await;
    assert_eq!(answer.text(), document(|_| true));
    assert_eq!(answer.header("incident-completeness"), "stale");
    // What has changed since is one event of the next refresh, not thousands.
    for (source, (_, body)) in GOOD.iter().enumerate() {
        upstream.script(&path(source), Script::json(*body));
    }
    let more = GOOD[1].1.replace("\"timestamp\":1.5", "\"timestamp\":1.75");
    upstream.script(&path(1), Script::json(more));
    let events = timeout(MAX_WAIT, async {
        let mut client = Client::connect(second.address).await.unwrap();
        client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        loop {
            client.is_ended_within(Duration::from_millis(100)).await;
            let text = String::from_utf8(client.unread().to_vec()).unwrap();
            if text.contains("event: incidents") && text.matches("\"fresh\"").count() >= 8 {
                return text;
            }
        }
    });
    let events = events.await.expect("there are events");
    assert_eq!(events.matches("event: incidents").count(), 1, "{events}");
    assert!(events.contains("1.75") && !events.contains("event: reset"), "{events}");
}
