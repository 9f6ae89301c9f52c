//! Every fault × every page of a list × cold and warm: a list is taken whole or not at all.

use crate::fault_matrix::{CALL_TIMEOUT, Fault, Target, play_all};
use crate::support::gateway::{Gateway, quick};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use incident_gateway::config::{Config, Upstream, from_yaml};
use serde_json::{Value, json};

/// The pages of the list: each has two records, and all but the last name the next one.
const PAGES: [(&str, &str); 3] = [
    (
        "/alerts/",
        r#"{"results":[{"id":1,"at":1772449201,"who":"100"},{"id":2,"at":1772449202,"who":"200"}],"next":"2/"}"#,
    ),
    (
        "/alerts/2/",
        r#"{"next":"/alerts/3/","results":[{"id":3,"at":1772449203,"who":"100"},{"id":4,"at":1772449204,"who":"200"}]}"#,
    ),
    (
        "/alerts/3/",
        r#"{"results":[{"id":5,"at":1772449205,"who":"100"},{"id":6,"at":1772449206,"who":"200"}],"next":null}"#,
    ),
];

const SOURCES: &str = r"
identities: []
sources:
  - name: alerts
    path: /alerts/
    next: { url: /next }
    records: /results
    id: id
    priority: { default: high }
    timestamp: at
    identity: { at: who, as: employee_id }
  - { name: misuse, path: /misuse/, identity: employee_id }
";

/// Bodies that are JSON but not what the mapping asks for.
const WRONG_ANSWERS: [&str; 4] =
    ["array", "null", "an error that says 200", "results that are an object"];

fn settings(server: &ScriptedUpstream, fault: &Fault) -> Config {
    let quick = quick(&server.base_url());
    let timeout = if fault.outcome == "timeout" { CALL_TIMEOUT } else { quick.upstream.timeout };
    let Config { sources, identities, .. } = from_yaml("sources.yaml", SOURCES).unwrap();
    Config { upstream: Upstream { timeout, ..quick.upstream }, sources, identities, ..quick }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_any_page_changes_nothing() {
    play_all(PAGES.len(), play).await;
}

async fn play(fault: Fault, page: usize) {
    let name = format!("{} at page {}", fault.name, page + 1);
    let server = ScriptedUpstream::start().await;
    server.script(
        "/misuse/",
        Script::json(r#"{"results":[{"priority":"low","employee_id":7,"timestamp":1}]}"#),
    );
    for (path, body) in PAGES {
        server.script(path, Script::json(body));
    }
    let (path, good) = PAGES[page];
    let target = Target { path, good, is_table: false };
    let outcome = if WRONG_ANSWERS.contains(&fault.name) { "answer" } else { fault.outcome };
    server.script(path, (fault.script)(&target));
    let gateway = Gateway::start(&settings(&server, &fault));
    for (temperature, standing, alerts) in [("cold", "missing", 0), ("warm", "stale", 6)] {
        let name = format!("{name}, {temperature}");
        server.script(path, (fault.script)(&target));
        let sources = gateway
            .wait_until(&name, |sources| {
                let alerts = &sources["sources"][0];
                alerts["consecutive_failures"].as_u64() > Some(0)
                    && alerts["state"] == standing
                    && sources["sources"][1]["state"] == "fresh"
            })
            .await;
        let error = sources["sources"][0]["last_error"].as_str().unwrap();
        assert!(error.starts_with(&format!("{outcome}: ")), "{name}: {error}");
        let answer = gateway.get("/incidents").await;
        assert_eq!(count(&answer.json()), alerts + 1, "{name}: all pages or none");

        server.script(path, Script::json(good));
        let answer = gateway.wait_for_completeness(&format!("{name}, mended"), "complete").await;
        assert_eq!(count(&answer.json()), 7, "{name}, mended");
        assert_eq!(answer.json()["100"]["high"]["count"], json!(3), "{name}, mended");
    }
}

/// How many incidents the document has.
fn count(document: &Value) -> u64 {
    let employees = document.as_object().unwrap().values();
    let groups = employees.flat_map(|employee| employee.as_object().unwrap().values());
    groups.map(|group| group["count"].as_u64().unwrap()).sum()
}
