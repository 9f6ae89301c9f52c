//! `/history` and `/history/summary`, as a store in memory answers them.

mod faults;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use incident_gateway::config::Config;
use incident_gateway::decode::Priority;
use incident_gateway::store::{HistoryRow, StableId};
use reqwest::Url;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::history_store::{HistoryStore, row};
use crate::support::snapshot_gateway::{Reply, SnapshotGateway};
use crate::support::tokens;
use crate::support::views::fixture;

/// A gateway with the data of `fixtures/`, and a store with these rows.
fn gateway(rows: Vec<HistoryRow>) -> (SnapshotGateway, Arc<HistoryStore>) {
    configured(Config::default(), rows)
}

fn configured(config: Config, rows: Vec<HistoryRow>) -> (SnapshotGateway, Arc<HistoryStore>) {
    let (store, handle) = HistoryStore::with(rows);
    let gateway = SnapshotGateway::with_store(config, handle);
    gateway.publish_fixtures();
    (gateway, store)
}

/// Rows of three employees and of nobody, of configured and other sources; some times are equal.
fn rows() -> Vec<HistoryRow> {
    (0..60)
        .map(|number| {
            let source = ["denial", "misuse", "gone"][number % 3];
            let id = ["7", "é, 8", "9"].get(number % 4);
            let priority = Priority::ALL[number / 2 % 4];
            let time = f64::from(u32::try_from(number * 7 % 20).unwrap()) + 0.5;
            let employee = id.map(|id| (*id, priority, time));
            row(i64::try_from(number).unwrap(), source, employee, number % 5 < 2)
        })
        .collect()
}

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let document = reply.json();
    let incidents = document["incidents"].as_array().unwrap();
    assert_eq!(document["count"], incidents.len());
    incidents.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of the rows that meet a condition, in the order of the answer.
fn expected(rows: &[HistoryRow], condition: impl Fn(&HistoryRow) -> bool) -> Vec<String> {
    let mut rows: Vec<&HistoryRow> = rows.iter().filter(|row| condition(row)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    // Stable, so that rows with equal times stay in the order of their numbers.
    rows.sort_by(|left, right| match (left.timestamp, right.timestamp) {
        (Some(left), Some(right)) => right.total_cmp(&left),
        (left, right) => right.is_some().cmp(&left.is_some()),
    });
    rows.iter().map(|row| row.id.to_string()).collect()
}

/// The path of the next page, as a client resolves the link.
fn next_path(reply: &Reply, path: &str) -> Option<String> {
    let link = reply.headers.get("link")?.to_str().unwrap();
    let target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let base = Url::parse("http://test").unwrap().join(path).unwrap();
    let next = base.join(target).unwrap();
    Some(format!("{}?{}", next.path(), next.query().unwrap()))
}

fn problem(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

type Condition = fn(&HistoryRow) -> bool;

#[tokio::test(start_paused = true)]
async fn every_filter_holds_alone_and_with_each_other() {
    let rows = rows();
    let (gateway, _) = gateway(rows.clone());
    let time = |row: &HistoryRow| row.timestamp;
    let conditions: [(&str, Condition); 12] = [
        ("", |_| true),
        ("employee_id=7", |row| row.employee_id.as_deref() == Some("7")),
        ("employee_id=7,nobody&employee_id=9", |row| {
            ["7", "9"].iter().any(|id| row.employee_id.as_deref() == Some(id))
        }),
        ("type=gone", |row| row.source == "gone"),
        ("type=misuse,denial", |row| row.source != "gone"),
        ("type=never", |_| false),
        ("priority=critical&priority=low", |row| {
            matches!(row.priority, Some(Priority::Critical | Priority::Low))
        }),
        ("since=5.5", |row| row.timestamp.is_some_and(|time| time >= 5.5)),
        ("until=1970-01-01T00:00:09.5Z", |row| row.timestamp.is_some_and(|time| time < 9.5)),
        ("since=1e9", |_| false),
        ("current=true", |row| row.is_current),
        ("current=false", |row| !row.is_current),
    ];
    for (first, meets_first) in conditions {
        for (second, meets_second) in conditions {
            let repeats = |key: &str| first.contains(key) && second.contains(key);
            // Values of one key are alternatives, and these keys are given once.
            if ["employee_id", "type", "priority", "since", "until", "current"].map(repeats)
                != [false; 6]
            {
                continue;
            }
            let path = format!("/history?{first}&{second}");
            let expected = expected(&rows, |row| meets_first(row) && meets_second(row));
            assert_eq!(ids(&gateway.get(&path).await), expected, "{path}");
        }
    }
    assert!(rows.iter().any(|row| time(row).is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_row_has_the_members_that_it_is_known_by() {
    let (gateway, _) = gateway(vec![
        row(7, "gone", Some(("a\"b", Priority::High, 5.25)), false),
        row(8, "denial", None, true),
    ]);
    let document = gateway.get("/history").await.json();
    let known = row(7, "gone", Some(("a\"b", Priority::High, 5.25)), false);
    assert_eq!(
        document,
        json!({"count": 2, "incidents": [
            {
                "id": known.id.to_string(), "type": "gone", "employee_id": "a\"b",
                "priority": "high", "timestamp": 5.25, "first_seen": 1_000_000_007.0,
                "last_seen": 1_000_000_007.25, "current": false,
                "incident": {
                    "type": "gone", "who": "a\"b", "priority": "high", "timestamp": 5.25, "number": 7
                }
            },
            {
                "id": row(8, "denial", None, true).id.to_string(), "type": "denial",
                "employee_id": null, "priority": null, "timestamp": null,
                "first_seen": 1_000_000_008.0, "last_seen": 1_000_000_008.25, "current": true,
                "reason": "not_an_object", "incident": [8]
            },
        ]})
    );
}

/// The records of a document, as they are spelled.
#[derive(serde::Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    incidents: Vec<Row<'a>>,
}

#[derive(serde::Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    incident: &'a RawValue,
}

#[tokio::test(start_paused = true)]
async fn a_record_has_the_bytes_that_incidents_has() {
    let config = Config::default();
    let mut rows = Vec::new();
    for source in &config.sources {
        let body = fixture(&source.name);
        let results: std::collections::BTreeMap<String, Vec<Box<RawValue>>> =
            serde_json::from_str(&body).unwrap();
        for record in &results["results"] {
            let number = i64::try_from(rows.len()).unwrap();
            let mut row = row(number, &source.name, Some(("7", Priority::Low, 1.0)), true);
            row.bytes = record.get().as_bytes().to_vec();
            row.id = StableId::of_bytes(&source.name, &row.bytes);
            rows.push(row);
        }
    }
    let count = rows.len();
    let (gateway, _) = gateway(rows);
    let [attributed, others] = ["/incidents", "/unattributed"].map(|path| gateway.get(path));
    let (attributed, others) = (attributed.await, others.await);
    let history = gateway.get("/history?limit=10000").await;
    let document: Document<'_> = serde_json::from_str(history.text()).unwrap();
    assert!(count > 20 && document.incidents.len() == count);
    for row in document.incidents {
        let incident = row.incident.get();
        assert!(
            attributed.text().contains(incident) || others.text().contains(incident),
            "{incident}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_shows_each_record_once_while_others_are_added() {
    let rows = rows();
    for limit in [1, 7, 59, 60, 61] {
        let (gateway, store) = gateway(rows.clone());
        let mut path = format!("/history?current=true&current=true&limit={limit}");
        assert_eq!(gateway.get(&path).await.status, StatusCode::BAD_REQUEST);
        path = format!("/history?employee_id=7&employee_id=9&limit={limit}&type=denial,gone");
        let expected = expected(&rows, |row| {
            row.source != "misuse" && ["7", "9"].contains(&row.employee_id.as_deref().unwrap_or(""))
        });
        let (mut walked, mut added) = (Vec::new(), 100);
        loop {
            let reply = gateway.get(&path).await;
            let page = ids(&reply);
            assert!(page.len() <= limit);
            walked.extend(page);
            let Some(next) = next_path(&reply, &path) else { break };
            assert!(next.contains("type=denial,gone") && next.contains(&format!("limit={limit}&")));
            path = next;
            // Newer, between the others, and the oldest.
            for time in [1e6, 9.25, -1e6] {
                store.add(row(added, "gone", Some(("7", Priority::Low, time)), true));
                added += 1;
            }
        }
        let known: BTreeSet<&String> = expected.iter().collect();
        let mut once = walked.clone();
        once.retain(|id| known.contains(id));
        assert_eq!(once, expected, "limit {limit}");
        assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), walked.len(), "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_early_where_it_would_be_large() {
    let mut rows: Vec<HistoryRow> =
        (0..7).map(|number| row(number, "gone", Some(("7", Priority::Low, 5.0)), false)).collect();
    for row in &mut rows {
        row.bytes = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20)).into_bytes();
    }
    rows[6].bytes = format!("{{\"text\":\"{}\"}}", "x".repeat(5 << 20)).into_bytes();
    let (gateway, _) = gateway(rows.clone());
    let (mut path, mut walked, mut pages) = ("/history".to_owned(), Vec::new(), Vec::new());
    loop {
        let reply = gateway.get(&path).await;
        let page = ids(&reply);
        pages.push(page.len());
        walked.extend(page);
        let Some(next) = next_path(&reply, &path) else { break };
        path = next;
    }
    assert_eq!(pages, [1, 3, 3], "a page has less than 4 MiB, or one record");
    assert_eq!(walked, expected(&rows, |_| true));
}

#[tokio::test(start_paused = true)]
async fn formats_and_codings_are_chosen_by_the_caller() {
    let rows = rows();
    let (gateway, _) = gateway(rows.clone());
    let path = "/history?limit=50";
    let all = gateway.get(path).await;
    let (document, link) = (all.json(), all.header("link").to_owned());
    assert!(link.starts_with("<history?limit=50&cursor="), "{link}");
    assert_eq!(all.header("content-type"), "application/json");
    assert_eq!(all.header("cache-control"), "private, no-cache");
    assert_eq!(all.header("vary"), "Accept, Accept-Encoding");
    let ndjson = gateway.get_with(path, &[("accept", "application/x-ndjson")]).await;
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    assert_eq!(ndjson.header("link"), link);
    let lines: Vec<Value> =
        ndjson.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(lines), document["incidents"]);
    let csv = gateway.get_with(path, &[("accept", "text/csv")]).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.header("link"), link);
    assert_eq!(csv.text().matches("\r\n").count(), 51);
    let first = &document["incidents"][0];
    let cells: Vec<&str> = csv.text().split("\r\n").nth(1).unwrap().split(',').collect();
    assert_eq!(cells[0], first["id"]);
    assert_eq!(cells[1], first["type"]);
    for coding in ["gzip", "zstd"] {
        let coded = gateway.get_with(path, &[("accept-encoding", coding)]).await;
        assert_eq!(coded.header("content-encoding"), coding);
        assert_ne!(coded.header("etag"), all.header("etag"));
        let mut text = Vec::new();
        match coding {
            "gzip" => {
                text.resize(all.body.len(), 0);
                let mut decoder = libdeflater::Decompressor::new();
                decoder.gzip_decompress(&coded.body, &mut text).unwrap();
            }
            _ => text = zstd::decode_all(&*coded.body).unwrap(),
        }
        assert_eq!(text, all.body);
    }
    for (name, value) in [("accept", "*/*;q=0"), ("accept-encoding", "*;q=0")] {
        let refused = gateway.get_with(path, &[(name, value)]).await;
        assert_eq!((refused.status.as_u16(), &*problem(&refused)), (406, "not-acceptable"));
    }
    for path in [path, "/history/summary"] {
        let reply = gateway.get(path).await;
        let etag = reply.header("etag");
        let again = gateway.get_with(path, &[("if-none-match", etag)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert_eq!((again.header("link"), again.body.len()), (reply.header("link"), 0));
        let changed = gateway.get_with(path, &[("if-match", "\"x\"")]).await;
        assert_eq!(problem(&changed), "precondition-failed");
        let head = gateway.ask(Method::HEAD, path, &[]).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers()["etag"], etag);
        let posted = gateway.ask(Method::POST, path, &[]).await;
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_query_is_refused_by_name() {
    let (gateway, store) = gateway(rows());
    for (query, named) in [
        ("cursor=x", "`cursor`"),
        ("limit=0", "`limit`"),
        ("limit=1&limit=2", "`limit`"),
        ("current=maybe", "`current`"),
        ("since=NaN", "`since`"),
        ("until=-inf", "`until`"),
        ("type=%3Cscript%3E", "`<script>`"),
        ("colour=red", "`colour`"),
        ("complete=true", "`complete`"),
    ] {
        let reply = gateway.get(&format!("/history?{query}")).await;
        assert_eq!((reply.status.as_u16(), &*problem(&reply)), (400, "invalid-query"), "{query}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{query}: {detail}");
    }
    for query in ["limit=5", "cursor=x"] {
        let reply = gateway.get(&format!("/history/summary?{query}")).await;
        assert_eq!(problem(&reply), "invalid-query");
    }
    assert_eq!(store.queries.load(Ordering::Relaxed), 0, "the store was not asked");
}

#[tokio::test(start_paused = true)]
async fn without_a_store_there_is_no_history() {
    let gateway = SnapshotGateway::with_fixtures();
    for path in ["/history", "/history/summary", "/history?cursor=x"] {
        let reply = gateway.get(path).await;
        assert_eq!((reply.status.as_u16(), &*problem(&reply)), (404, "no-store"), "{path}");
    }
    assert_eq!(gateway.get("/sources").await.json().get("store"), None);
}

#[tokio::test(start_paused = true)]
async fn the_summary_counts_what_the_filter_lets_pass() {
    let rows = rows();
    let (gateway, _) = gateway(rows.clone());
    let conditions: [(&str, Condition); 4] = [
        ("", |_| true),
        ("type=gone", |row| row.source == "gone"),
        ("employee_id=9&current=false", |row| {
            row.employee_id.as_deref() == Some("9") && !row.is_current
        }),
        ("since=100", |row| row.timestamp.is_some_and(|time| time >= 100.0)),
    ];
    for (query, condition) in conditions {
        let document = gateway.get(&format!("/history/summary?{query}")).await.json();
        let met: Vec<&HistoryRow> =
            rows.iter().filter(|row| row.employee_id.is_some() && condition(row)).collect();
        let tally = |met: &[&HistoryRow]| {
            let times: Vec<f64> = met.iter().map(|row| row.timestamp.unwrap()).collect();
            json!({
                "count": met.len(),
                "earliest": times.iter().copied().reduce(f64::min),
                "latest": times.iter().copied().reduce(f64::max),
            })
        };
        assert_eq!(document["total"], tally(&met), "{query}");
        assert_eq!(document["unattributed"], 15);
        for priority in Priority::ALL {
            let of: Vec<_> =
                met.iter().copied().filter(|row| row.priority == Some(priority)).collect();
            assert_eq!(document["by_priority"][priority.as_str()], tally(&of), "{query}");
        }
        for source in ["denial", "misuse", "other"] {
            let of: Vec<_> = met.iter().copied().filter(|row| row.source == source).collect();
            assert_eq!(document["by_type"][source], tally(&of), "{query} {source}");
        }
        let gone: Vec<_> = met.iter().copied().filter(|row| row.source == "gone").collect();
        let has_gone = document["by_type"].get("gone").is_some();
        assert_eq!(has_gone, !gone.is_empty(), "{query}: only configured sources have zeros");
        let employees: BTreeSet<_> = met.iter().map(|row| row.employee_id.clone()).collect();
        assert_eq!(document["employees"]["count"], employees.len());
    }
}

#[tokio::test(start_paused = true)]
async fn one_employee_sees_their_own_history_alone() {
    let sign_in =
        tokens::sign_in(&[("all", "all"), ("own", "self=é,%208"), ("metrics", "metrics")]);
    let rows = rows();
    let (gateway, store) = configured(Config { sign_in, ..Config::default() }, rows.clone());
    let [all, own, metrics] = ["all", "own", "metrics"].map(tokens::bearer);
    let ask =
        async |path: &str, token: &str| gateway.get_with(path, &[("authorization", token)]).await;
    let is_own = |row: &HistoryRow| row.employee_id.as_deref() == Some("é, 8");
    let reply = ask("/history?limit=4", &own).await;
    let whole = expected(&rows, is_own);
    assert_eq!(ids(&reply), whole[..4]);
    let vary: Vec<&str> = reply.header("vary").split(", ").collect();
    assert!(vary.contains(&"Authorization"), "{vary:?}");
    // An id with a comma cannot be asked for by name, so the link leaves it to the scope.
    let next = next_path(&reply, "/history?limit=4").unwrap();
    assert_eq!(ids(&ask(&next, &own).await), whole[4..8]);
    // A position tells how many records there are of others.
    let open = next_path(&ask("/history?limit=4", &all).await, "/history?limit=4").unwrap();
    for (path, token) in [(&open, &own), (&next, &all)] {
        assert_eq!(problem(&ask(path, token).await), "invalid-query");
    }
    assert_eq!(ids(&ask("/history", &all).await).len(), rows.len());
    let summary = ask("/history/summary", &own).await.json();
    assert_eq!((&summary["employees"]["count"], summary.get("unattributed")), (&json!(1), None));
    assert_eq!(summary["total"]["count"], whole.len());
    let before = store.queries.load(Ordering::Relaxed);
    for path in
        ["/history?employee_id=7", "/history/summary?employee_id=7", "/history?employee_id=7&x=1"]
    {
        assert_eq!(problem(&ask(path, &own).await), "forbidden", "{path}");
    }
    for path in ["/history", "/history/summary"] {
        assert_eq!(problem(&ask(path, &metrics).await), "forbidden", "{path}");
    }
    assert_eq!(store.queries.load(Ordering::Relaxed), before);
    let document = ask("/sources", &all).await.json();
    assert_eq!(
        document["store"],
        json!({"kind": "sqlite", "up": true, "leader": false, "records": null, "last_error": null})
    );
    let document = ask("/sources", &own).await.json();
    assert_eq!(document["store"], json!({"kind": "sqlite", "up": true}));
}
