//! `/sources`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use incident_gateway::config::{Config, Origin};
use incident_gateway::forward::{ForwardState, ForwardStatus};
use incident_gateway::snapshot::SourceStatus;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::snapshot_gateway::SnapshotGateway;

#[tokio::test(start_paused = true)]
async fn a_source_that_holds_records_back_is_shown_as_truncated() {
    let gateway =
        SnapshotGateway::with(&[("misuse", r#"{"results":[]}"#), ("probing", r#"{"results":[]}"#)]);
    gateway.publish_states(|status| status.truncated = &*status.name == "misuse");
    let document = gateway.get("/sources").await.json();
    for source in document["sources"].as_array().unwrap() {
        let name = source["name"].as_str().unwrap();
        match name {
            "identities" => assert!(source.get("truncated").is_none()),
            _ => assert_eq!(source["truncated"], name == "misuse", "{name}"),
        }
    }
}

/// The source with this name in `/sources`.
async fn source(gateway: &SnapshotGateway, name: &str) -> Value {
    let document = gateway.get("/sources").await.json();
    let mut sources = document["sources"].as_array().unwrap().iter();
    sources.find(|source| source["name"] == name).unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn what_was_noticed_in_the_data_is_told_for_each_source() {
    let gateway = SnapshotGateway::with(&[]);
    gateway.publish_states(|status| {
        status.pages = 3;
        status.duplicates = 2;
        status.conflicts = 4;
        status.unmapped = [("NOTICE".to_owned(), 7), ("\"7\"".to_owned(), 1)].into();
    });
    let misuse = source(&gateway, "misuse").await;
    assert_eq!(misuse["upstream"], "default");
    assert_eq!((&misuse["pages"], &misuse["duplicates"]), (&json!(3), &json!(2)));
    assert_eq!(misuse["unmapped"], json!({"NOTICE": 7, "\"7\"": 1}));
    assert_eq!((&misuse["truncated"], misuse.get("conflicts")), (&json!(false), None));
    let table = source(&gateway, "identities").await;
    assert_eq!((&table["pages"], &table["conflicts"]), (&json!(3), &json!(4)));
    for absent in ["duplicates", "unmapped", "truncated"] {
        assert!(table.get(absent).is_none(), "{absent}");
    }
    gateway.publish_states(|status| {
        *status = SourceStatus::new(status.name.clone(), status.policy);
    });
    let untried = source(&gateway, "misuse").await;
    assert_eq!((&untried["unmapped"], &untried["pages"]), (&json!({}), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_is_a_time_and_null_while_one_is_under_way() {
    let gateway = SnapshotGateway::with(&[]);
    let next = async |at: Option<Instant>| {
        gateway.publish_states(|status| status.next_attempt = at);
        source(&gateway, "misuse").await["next_attempt"].clone()
    };
    assert_eq!(next(None).await, Value::Null);
    let expected = SystemTime::now() + Duration::from_mins(5);
    let shown = next(Some(Instant::now() + Duration::from_mins(5))).await;
    let shown: jiff::Timestamp = shown.as_str().unwrap().parse().unwrap();
    let apart = SystemTime::from(shown).duration_since(expected).unwrap_or_default();
    assert!(apart < Duration::from_secs(10), "{shown}");
    // An attempt that is overdue is due now.
    let due = Instant::now();
    tokio::time::advance(Duration::from_mins(1)).await;
    let before = jiff::Timestamp::try_from(SystemTime::now() - Duration::from_secs(1)).unwrap();
    let shown = next(Some(due)).await;
    assert!(shown.as_str().unwrap().parse::<jiff::Timestamp>().unwrap() >= before, "{shown}");
}

#[tokio::test(start_paused = true)]
async fn files_have_neither_an_upstream_nor_a_circuit_breaker() {
    let mut config = Config::default();
    config.sources[0].origin = Origin::File("/data/badge/*.csv".to_owned());
    let gateway = SnapshotGateway::configured(config);
    let file = source(&gateway, "denial").await;
    assert_eq!((&file["upstream"], &file["breaker"]), (&Value::Null, &Value::Null));
    let other = source(&gateway, "misuse").await;
    assert_eq!((&other["upstream"], &other["breaker"]), (&json!("default"), &json!("closed")));
}

#[tokio::test(start_paused = true)]
async fn forwards_are_told_where_some_are_configured() {
    let gateway = SnapshotGateway::new();
    assert_eq!(gateway.get("/sources").await.json().get("forwards"), None);
    let siem = ForwardStatus {
        name: "siem".to_owned(),
        state: ForwardState::Retrying,
        lag: Some(7),
        sent: 3,
        dead_letters: 2,
        last_error: Some("status 503".to_owned()),
    };
    let pager = ForwardStatus { name: "pager".to_owned(), ..ForwardStatus::default() };
    gateway.forwards.send_replace(Arc::new([siem, pager]));
    let document = gateway.get("/sources").await.json();
    let expected = json!([
        {"name": "siem", "state": "retrying", "lag": 7, "sent": 3, "dead_letters": 2,
            "last_error": "status 503"},
        {"name": "pager", "state": "idle", "lag": null, "sent": 0, "dead_letters": 0,
            "last_error": null},
    ]);
    assert_eq!(document["forwards"], expected);
    // A reload may remove them.
    gateway.forwards.send_replace(Arc::default());
    assert_eq!(gateway.get("/sources").await.json().get("forwards"), None);
}
