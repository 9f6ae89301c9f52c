//! The history of a gateway that refreshes from an upstream and keeps it in SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use incident_gateway::config::{self, Config, StoreUrl};
use reqwest::Url;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::{Answer, get, get_with};
use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::process::Process;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const MAX_WAIT: Duration = Duration::from_mins(1);

/// A record that the upstream sent: `misuse` with an employee, or `probing` without one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Sent {
    source: &'static str,
    employee: Option<u32>,
    priority: &'static str,
    /// Distinct, so that the order is known.
    second: u32,
}

impl Sent {
    fn json(&self) -> String {
        let identity = match self.employee {
            Some(id) => format!(r#""employee_id":{id}"#),
            None => r#""ip":"10.9.9.9""#.to_owned(),
        };
        let (priority, second) = (self.priority, self.second);
        format!(r#"{{"priority":"{priority}",{identity},"timestamp":{second}.5}}"#)
    }

    /// As the history answers it.
    fn incident(&self) -> Value {
        let mut incident: Value = serde_json::from_str(&self.json()).unwrap();
        incident["type"] = self.source.into();
        incident
    }
}

/// The records with these numbers.
fn sent(numbers: impl Iterator<Item = u32>) -> Vec<Sent> {
    numbers
        .map(|number| Sent {
            source: if number % 4 == 3 { "probing" } else { "misuse" },
            employee: (number % 4 != 3).then_some(700 + number % 3),
            priority: ["low", "medium", "high", "critical"][number as usize / 2 % 4],
            second: 1_000 + number * 7 % 97,
        })
        .collect()
}

fn script(upstream: &ScriptedUpstream, records: &[Sent]) {
    for source in ["misuse", "probing"] {
        let mut body = r#"{"results":["#.to_owned();
        for (index, record) in records.iter().filter(|sent| sent.source == source).enumerate() {
            write!(body, "{}{}", if index > 0 { "," } else { "" }, record.json()).unwrap();
        }
        upstream.script(&format!("/incidents/{source}/"), Script::json(body + "]}"));
    }
}

fn configuration(upstream: &ScriptedUpstream, folder: &Path) -> Config {
    let url = StoreUrl::Sqlite(folder.join("history.db"));
    let config = quick(&upstream.base_url());
    // Long, for machines that are busy.
    let response_budget = Duration::from_secs(10);
    Config { response_budget, store: config::Store { url, ..config.store }, ..config }
}

async fn json(address: SocketAddr, path: &str) -> Value {
    let answer = get(address, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// The rows of `misuse` and `probing`, all pages of them.
async fn walk(address: SocketAddr, query: &str, limit: usize) -> Vec<Value> {
    let mut path = format!("/history?{query}&limit={limit}");
    let mut rows = Vec::new();
    loop {
        let answer = get(address, &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let document = answer.json();
        let page = document["incidents"].as_array().unwrap();
        assert!(page.len() <= limit && document["count"] == page.len());
        rows.extend(
            page.iter()
                .filter(|row| ["misuse", "probing"].contains(&row["type"].as_str().unwrap()))
                .cloned(),
        );
        match next(&answer, &path) {
            Some(next) => path = next,
            None => return rows,
        }
    }
}

fn next(answer: &Answer, path: &str) -> Option<String> {
    let target = answer.header("link").strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    let next = Url::parse("http://test").unwrap().join(path).unwrap().join(target).unwrap();
    Some(format!("{}?{}", next.path(), next.query().unwrap()))
}

/// Waits until the history has exactly these records as current ones.
async fn wait_until_current(address: SocketAddr, records: &[Sent]) {
    let began = Instant::now();
    let wanted: BTreeSet<String> = records.iter().map(|sent| sent.incident().to_string()).collect();
    loop {
        let rows = walk(address, "current=true", 10_000).await;
        let current: BTreeSet<String> =
            rows.iter().map(|row| row["incident"].to_string()).collect();
        if current == wanted {
            return;
        }
        assert!(began.elapsed() < MAX_WAIT, "never current: {current:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn incidents(rows: &[Value]) -> Vec<&Value> {
    rows.iter().map(|row| &row["incident"]).collect()
}

type Condition = fn(&Sent, bool) -> bool;

#[tokio::test]
async fn every_filter_finds_what_the_upstream_sent() {
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    let (first, second) = (sent(0..60), sent(20..90));
    script(&upstream, &first);
    let gateway = Gateway::start_with_store(&configuration(&upstream, folder.path())).await;
    let address = gateway.running.address;
    wait_until_current(address, &first).await;
    script(&upstream, &second);
    wait_until_current(address, &second).await;

    let everything: BTreeMap<Sent, bool> = first
        .iter()
        .chain(&second)
        .map(|record| (record.clone(), second.contains(record)))
        .collect();
    let conditions: [(&str, Condition); 11] = [
        ("", |_, _| true),
        ("employee_id=701", |sent, _| sent.employee == Some(701)),
        ("employee_id=701,9&employee_id=702", |sent, _| sent.employee.is_some_and(|id| id > 700)),
        ("type=misuse", |sent, _| sent.source == "misuse"),
        ("type=probing,nothing", |sent, _| sent.source == "probing"),
        ("priority=high,low", |sent, _| ["high", "low"].contains(&sent.priority)),
        ("since=1050", |sent, _| sent.second >= 1_050),
        ("since=1050.5", |sent, _| sent.second >= 1_050),
        ("until=1970-01-01T00:17:20.5Z", |sent, _| sent.second < 1_040),
        ("current=true", |_, current| current),
        ("current=false", |_, current| !current),
    ];
    let keys = ["employee_id", "type", "priority", "since", "until", "current"];
    for (one, meets_one) in conditions {
        for (other, meets_other) in conditions {
            if keys.iter().any(|key| one.contains(key) && other.contains(key)) {
                continue;
            }
            let met = everything.iter().filter(|(sent, current)| {
                meets_one(sent, **current) && meets_other(sent, **current)
            });
            let mut met: Vec<&Sent> = met.map(|(sent, _)| sent).collect();
            met.sort_by_key(|sent| std::cmp::Reverse(sent.second));
            let expected: Vec<Value> = met.iter().map(|sent| sent.incident()).collect();
            let expected: Vec<&Value> = expected.iter().collect();
            let query = format!("{one}&{other}");
            for limit in [7, 10_000] {
                assert_eq!(incidents(&walk(address, &query, limit).await), expected, "{query}");
            }
            let attributed = met.iter().filter(|sent| sent.employee.is_some());
            let summary = json(address, &format!("/history/summary?{query}")).await;
            let count = |source: &str| summary["by_type"][source]["count"].as_u64().unwrap();
            assert_eq!(count("misuse"), attributed.count() as u64, "{query}");
            assert_eq!(count("probing"), 0, "{query}: they have no employee");
        }
    }
    for row in walk(address, "", 10_000).await {
        let (first_seen, last_seen) = (row["first_seen"].as_f64(), row["last_seen"].as_f64());
        assert!(first_seen.unwrap() <= last_seen.unwrap(), "{row}");
        assert_eq!(row.get("reason").is_some(), row["employee_id"].is_null(), "{row}");
    }
    let sources = json(address, "/sources").await;
    assert_eq!(
        (&sources["store"]["kind"], &sources["store"]["up"]),
        (&"sqlite".into(), &true.into())
    );
    assert_eq!(
        (&sources["store"]["leader"], &sources["store"]["last_error"]),
        (&true.into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_walk_shows_each_record_once_while_refreshes_add_and_drop_others() {
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    let stays = sent(0..40);
    script(&upstream, &stays);
    let gateway = Gateway::start_with_store(&configuration(&upstream, folder.path())).await;
    let address = gateway.running.address;
    wait_until_current(address, &stays).await;
    let mut path = "/history?type=misuse,probing&limit=3".to_owned();
    let (mut walked, mut round) = (Vec::new(), 0);
    loop {
        let answer = get(address, &path).await;
        walked.extend(answer.json()["incidents"].as_array().unwrap().iter().cloned());
        let Some(next) = next(&answer, &path) else { break };
        path = next;
        if round < 4 {
            let mut records = stays.clone();
            // Its times are before, between and after the others.
            records.extend(sent(50 + round * 10..60 + round * 10));
            script(&upstream, &records);
            wait_until_current(address, &records).await;
        }
        round += 1;
    }
    let mut met = stays.clone();
    met.sort_by_key(|sent| std::cmp::Reverse(sent.second));
    let expected: Vec<Value> = met.iter().map(Sent::incident).collect();
    let once: Vec<&Value> =
        incidents(&walked).into_iter().filter(|row| expected.contains(row)).collect();
    assert_eq!(once, expected.iter().collect::<Vec<_>>());
    let ids: BTreeSet<String> = walked.iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids.len(), walked.len(), "no record twice");
}

/// The binary with these sources of the upstream and this folder's store.
async fn serve(upstream: &ScriptedUpstream, folder: &Path, sources: &str) -> Process {
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nresponse_budget: 10s\n\
         cache: {{ ttl: 400ms }}\nstore: {{ url: 'sqlite:{}/history.db' }}\nsources:\n{sources}",
        folder.display()
    );
    let file = folder.join("gateway.yaml");
    std::fs::write(&file, yaml).unwrap();
    let variables = [
        ("ELEVATE_BASE_URL", &*upstream.base_url()),
        ("ELEVATE_USERNAME", "reader"),
        ("ELEVATE_PASSWORD", "secret"),
    ];
    let (process, mut log) =
        Process::serve_with(&["serve", "--config", file.to_str().unwrap()], &variables).await;
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    process
}

#[tokio::test]
async fn the_history_outlives_the_process_and_the_source() {
    const MISUSE: &str = "- { name: misuse, path: /incidents/misuse/, identity: employee_id }\n";
    const PROBING: &str = "- { name: probing, path: /incidents/probing/, identity: ip }\n";
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    script(&upstream, &sent(0..20));
    let mut process = serve(&upstream, folder.path(), &format!("{MISUSE}{PROBING}")).await;
    wait_until_current(process.address, &sent(0..20)).await;
    script(&upstream, &sent(10..20));
    wait_until_current(process.address, &sent(10..20)).await;
    let before = walk(process.address, "current=false", 10_000).await;
    assert_eq!(before.len(), 10);
    process.signal(Signal::KILL);
    process.ends_within(Duration::from_secs(5)).await;

    let process = serve(&upstream, folder.path(), MISUSE).await;
    let address = process.address;
    let began = Instant::now();
    while !walk(address, "type=probing&current=true", 10_000).await.is_empty() {
        assert!(began.elapsed() < MAX_WAIT, "a source that is gone has current records");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let after = walk(address, "current=false", 10_000).await;
    for row in &before {
        assert!(after.contains(row), "{row}");
    }
    let summary = json(address, "/history/summary").await;
    assert_eq!(summary["unattributed"], 5);
    // The page has the records that are not among the incidents.
    let employee = before.iter().find_map(|row| row["employee_id"].as_str()).unwrap();
    let browser = [("accept", "text/html")];
    let page = get_with(address, &format!("/employees/{employee}"), &browser).await;
    let shown = page.text().split("id=\"history-title\"").nth(1).unwrap();
    let own = before.iter().filter(|row| row["employee_id"] == employee).count();
    assert_eq!(shown.matches("<td class=\"seen\"").count(), own, "{shown}");
}
