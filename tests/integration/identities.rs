//! Identity tables of several shapes in a whole gateway: pages of people over HTTP, people in a CSV
//! file, and an object of addresses.

use std::collections::BTreeMap;
use std::fs;

use incident_gateway::config::{self, Config};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::gateway::{Gateway, quick};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const FIRST_PAGE: &str = r#"{"next":"/people/2","value":[
    {"employeeId":"E1","mail":["Ann@corp.example","ann.old@corp.example"],"sam":"CORP\\ann",
        "displayName":"Ann Ås"},
    {"employeeId":2,"mail":"bo@corp.example","sam":"bo","displayName":""}]}"#;

const SECOND_PAGE: &str = r#"{"next":null,"value":[
    {"employeeId":"3","mail":"BO@corp.example","sam":"cleo","displayName":"Cleo"},
    {"employeeId":"N/A","mail":"nobody@corp.example","sam":"nobody"},
    {"employeeId":"17.0.0.9","mail":"nobody@corp.example"}]}"#;

const CSV: &str = "employee_id,email,host,address,name\r\n\
    2,bo.second@corp.example,PC-2.corp.example,17.0.0.2,Bo\r\n\
    4,ann@corp.example,pc-4,,\"Dee \"\"D\"\" Dahl\"\r\n\
    E1,-,pc-1,[2001:db8::1]:443,Another Ann\r\n";

const EVENTS: &str = r#"{"results":[
    {"n":1,"user":"ANN@corp.example"},
    {"n":2,"user":"ann.old@corp.example","login":"cleo"},
    {"n":3,"user":"bo@corp.example"},
    {"n":4,"user":"bo.second@corp.example"},
    {"n":5,"user":"-","login":"cleo@corp.example"},
    {"n":6,"user":"guest@corp.example","login":["nobody","corp\\bo"]},
    {"n":7,"user":"guest@corp.example","host":"PC-4:8443","ip":"17.0.0.2"},
    {"n":8,"ip":"::ffff:17.0.0.2"},
    {"n":9,"ip":["2001:DB8::1%eth0"]},
    {"n":10,"ip":"17.0.0.1"},
    {"n":11,"ip":"17.9.9.9","host":"17.9.9.9"},
    {"n":12,"user":"nobody@corp.example","ip":"17.9.9.9"},
    {"n":13,"host":"17.0.0.2"},
    {"n":14,"user":"unknown","ip":"None","login":[]},
    {"n":15,"login":{"name":"ann"}}]}"#;

/// The configuration of three tables, of which the second is this file.
fn settings(server: &ScriptedUpstream, people: &str) -> Config {
    let text = format!(
        "identities:
  - {{ path: /people/1, records: /value, next: {{ url: /next }}, employee: /employeeId,
       email: mail, username: sam, name: displayName }}
  - {{ file: {people}, employee: employee_id, email: email, hostname: host, ip: address,
       name: name }}
  - {{ path: /identities/ }}
sources:
  - {{ name: addresses, path: /addresses, identity: ip }}
  - name: events
    path: /events
    priority: {{ default: high }}
    timestamp: at
    identity: [ {{ at: user, as: email }}, {{ at: login, as: username }},
                {{ at: host, as: hostname }}, {{ at: ip, as: ip }} ]
"
    );
    let Config { identities, sources, .. } = config::from_yaml("test.yaml", &text).unwrap();
    Config { identities, sources, ..quick(&server.base_url()) }
}

/// An upstream with all data; records have the times that mapped sources allow.
async fn upstream() -> ScriptedUpstream {
    let server = ScriptedUpstream::start().await;
    server.script("/people/1", Script::json(FIRST_PAGE));
    server.script("/people/2", Script::json(SECOND_PAGE));
    server.script("/identities/", Script::json(r#"{"17.0.0.2":9,"17.0.0.1":"E1"}"#));
    let events = EVENTS.replace("\"n\":", "\"at\":1700000000,\"n\":");
    server.script("/events", Script::json(events));
    let plain = |ip| format!(r#"{{"ip":"{ip}","priority":"low","timestamp":1700000000}}"#);
    let addresses = ["17.0.0.2", "17.0.0.1:80", "17.9.9.9", "E1"].map(plain);
    server.script("/addresses", Script::json(format!("{{\"results\":[{}]}}", addresses.join(","))));
    server
}

/// The file of people, in a directory of its own.
fn people_file(content: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("people.csv");
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// The records' `n`; those of plain records are their addresses.
fn label(record: &Value) -> String {
    match &record["record"]["n"] {
        Value::Number(n) => n.to_string(),
        _ => record["ip"].as_str().unwrap().to_owned(),
    }
}

/// The labels of each employee's records: those of events, which are high, then those of addresses.
async fn by_employee(gateway: &Gateway) -> BTreeMap<String, Vec<String>> {
    let document = gateway.get("/incidents").await.json();
    let labels = |groups: &Value| {
        let groups = groups.as_object().unwrap().values();
        let records = groups.flat_map(|group| group["incidents"].as_array().unwrap());
        records.map(label).collect()
    };
    document.as_object().unwrap().iter().map(|(id, groups)| (id.clone(), labels(groups))).collect()
}

/// The labels of each reason's records.
async fn by_reason(gateway: &Gateway) -> BTreeMap<String, Vec<String>> {
    let document = gateway.get("/unattributed").await.json();
    let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in document["incidents"].as_array().unwrap() {
        let reason = item["reason"].as_str().unwrap().to_owned();
        reasons.entry(reason).or_default().push(label(&item["incident"]));
    }
    reasons
}

fn labels(lists: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    lists.iter().map(|(name, list)| ((*name).to_owned(), owned(list))).collect()
}

/// The names of the employees in `/summary`, by id.
async fn names(gateway: &Gateway) -> BTreeMap<String, Option<String>> {
    let summary = gateway.get("/summary").await.json();
    let top = summary["employees"]["top"].as_array().unwrap();
    top.iter()
        .map(|employee| {
            let id = employee["employee_id"].as_str().unwrap().to_owned();
            (id, employee["name"].as_str().map(str::to_owned))
        })
        .collect()
}

/// A table in what `/sources` says.
fn table<'a>(sources: &'a Value, name: &str) -> &'a Value {
    let list = sources["sources"].as_array().unwrap();
    list.iter().find(|source| source["name"] == name).unwrap()
}

#[tokio::test]
async fn people_are_found_by_every_key_in_the_order_of_the_tables() {
    let server = upstream().await;
    let (_directory, people) = people_file(CSV);
    let gateway = Gateway::start(&settings(&server, &people));
    gateway.wait_until_complete("with all tables").await;

    let expected = labels(&[
        ("2", &["3", "4", "6", "8", "17.0.0.2"]),
        ("3", &["5"]),
        ("4", &["7"]),
        ("E1", &["1", "2", "9", "10", "17.0.0.1:80", "E1"]),
    ]);
    assert_eq!(by_employee(&gateway).await, expected);
    let expected = labels(&[
        ("missing_identity", &["14"]),
        ("unknown_identity", &["12", "13", "15"]),
        ("unknown_ip", &["17.9.9.9", "11"]),
    ]);
    assert_eq!(by_reason(&gateway).await, expected);

    let name = |name: &str| Some(name.to_owned());
    let expected = [
        ("2".to_owned(), name("Bo")),
        ("3".to_owned(), name("Cleo")),
        ("4".to_owned(), name("Dee \"D\" Dahl")),
        ("E1".to_owned(), name("Ann Ås")),
    ];
    assert_eq!(names(&gateway).await, BTreeMap::from(expected));

    let sources = gateway.get("/sources").await.json();
    for (name, pages, records, conflicts) in
        [("identities", 2, 5, 1), ("identities-2", 1, 3, 0), ("identities-3", 1, 2, 0)]
    {
        let table = table(&sources, name);
        let found = ["pages", "records", "conflicts"].map(|member| table[member].as_u64().unwrap());
        assert_eq!(found, [pages, records, conflicts], "{name}: {table:#}");
    }
}

#[tokio::test]
async fn nobody_is_named_whom_a_missing_table_might_contradict() {
    let server = upstream().await;
    server.script("/people/2", Script::status(500));
    let (_directory, people) = people_file(CSV);
    let gateway = Gateway::start(&settings(&server, &people));
    let all_called = |sources: &Value| {
        sources["sources"]
            .as_array()
            .unwrap()
            .iter()
            .all(|source| !source["last_attempt"].is_null())
            && sources["completeness"] == "partial"
            && !table(sources, "identities")["last_error"].is_null()
            && ["addresses", "events", "identities-2", "identities-3"]
                .iter()
                .all(|name| !table(sources, name)["last_success"].is_null())
    };
    gateway.wait_until("called", all_called).await;
    assert_eq!(table(&gateway.get("/sources").await.json(), "identities")["records"], 0);

    // The missing table has e-mail addresses and user names; the others have the rest.
    let expected = labels(&[
        ("2", &["8", "17.0.0.2"]),
        ("4", &["7"]),
        ("E1", &["9", "10", "17.0.0.1:80", "E1"]),
    ]);
    assert_eq!(by_employee(&gateway).await, expected);
    let expected = labels(&[
        ("identities_unavailable", &["1", "2", "3", "4", "5", "6", "12"]),
        ("missing_identity", &["14"]),
        ("unknown_identity", &["13", "15"]),
        ("unknown_ip", &["17.9.9.9", "11"]),
    ]);
    assert_eq!(by_reason(&gateway).await, expected);

    server.script("/people/2", Script::json(SECOND_PAGE));
    gateway.wait_until_complete("with the table").await;
    assert_eq!(by_employee(&gateway).await["2"], ["3", "4", "6", "8", "17.0.0.2"]);
}

#[tokio::test]
async fn a_table_that_changes_names_other_employees() {
    let server = upstream().await;
    let (_directory, people) = people_file(CSV);
    let gateway = Gateway::start(&settings(&server, &people));
    gateway.wait_until_complete("with all tables").await;
    let before = table(&gateway.get("/sources").await.json(), "identities-2")["bytes"].clone();
    let etag = gateway.get("/incidents").await.header("etag").to_owned();

    fs::write(&people, CSV.replace("4,ann", "5,ann").replace("Dahl", "Dal")).unwrap();
    let has_changed = |sources: &Value| table(sources, "identities-2")["bytes"] != before;
    gateway.wait_until("read again", has_changed).await;
    assert_eq!(by_employee(&gateway).await["5"], ["7"]);
    assert_eq!(names(&gateway).await["5"].as_deref(), Some("Dee \"D\" Dal"));
    assert_ne!(gateway.get("/incidents").await.header("etag"), etag);
}

#[tokio::test]
async fn without_a_table_only_employee_ids_are_known() {
    let server = ScriptedUpstream::start().await;
    let records = r#"{"results":[
        {"who":"17.0.0.1","priority":"low","timestamp":1700000000},
        {"who":"E1","mail":"Ann@corp.example","priority":"low","timestamp":1700000000},
        {"mail":"ann@corp.example","priority":"low","timestamp":1700000000}]}"#;
    server.script("/plain", Script::json(records));
    server.script("/mapped", Script::json(records));
    let text = format!(
        "upstreams: {{ api: {{ base_url: {} }} }}
sources:
  - {{ name: plain, upstream: api, path: /plain, identity: who }}
  - {{ name: mapped, upstream: api, path: /mapped,
       identity: [ {{ at: mail, as: email }}, {{ at: who, as: auto }} ] }}
",
        server.base_url()
    );
    let Config { identities, sources, upstreams, .. } =
        config::from_yaml("test.yaml", &text).unwrap();
    assert!(identities.is_empty());
    let config = Config { identities, sources, upstreams, ..quick(&server.base_url()) };
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("with both sources").await;

    let document = gateway.get("/incidents").await.json();
    assert_eq!(document["E1"]["low"]["count"], 2, "{document:#}");
    let unattributed = gateway.get("/unattributed").await.json();
    let reasons: Vec<(&str, &str)> = unattributed["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["source"].as_str().unwrap(), item["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        ("plain", "unknown_ip"),
        ("plain", "missing_identity"),
        ("mapped", "unknown_ip"),
        ("mapped", "unknown_identity"),
    ];
    assert_eq!(reasons, expected);
}
