//! Forwards that a reload adds, changes and removes.

use serde_json::Value;

use super::until;
use crate::support::client::get;
use crate::support::reloadable::{CONFIG, Files, Reloadable, SAME_AGAIN, UNUSABLE};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

/// A configuration with a store, a source in a file, and forwards of these names and paths.
fn settings(files: &Files, receiver: &ScriptedUpstream, forwards: &[(&str, &str)]) -> String {
    let forward = |(name, rest): &(&str, &str)| {
        format!("\n  - {{ name: {name}, format: ndjson, url: '{}{rest} }}", receiver.base_url())
    };
    let forwards: String = forwards.iter().map(forward).collect();
    format!(
        "store: {{ url: 'sqlite:{}' }}\nsources:\n  - {{ name: badge, file: '{}', every: 100ms, \
         id: event,\n      priority: {{ default: low }}, timestamp: when, identity: {{ at: who, as: \
         employee_id }} }}\n{}",
        files.name("history.db"),
        files.name("badge.ndjson"),
        if forwards.is_empty() { String::new() } else { format!("forward:{forwards}\n") },
    )
}

/// Writes the file of the source: this many events.
fn write_events(files: &Files, count: usize) {
    let event = |n: usize| {
        format!("{{\"event\":\"e{n}\",\"when\":\"2026-03-02T11:00:00Z\",\"who\":\"ada\"}}\n")
    };
    files.write("badge.ndjson", (1..=count).map(event).collect::<String>());
}

/// The events that were sent to this path, in the order of their coming.
fn received(receiver: &ScriptedUpstream, path: &str) -> Vec<String> {
    let bodies = receiver.seen().into_iter().filter(|seen| seen.path == path);
    let events = bodies.flat_map(|seen| {
        let event = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["incident"]["record"]["event"].as_str().unwrap().to_owned()
        };
        seen.body.lines().map(event).collect::<Vec<_>>()
    });
    events.collect()
}

async fn forwards(gateway: &Reloadable) -> Value {
    get(gateway.process.address, "/sources").await.json()["forwards"].clone()
}

async fn has_series(gateway: &Reloadable, series: &str) -> bool {
    let page = get(gateway.process.admin_address, "/metrics").await;
    page.text().contains(&format!("incident_gateway_{series}"))
}

#[tokio::test]
async fn forwards_are_added_changed_and_removed_by_name() {
    let receiver = ScriptedUpstream::start().await;
    for path in ["/a", "/b", "/c"] {
        receiver.script(path, Script::status(200));
    }
    let files = Files::new("");
    write_events(&files, 1);
    files.write(CONFIG, settings(&files, &receiver, &[]));
    let gateway = Reloadable::start(files, &[]).await;
    until("the first record", async || has_series(&gateway, "store_records 1\n").await).await;
    assert_eq!(forwards(&gateway).await, Value::Null);
    assert!(!has_series(&gateway, "forward_").await);

    let change = async |forwards: &[(&str, &str)]| {
        let other = settings(&gateway.files, &receiver, forwards);
        gateway.change_validly(|files| files.write(CONFIG, other)).await
    };
    assert_eq!(change(&[("siem", "/a'")]).await, "forward.siem (added)");
    until("its position", async || forwards(&gateway).await[0]["lag"] == 0).await;
    write_events(&gateway.files, 2);
    until("the second record", async || forwards(&gateway).await[0]["sent"] == 1).await;
    assert_eq!(received(&receiver, "/a"), ["e2"]);
    assert!(has_series(&gateway, "forward_sent_total{forward=\"siem\"} 1\n").await);

    // The position belongs to the name. Another forward begins by itself.
    let both = [("siem", "/b'"), ("pager", "/c', from: beginning")];
    assert_eq!(change(&both).await, "forward.siem.url, forward.pager (added)");
    write_events(&gateway.files, 3);
    until("the third record", async || {
        let forwards = forwards(&gateway).await;
        forwards[0]["sent"] == 2 && forwards[1]["sent"] == 3
    })
    .await;
    assert_eq!(received(&receiver, "/b"), ["e3"]);
    assert_eq!(received(&receiver, "/c"), ["e1", "e2", "e3"]);

    assert_eq!(change(&both[1..]).await, "forward.siem (removed)");
    write_events(&gateway.files, 4);
    until("the fourth record", async || received(&receiver, "/c").len() == 4).await;
    let names = forwards(&gateway).await;
    assert_eq!((names.as_array().unwrap().len(), &names[0]["name"]), (1, &Value::from("pager")));
    assert!(!has_series(&gateway, "forward_sent_total{forward=\"siem\"}").await);
    assert_eq!(change(&both).await, "forward.siem (added)");
    until("what was missed", async || received(&receiver, "/b").len() == 2).await;
    assert_eq!(received(&receiver, "/b"), ["e3", "e4"]);
    assert_eq!(received(&receiver, "/c").len(), 4);

    assert_eq!(change(&[]).await, "forward.siem (removed), forward.pager (removed)");
    until("no forwards", async || forwards(&gateway).await == Value::Null).await;
    assert!(!has_series(&gateway, "forward_").await);
}

#[tokio::test]
async fn a_forward_that_cannot_be_set_up_leaves_everything_as_it_was() {
    let receiver = ScriptedUpstream::start().await;
    receiver.script("/a", Script::status(200));
    let files = Files::new("");
    write_events(&files, 1);
    let first = settings(&files, &receiver, &[("siem", "/a', from: beginning")]);
    files.write(CONFIG, &first);
    // No certificate authorities, so that no server can be verified.
    let authorities = files.name("none.pem");
    let gateway = Reloadable::start(files, &[("SSL_CERT_FILE", &authorities)]).await;
    until("the first record", async || forwards(&gateway).await[0]["sent"] == 1).await;

    let both = settings(&gateway.files, &receiver, &[("siem", "/b'"), ("pager", "/c'")]);
    let https = receiver.base_url().replace("http:", "https:") + "/c";
    let unusable = both.replace(&format!("{}/c", receiver.base_url()), &https);
    let error = gateway.change_invalidly(|files| files.write(CONFIG, unusable)).await;
    assert_eq!(error.message, UNUSABLE);
    assert!(error.field("error").contains("pager"), "{}", error.line);
    assert_eq!(forwards(&gateway).await.as_array().unwrap().len(), 1);
    write_events(&gateway.files, 2);
    until("the second record", async || forwards(&gateway).await[0]["sent"] == 2).await;
    assert_eq!(received(&receiver, "/a"), ["e1", "e2"]);
    let again = gateway.change(|files| files.write(CONFIG, &first)).await;
    assert_eq!(again[0].message, SAME_AGAIN);
}
