//! What the log says of upstream calls, and what it never says.

use crate::support::captured_log::CapturedLog;
use crate::support::one_source::{GOOD, OneSource, PATH, SECRET, SECRET_ENCODED, settings};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use incident_gateway::config;
use incident_gateway::outcome::Outcome;
use incident_gateway::trace_context::TraceContext;
use incident_gateway::upstream::{CallContext, UpstreamError};
use serde_json::Value;
use tracing::Level;

#[tokio::test]
async fn each_call_logs_one_event() {
    let log = CapturedLog::new();
    let _logging = log.capture(Level::INFO);
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&config::Upstream { retries: 2, ..settings(&server.base_url()) });
    server.script(PATH, Script::json(GOOD));
    for _ in 0..3 {
        source.fetch().await.unwrap();
    }
    log.clear();

    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let caller = CallContext { trace: TraceContext::parse(traceparent), ..CallContext::default() };
    server.script_each(PATH, [Script::status(503), Script::json(GOOD)]);
    let _ = source.call(caller.clone()).await.unwrap().accept();
    let later_page = CallContext { page: 7, ..caller.clone() };
    let _ = source.call(later_page).await.unwrap().accept();
    let _ = source
        .call(caller.clone())
        .await
        .unwrap()
        .reject(UpstreamError::new(Outcome::Decode, "it is not JSON"));

    let events: Vec<Value> =
        log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let fields = &event["fields"];
            assert_eq!(fields["source"], "denial");
            assert_eq!(fields["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(fields["span_id"].as_str().unwrap().len(), 16);
            assert!(fields["duration_seconds"].as_f64().is_some());
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let number = |name| fields[name].as_u64().unwrap();
            let page = fields.get("page").map_or(1, |page| page.as_u64().unwrap());
            let numbers = (number("status"), number("bytes"), number("attempt"), page);
            (text(&event["level"]), text(&fields["outcome"]), numbers, text(&fields["detail"]))
        })
        .collect();
    let event = |level: &str, outcome: &str, numbers, detail: &str| {
        (level.to_owned(), outcome.to_owned(), numbers, detail.to_owned())
    };
    let bytes = GOOD.len() as u64;
    assert_eq!(
        told,
        [
            event("WARN", "status", (503, 0, 1, 1), "the upstream failed (503)"),
            event("INFO", "ok", (200, bytes, 2, 1), ""),
            event("INFO", "ok", (200, bytes, 1, 7), ""),
            event("WARN", "decode", (200, bytes, 1, 1), "it is not JSON"),
        ]
    );
}

#[tokio::test]
async fn no_log_level_shows_secrets() {
    let log = CapturedLog::new();
    let _logging = log.capture(Level::TRACE);
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&settings(&server.base_url()));
    for script in [
        Script::json(GOOD),
        Script::status(401),
        Script::Close,
        Script::Redirect("http://other/".to_owned()),
    ] {
        server.script(PATH, script);
        let _ = source.fetch().await;
    }
    let text = log.text();
    assert!(text.contains("upstream call failed"), "something was logged");
    for secret in [SECRET, SECRET_ENCODED] {
        assert!(!text.contains(secret), "{text}");
        assert!(!format!("{:?}", source.upstream).contains(secret));
    }
}

#[tokio::test]
async fn credentials_over_plain_http_are_warned_of_once() {
    let log = CapturedLog::new();
    let _logging = log.capture(Level::WARN);
    let _source = OneSource::new(&settings("http://upstream.example.test"));
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("`upstream.base_url`") && text.contains("https://"), "{text}");
    log.clear();
    let anonymous = config::Upstream { username: None, ..settings("http://upstream.example.test") };
    let _source = OneSource::new(&anonymous);
    let _source = OneSource::new(&settings("http://127.0.0.1:1"));
    assert_eq!(log.text(), "");
}
