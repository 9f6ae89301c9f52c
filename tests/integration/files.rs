//! Sources in files, with whole gateways.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::gateway::Gateway;
use crate::support::mapped_gateway::{ids, source};
use crate::support::scripted_upstream::gzip;

/// A gateway whose only source, `badge`, reads these files of the folder.
fn start(folder: &TempDir, pattern: &str, rest: &str) -> Gateway {
    let pattern = folder.path().join(pattern);
    let text = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nresponse_budget: 300ms\n\
         upstream: {{ max_body: 64KiB }}\n\
         sources:\n  - {{ name: badge, file: '{}', every: 100ms, id: event, priority: {{ default: \
         low }},\n      timestamp: {{ at: when, zone: Europe/Oslo }}, identity: {{ at: who, as: \
         employee_id }} }}\n{rest}",
        pattern.display()
    );
    let config = incident_gateway::config::from_yaml("test.yaml", &text);
    Gateway::start(&config.unwrap_or_else(|errors| panic!("{errors}")))
}

/// Replaces a file, so that no half of it is ever seen.
fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let new = path.with_file_name("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn csv(events: &[&str]) -> String {
    let row = |event: &&str| format!("{event},2026-03-02 11:00:00,ada\r\n");
    "event,when,who\r\n".to_owned() + &events.iter().map(row).collect::<String>()
}

fn ndjson(events: &[&str]) -> String {
    let line = |event: &&str| {
        format!("{{\"event\":\"{event}\",\"when\":\"2026-03-02T11:00:00\",\"who\":\"ada\"}}\n")
    };
    events.iter().map(line).collect()
}

fn zstd(text: &str) -> Vec<u8> {
    ::zstd::bulk::compress(text.as_bytes(), 3).unwrap()
}

/// Waits until these are the records, and the source is fresh.
async fn wait_for_ids(gateway: &Gateway, expected: &[&str]) {
    let began = Instant::now();
    loop {
        gateway.wait_until_complete("the files").await;
        let ids = ids(gateway).await;
        if ids == expected {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{ids:?} instead of {expected:?}");
        sleep(Duration::from_millis(40)).await;
    }
}

/// Waits until the source fails because of a file, and returns what it says.
async fn wait_for_error(gateway: &Gateway, expected: &str) -> String {
    let sources = gateway
        .wait_until(expected, |sources| {
            let error = source(sources, "badge")["last_error"].as_str().unwrap_or_default();
            error.contains(expected)
        })
        .await;
    source(&sources, "badge")["last_error"].as_str().unwrap().to_owned()
}

/// How many times the files were read with this outcome, as the metrics say.
async fn reads(gateway: &Gateway, outcome: &str) -> u64 {
    let page = gateway.admin("/metrics").await;
    let name = "incident_gateway_upstream_requests_total";
    let series = format!("{name}{{source=\"badge\",outcome=\"{outcome}\"}} ");
    let value = page.text().lines().find_map(|line| line.strip_prefix(&*series));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn files_of_every_format_are_one_source_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let list = |event: &str| format!("[{}]", ndjson(&[event]).trim_end());
    write("a.csv", format!("\u{feff}{}", csv(&["a1", "a2"])).as_bytes());
    write("b.ndjson", format!("\u{feff}{}\n", ndjson(&["b1", "b2"])).as_bytes());
    write("c.json", list("c1").as_bytes());
    write("d.csv.gz", &[gzip(csv(&["d1"]).as_bytes()), gzip(b"d2,2026-03-02,ada\n")].concat());
    write("e.jsonl.zst", &[zstd(&ndjson(&["e1"])), zstd(&ndjson(&["e2"]))].concat());
    write("f.json.gz", &gzip(list("f1").as_bytes()));
    write("g.ndjson", b"");
    write("h.csv", b"event,when,who\n");
    write("i.jsonl", b"\n\n");
    write(".hidden.csv", b"not,ours");
    write("z.json", b"[]");
    let gateway = start(&folder, "*", "");
    // 2026-03-02 is no time without its hours.
    gateway.wait_until_complete("all files").await;
    assert_eq!(ids(&gateway).await, ["a1", "a2", "b1", "b2", "c1", "d1", "e1", "e2", "f1"]);
    let unattributed = gateway.get("/unattributed").await.json();
    assert_eq!(unattributed["incidents"][0]["reason"], "invalid_timestamp");
    let document = gateway.get("/incidents").await.json();
    let incidents = document["ada"]["low"]["incidents"].as_array().unwrap();
    let order: Vec<_> = incidents.iter().map(|incident| &incident["id"]).collect();
    assert_eq!(order, ["a1", "a2", "b1", "b2", "c1", "d1", "e1", "e2", "f1"], "by file, then line");
    let first = json!({"event": "a1", "when": "2026-03-02 11:00:00", "who": "ada"});
    assert_eq!(incidents[0]["record"], first, "all columns are strings");
    assert_eq!(incidents[0]["timestamp"], 1_772_445_600.0, "in Oslo");
    let sources = gateway.get("/sources").await.json();
    let badge = source(&sources, "badge");
    assert_eq!((&badge["pages"], &badge["records"]), (&json!(10), &json!(10)), "{badge:#}");
    assert_eq!((&badge["upstream"], &badge["breaker"]), (&Value::Null, &Value::Null));
    assert!(reads(&gateway, "ok").await >= 1);
}

#[tokio::test]
async fn changed_files_are_read_again_and_unchanged_ones_stay_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("badge.csv");
    fs::write(&path, csv(&["a"])).unwrap();
    let gateway = start(&folder, "badge.csv", "");
    wait_for_ids(&gateway, &["a"]).await;
    let before = gateway.get("/sources").await.json();
    let success = |sources: &Value| source(sources, "badge")["last_success"].clone();
    gateway.wait_until("fresh again", |sources| success(sources) != success(&before)).await;
    replace(&path, csv(&["a", "b"]));
    wait_for_ids(&gateway, &["a", "b"]).await;
    // The same size and time, as in a volume of Kubernetes that is replaced.
    let modified = path.metadata().unwrap().modified().unwrap();
    let new = folder.path().join("new");
    fs::write(&new, csv(&["a", "c"])).unwrap();
    fs::File::options().write(true).open(&new).unwrap().set_modified(modified).unwrap();
    fs::rename(&new, &path).unwrap();
    wait_for_ids(&gateway, &["a", "c"]).await;
    assert_eq!(path.metadata().unwrap().modified().unwrap(), modified);
}

#[tokio::test]
async fn a_wrong_or_missing_file_fails_the_source_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("a.ndjson");
    fs::write(&good, ndjson(&["a1"])).unwrap();
    let gateway = start(&folder, "[!n]*", "");
    wait_for_ids(&gateway, &["a1"]).await;
    let compressed = gzip(ndjson(&["b1", "b2"]).as_bytes());
    // 12 kB, and as JSON 70 times that.
    let wide = format!(
        "event{}\n{}",
        format!(",{}", "x".repeat(100)).repeat(40),
        format!("{}\n", ",".repeat(40)).repeat(200)
    );
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "b.csv",
            b"event,when,who\nb1,2026-03-02,ada\nb2,2026-03-02\n".to_vec(),
            "b.csv: line 3: ",
        ),
        ("b.csv", b"".to_vec(), "b.csv: line 1: the file has no header row"),
        ("b.csv", "\u{feff}".into(), "b.csv: line 1: the file has no header row"),
        ("b.csv", b"\r\n\n".to_vec(), "b.csv: line 1: the file has no header row"),
        ("b.csv.gz", gzip(b""), "b.csv.gz: line 1: the file has no header row"),
        ("b.csv", b"event,when,who\nb1,\"2026-03-02,ada\n".to_vec(), "b.csv: line 2: a quote"),
        ("b.csv", b"event,when,who\nb1,\"x\"y,ada\n".to_vec(), "b.csv: line 2: text follows"),
        ("b.csv", b"event,when,who\nb1,\xff,ada\n".to_vec(), "b.csv: line 2: invalid UTF-8"),
        ("b.ndjson", b"{\"event\":\"b1\"}\n{\"event\":\"b2\"".to_vec(), "b.ndjson: line 2: "),
        ("b.json", b"[{\"event\":\"b1\"}".to_vec(), "b.json: "),
        ("b.json", b"{\"results\":[]}".to_vec(), "b.json: "),
        ("b.ndjson.gz", compressed[..compressed.len() - 1].to_vec(), "b.ndjson.gz is cut off"),
        ("b.ndjson.gz", b"no gzip".to_vec(), "b.ndjson.gz is cut off"),
        ("b.txt", b"".to_vec(), "b.txt has no known format"),
        ("b.csv.gz", gzip(&vec![b'x'; 70 << 10]), "larger than upstream.max_body"),
        ("b.csv", vec![b'x'; 70 << 10], "larger than upstream.max_body"),
        ("b.csv", wide.into(), "8 times as large as upstream.max_body"),
    ];
    for (name, content, expected) in cases {
        let path = folder.path().join(name);
        replace(&path, &content);
        let error = wait_for_error(&gateway, expected).await;
        let outcome = if expected.starts_with("larger") { "too_large: " } else { "file: " };
        assert!(error.starts_with(outcome), "{error}");
        let answer = gateway.get("/incidents").await;
        assert_eq!(answer.header("incident-completeness"), "stale", "{name}");
        assert_eq!(ids(&gateway).await, ["a1"], "{name}: the last good data stays");
        fs::remove_file(&path).unwrap();
        wait_for_ids(&gateway, &["a1"]).await;
    }
    assert!(reads(&gateway, "file").await >= 10);
    fs::remove_file(good).unwrap();
    wait_for_ids(&gateway, &[]).await;
}

#[tokio::test]
async fn a_path_must_exist_and_a_glob_may_match_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&folder, "*.csv", "");
    wait_for_ids(&gateway, &[]).await;
    let gateway = start(&folder, "badge.csv", "");
    wait_for_error(&gateway, "badge.csv: No such file").await;
    let answer = gateway.get("/incidents").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "no-data"));
    fs::write(folder.path().join("badge.csv"), csv(&["a"])).unwrap();
    wait_for_ids(&gateway, &["a"]).await;
}

#[tokio::test]
async fn tables_come_from_files_alike() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("badge.csv"),
        "event,when,who\n1,2026-03-02 11:00,ADA@x.example\n",
    )
    .unwrap();
    let people = folder.path().join("people.csv");
    fs::write(&people, "employee_id,email\n7,ada@x.example\n").unwrap();
    let badge = folder.path().join("badge.csv");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nresponse_budget: 300ms\n\
         cache: {{ ttl: 100ms }}\n\
         sources:\n  - {{ name: badge, file: '{}', id: event, priority: {{ default: low }},\n      \
         timestamp: {{ at: when, format: '%Y-%m-%d %H:%M', zone: UTC }}, identity: {{ at: who, as: \
         email }} }}\nidentities:\n  - {{ file: '{}', employee: employee_id, email: email }}\n",
        badge.display(),
        people.display()
    );
    let config = incident_gateway::config::from_yaml("test.yaml", &text).unwrap();
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("both").await;
    let employees = async || {
        let document = gateway.get("/incidents").await.json();
        document.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(employees().await, ["7"]);
    replace(&people, "employee_id,email\n8,ada@x.example\n");
    gateway
        .wait_until("the new table", |sources| source(sources, "identities")["bytes"] != 0)
        .await;
    for _ in 0..1500 {
        if employees().await == ["8"] {
            return;
        }
        sleep(Duration::from_millis(40)).await;
    }
    panic!("the new table is never used");
}
