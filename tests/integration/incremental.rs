//! Sources that are asked only for what is new, against a scripted upstream over sockets. A
//! property test in the refresh compares them with full fetches.

use crate::support::mapped_gateway::{ids, source, start};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

fn list(records: &[(&str, i64)]) -> Script {
    let record = |(id, at): &(&str, i64)| format!(r#"{{"id":"{id}","who":"ada","at":{at}}}"#);
    let records: Vec<_> = records.iter().map(record).collect();
    Script::json(format!("[{}]", records.join(",")))
}

/// The times from which on was asked, in the order of the requests.
fn asked_from(server: &ScriptedUpstream) -> Vec<i64> {
    let since = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        (body["now"].as_i64().unwrap(), body["since"].as_i64().unwrap())
    };
    server.seen().iter().map(|seen| since(&seen.body)).map(|(now, since)| now - since).collect()
}

fn api(incremental: &str) -> String {
    format!(
        r#"sources:
  - {{ name: api, upstream: api, path: /list,
      body: {{ since: "{{since:unix}}", now: "{{now:unix}}" }},
      window: 1h, every: 200ms, incremental: {incremental}, records: "", id: id,
      priority: {{ default: low }}, timestamp: at, identity: {{ at: who, as: employee_id }} }}
"#
    )
}

#[tokio::test]
async fn what_is_new_is_merged_with_what_is_held() {
    let now = jiff::Timestamp::now().as_second();
    let server = ScriptedUpstream::start().await;
    server.script_each(
        "/list",
        [
            list(&[("a", now - 3500), ("b", now - 5)]),
            list(&[("b", now - 4), ("c", now)]),
            Script::status(500),
            list(&[]),
        ],
    );
    let gateway = start(&server, &api("{ overlap: 10m, full_every: 24h }"));
    gateway.wait_until("merged", |sources| source(sources, "api")["records"] == 3).await;
    gateway
        .wait_until("recovered", |sources| {
            server.seen().len() > 4 && source(sources, "api")["state"] == "fresh"
        })
        .await;
    assert_eq!(ids(&gateway).await, ["a", "b", "c"]);
    let asked = asked_from(&server);
    assert_eq!(asked[0], 3600, "the first fetch asks for the whole window");
    // The others from the last successful one on, less the overlap; it was at most seconds ago.
    assert!(asked[1..].iter().all(|asked| (600..660).contains(asked)), "{asked:?}");
    let document = gateway.get("/incidents").await.json();
    let incidents = document["ada"]["low"]["incidents"].as_array().unwrap();
    let times: Vec<_> =
        incidents.iter().map(|incident| incident["record"]["at"].as_i64().unwrap() - now).collect();
    assert_eq!(times, [-3500, -4, 0], "the later copy of a record replaces the earlier one");
}

#[tokio::test]
async fn a_full_fetch_comes_in_time() {
    let now = jiff::Timestamp::now().as_second();
    let server = ScriptedUpstream::start().await;
    server.script_each("/list", [list(&[("a", now), ("b", now)]), list(&[("c", now)])]);
    let gateway = start(&server, &api("{ overlap: 10m, full_every: 3s }"));
    gateway.wait_until("merged", |sources| source(sources, "api")["records"] == 3).await;
    // What the full fetch does not have is gone.
    gateway.wait_until("full", |sources| source(sources, "api")["records"] == 1).await;
    assert_eq!(ids(&gateway).await, ["c"]);
    let asked = asked_from(&server);
    let full = asked.iter().filter(|asked| **asked == 3600).count();
    assert!((2..=3).contains(&full) && asked.len() > 2 * full, "{asked:?}");
}

#[tokio::test]
async fn what_grows_too_large_is_fetched_anew() {
    let now = jiff::Timestamp::now().as_second();
    let server = ScriptedUpstream::start().await;
    let wide = |id: &str| {
        let wide = "x".repeat(40 << 10);
        Script::json(format!(r#"[{{"id":"{id}","who":"ada","at":{now},"wide":"{wide}"}}]"#))
    };
    server.script_each("/list", [wide("a"), wide("b"), wide("c")]);
    let gateway = start(&server, &api("{ overlap: 10m, full_every: 24h }"));
    gateway
        .wait_until("too large", |sources| {
            let error = source(sources, "api")["last_error"].as_str().unwrap_or_default();
            error.starts_with("too_large: ")
        })
        .await;
    assert_eq!(ids(&gateway).await, ["a"], "the last good data stays");
    gateway.wait_until_complete("whole again").await;
    assert_eq!(ids(&gateway).await, ["c"]);
    let asked = asked_from(&server);
    assert!(asked[0] == 3600 && asked[1] < 660 && asked[2] == 3600, "{asked:?}");
}
