//! Connections that end between or under requests: what says nothing of the upstream is not held
//! against it.
//!
//! Which authorities are trusted comes from the process's environment, so the calls over TLS are
//! made by a process of their own: this binary again, told to run the one ignored test, [`child`].

use std::fmt::Write as _;
use std::process::Stdio;

use futures::future::join_all;
use h2::Reason;
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{BreakerState, CallContext, Upstream, UpstreamMetrics};
use tokio::process::Command;

use crate::support::authority::Authority;
use crate::support::h2_frames_upstream::{H2FramesUpstream, Then};
use crate::support::metrics_page::{calls, value};
use crate::support::one_source::{GOOD, OneSource, PATH, get, one_source, settings};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

#[tokio::test]
async fn a_request_on_a_pooled_connection_that_was_closed_is_sent_again_unseen() {
    for end in [Script::Close, Script::ResetBeforeHeaders] {
        let server = ScriptedUpstream::start().await;
        let good = || Script::json(GOOD);
        server.script_each(PATH, [good(), end.clone(), good()]);
        let source =
            OneSource::new(&config::Upstream { retries: 2, ..settings(&server.base_url()) });
        for _ in 0..2 {
            let answer = source.call(CallContext::default()).await.unwrap();
            assert_eq!(answer.attempts(), 1, "{end:?}");
            assert_eq!(answer.accept(), GOOD, "{end:?}");
        }
        assert_eq!((server.calls(PATH), server.connections()), (3, 2), "{end:?}");
        assert_eq!(calls(&source.registry, "denial", "ok"), 2, "{end:?}");
        assert_eq!(calls(&source.registry, "denial", "body"), 0, "{end:?}");
        let retries = value(&source.registry, "upstream_retries_total{source=\"denial\"}");
        assert_eq!(retries, "0", "{end:?}");
        assert_eq!(source.upstream.breaker_state(0), BreakerState::Closed);
    }
}

#[tokio::test]
async fn a_request_on_a_new_connection_that_dies_is_not_sent_again() {
    let (server, source) = one_source().await;
    server.script(PATH, Script::Close);
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, server.calls(PATH)), (Outcome::Body, 1));
}

#[tokio::test]
async fn connections_that_all_die_fail_the_call_once() {
    let (server, source) = one_source().await;
    server.script_each(PATH, [Script::json(GOOD), Script::Close]);
    source.fetch().await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, server.calls(PATH)), (Outcome::Body, 3), "one on a new connection");
    assert_eq!(calls(&source.registry, "denial", "body"), 1);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let (server, source) = one_source().await;
    let body = GOOD.as_bytes().to_vec();
    server.script_each(PATH, [Script::json(GOOD), Script::CutOff(body), Script::json(GOOD)]);
    source.fetch().await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, server.calls(PATH)), (Outcome::Body, 2));
}

const BASE_URL: &str = "TEST_CONNECTIONS_BASE_URL";
const SOURCES: usize = 8;
const ROUNDS: usize = 5;

/// Calls all sources of an upstream at once, several times; what came of it.
#[tokio::test]
#[ignore = "run by the other tests, in a process of its own"]
async fn child() {
    let Ok(base_url) = std::env::var(BASE_URL) else {
        return println!("this is no test of its own");
    };
    let settings = config::Upstream {
        base_url: base_url.parse().unwrap(),
        concurrency: Concurrency::Fixed(SOURCES),
        retries: 2,
        ..Config::default().upstream
    };
    let names: Vec<_> = (0..SOURCES).map(|i| format!("s{i}").into()).collect();
    let mut registry = metrics::registry();
    let metrics = UpstreamMetrics::register(&mut registry);
    let upstream = Upstream::new("default", &settings, &names, &metrics, 1).unwrap();
    let (mut good, mut failures) = (0, String::new());
    for _ in 0..ROUNDS {
        let calls = (0..SOURCES)
            .map(|i| upstream.fetch(i, get(&upstream, &format!("/{i}")), CallContext::default()));
        for answer in join_all(calls).await {
            match answer {
                Ok(answer) => {
                    drop(answer.accept());
                    good += 1;
                }
                Err(error) => write!(failures, "{error}; ").unwrap(),
            }
        }
    }
    let counted = |outcome| (0..SOURCES).map(|i| calls(&registry, &format!("s{i}"), outcome)).sum();
    let (ok, failed): (u64, u64) = (counted("ok"), counted("body"));
    println!("RESULT good={good} ok={ok} body={failed} {failures}");
}

async fn call_all(upstream: &H2FramesUpstream, trusted: &std::path::Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "upstream_connections::child", "--ignored", "--nocapture"])
        .env(BASE_URL, upstream.base_url())
        .env("SSL_CERT_FILE", trusted)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let result = output.lines().find_map(|line| Some(line.split_once("RESULT ")?.1.to_owned()));
    result.unwrap_or_else(|| panic!("no result in {output}"))
}

async fn with_upstream(answered: usize, then: Then) -> (String, H2FramesUpstream) {
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    let authority = Authority::new("one");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let tls = authority.server(b"h2", &["127.0.0.1"], |_| {});
    let upstream = H2FramesUpstream::start(tls, answered, then).await;
    let result = call_all(&upstream, &trusted).await;
    (result, upstream)
}

#[tokio::test]
async fn streams_that_were_not_processed_are_sent_again_unseen() {
    let all = SOURCES * ROUNDS;
    let cases = [
        (20, Then::GoAway(Reason::NO_ERROR)),
        (3, Then::GoAway(Reason::NO_ERROR)),
        (1, Then::GoAway(Reason::NO_ERROR)),
        (3, Then::GoAway(Reason::ENHANCE_YOUR_CALM)),
        (12, Then::Refuse),
        (12, Then::Close),
    ];
    for (answered, then) in cases {
        let (result, upstream) = with_upstream(answered, then).await;
        let expected = format!("good={all} ok={all} body=0 ");
        assert_eq!(result, expected, "{answered} a connection, then {then:?}");
        assert!(upstream.connections() > 1, "{answered} a connection, then {then:?}");
    }
}

#[tokio::test]
async fn streams_that_are_always_refused_fail_after_a_few_requests() {
    let (result, upstream) = with_upstream(0, Then::Refuse).await;
    assert!(result.starts_with("good=0 ok=0 "), "{result}");
    // Five attempts of each source until its circuit opens, and the retries that the budget allows,
    // each of them at most five requests.
    let most = SOURCES * 5 * 5;
    assert!(upstream.requests() <= most, "{} of at most {most}", upstream.requests());
}
