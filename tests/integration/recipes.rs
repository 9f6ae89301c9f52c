//! Each recipe against a simulated API that answers with its samples: the requests are the
//! documented ones, and the incidents are those that its expectations list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use incident_gateway::config::{self, Config};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::gateway::Gateway;
use crate::support::simulated_api::SimulatedApi;

/// The priorities in the order of the document.
const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// What a gateway with a recipe answers, as `expected.json` lists it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// In the order of the document.
    pub(crate) incidents: Vec<Incident>,
    pub(crate) unattributed: Vec<Unattributed>,
    /// Members of the source in `/sources`.
    source: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incident {
    employee: String,
    priority: String,
    /// In RFC 3339.
    timestamp: String,
    id: String,
    title: Option<String>,
    url: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unattributed {
    pub(crate) reason: String,
    id: String,
}

impl Expected {
    pub(crate) fn of(name: &str) -> Self {
        let path = directory().join("samples").join(name).join("expected.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
}

/// A recipe's text with the API's address, files with its secrets, and the sample's people.
pub(crate) fn recipe_for(name: &str, api: &SimulatedApi, secrets: &Path) -> String {
    for (file, secret) in &api.api().secrets {
        fs::write(secrets.join(file), secret).unwrap();
    }
    let people = directory().join("samples/people.csv");
    let text = fs::read_to_string(directory().join(format!("{name}.yaml"))).unwrap();
    let text = text
        .replace("/run/secrets", secrets.to_str().unwrap())
        .replace("/etc/incident-gateway/people.csv", people.to_str().unwrap());
    ["base_url: ", "token_url: "].iter().fold(text, |text, key| {
        let mut parts = text.split(key);
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| {
            let scheme = part.find("://").unwrap() + "://".len();
            let end = part[scheme..].find(['/', '\n']).unwrap() + scheme;
            text + key + api.base_url() + &part[end..]
        })
    })
}

fn configure(name: &str, text: &str) -> Config {
    let config = config::from_yaml(name, text).unwrap_or_else(|errors| panic!("{errors}"));
    let local = "127.0.0.1:0".parse().unwrap();
    Config { listen: local, admin_listen: local, ..config }
}

async fn check_recipe(name: &str) {
    let samples = directory().join("samples").join(name);
    let api = SimulatedApi::start(&samples).await;
    let secrets = tempfile::tempdir().unwrap();
    let config = configure(name, &recipe_for(name, &api, secrets.path()));
    let expected = Expected::of(name);

    let gateway = Gateway::start(&config);
    let sources = gateway.wait_until("tried every source", is_tried).await;
    assert_eq!(api.unexpected(), [""; 0], "{name}");
    assert_eq!(sources["completeness"], "complete", "{sources:#}");
    let mut calls = api.calls();
    calls.sort_unstable();
    assert_eq!(calls, (0..api.api().exchanges.len()).collect::<Vec<_>>(), "{name}: each call once");

    let source = config.sources[0].name.as_str();
    let documents = gateway.get("/incidents").await;
    let unattributed = gateway.get("/unattributed").await;
    let in_utc = |mut incident: Incident| {
        let time: jiff::Timestamp = incident.timestamp.parse().unwrap();
        incident.timestamp = time.to_string();
        incident
    };
    let listed: Vec<_> = expected.incidents.into_iter().map(in_utc).collect();
    assert_eq!(incidents(&documents.json(), source), listed, "{name}");
    assert_eq!(unattributed_of(&unattributed.json()), expected.unattributed, "{name}");
    let listed = sources["sources"].as_array().unwrap();
    let status = listed.iter().find(|status| status["name"] == source).unwrap();
    for (member, value) in &expected.source {
        assert_eq!(&status[member], value, "{name}: {member}");
    }
    let answered = documents.text().to_owned() + unattributed.text();
    for record in sample_records(&api) {
        assert!(answered.contains(&record), "{name}: {record}");
    }
}

fn is_tried(sources: &Value) -> bool {
    let sources = sources["sources"].as_array().unwrap();
    sources.iter().all(|source| !source["last_attempt"].is_null() && source["state"] != "pending")
        && sources
            .iter()
            .all(|source| !source["last_success"].is_null() || !source["last_error"].is_null())
}

fn incidents(document: &Value, source: &str) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for (employee, groups) in document.as_object().unwrap() {
        for priority in PRIORITIES {
            for incident in groups[priority]["incidents"].as_array().unwrap() {
                assert_eq!(incident["type"], source);
                assert_eq!(incident["priority"], priority);
                let seconds = incident["timestamp"].as_f64().unwrap();
                let text = |member: &str| incident[member].as_str().map(ToOwned::to_owned);
                #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
                let micros = (seconds * 1e6).round() as i64;
                incidents.push(Incident {
                    employee: employee.clone(),
                    priority: priority.to_owned(),
                    timestamp: jiff::Timestamp::from_microsecond(micros).unwrap().to_string(),
                    id: text("id").unwrap(),
                    title: text("title"),
                    url: text("url"),
                });
            }
        }
    }
    incidents
}

fn unattributed_of(document: &Value) -> Vec<Unattributed> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = document["incidents"].as_array().unwrap().iter();
    listed
        .map(|item| Unattributed {
            reason: text(&item["reason"]),
            id: text(&item["incident"]["id"]),
        })
        .collect()
}

/// The records of the sample's pages, byte for byte.
fn sample_records(api: &SimulatedApi) -> BTreeSet<String> {
    // Tokens and tables stand in `api.json` itself, on one line each.
    // Tokens and tables stand in `api.json` itself, on one line each.
    let is_page = |answer: &&str| answer.contains('\n');
    let pages = api.api().exchanges.iter().map(|exchange| exchange.answer.as_str());
    pages.filter(is_page).flat_map(|page| records_at(page, &api.api().records)).collect()
}

/// The elements of the array to which a JSON Pointer leads.
fn records_at(json: &str, pointer: &str) -> Vec<String> {
    let mut value = serde_json::from_str::<Box<RawValue>>(json).unwrap();
    for token in pointer.split('/').skip(1) {
        let next = match token.parse::<usize>() {
            Ok(index) => {
                serde_json::from_str::<Vec<Box<RawValue>>>(value.get()).unwrap().remove(index)
            }
            Err(_) => serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(value.get())
                .unwrap()
                .remove(token)
                .unwrap(),
        };
        value = next;
    }
    let records: Vec<Box<RawValue>> = serde_json::from_str(value.get()).unwrap();
    records.iter().map(|record| record.get().to_owned()).collect()
}

macro_rules! recipes {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                check_recipe($name).await;
            }
        )*

        pub(crate) const NAMES: &[&str] = &[$($name),*];

        #[test]
        fn every_recipe_has_a_test() {
            let files = fs::read_dir(directory()).unwrap();
            let names: BTreeSet<String> = files
                .filter_map(|file| Some(file.unwrap().file_name().to_str()?.to_owned()))
                .filter_map(|file| Some(file.strip_suffix(".yaml")?.to_owned()))
                .collect();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), NAMES);
        }
    };
}

recipes! {
    alertmanager: "alertmanager",
    cortex_xdr: "cortex-xdr",
    crowdstrike: "crowdstrike",
    elastic_detections: "elastic-detections",
    entra_risk_detections: "entra-risk-detections",
    github_secret_scanning: "github-secret-scanning",
    graph_alerts: "graph-alerts",
    jsm_alerts: "jsm-alerts",
    mimecast: "mimecast",
    okta: "okta",
    opsgenie: "opsgenie",
    pagerduty: "pagerduty",
    sentinelone: "sentinelone",
    servicenow: "servicenow",
    sophos_central: "sophos-central",
    splunk_notables: "splunk-notables",
    wazuh: "wazuh",
}

#[test]
fn the_example_in_the_documentation_loads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SOURCES.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, after) = page.split_once("```yaml\n").unwrap();
    let (example, _) = after.split_once("```").unwrap();
    let secrets = tempfile::tempdir().unwrap();
    fs::write(secrets.path().join("acme"), "secret").unwrap();
    let example = example.replace("/run/secrets", secrets.path().to_str().unwrap());
    let config = configure("SOURCES.md", &example);
    assert_eq!(config.sources[0].name, "acme");
}
