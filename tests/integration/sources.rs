//! `/sources`.

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
