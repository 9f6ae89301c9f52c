//! No response takes longer than the budget, whatever the upstream does, and each states how
//! complete it is.

mod simulated;

use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client, get_with};
use crate::support::gateway::{GOOD, Gateway, document, good_upstream, path, quick};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

/// The delay to tolerate on a busy machine.
const NOISE: Duration = Duration::from_millis(700);

/// An upstream with this latency for each source.
async fn upstream(latency: impl Fn(usize) -> Duration) -> ScriptedUpstream {
    let server = good_upstream().await;
    for (source, (_, body)) in GOOD.iter().enumerate() {
        server.script(&path(source), Reply::json(*body).after(latency(source)));
    }
    server
}

async fn all_ask(
    gateway: &Gateway,
    callers: usize,
    path: &'static str,
    headers: &'static [(&str, &str)],
) -> Vec<Answer> {
    let address = gateway.running.address;
    let callers: Vec<_> =
        (0..callers).map(|_| tokio::spawn(get_with(address, path, headers))).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_callers_share_one_call_per_source_and_wait_no_longer_than_the_budget() {
    // Two sources come too late for them.
    let late = [3, 6];
    let server =
        upstream(|source| Duration::from_millis(if late.contains(&source) { 4000 } else { 300 }))
            .await;
    let mut config = quick(&server.base_url());
    config.response_budget = Duration::from_secs(1);
    config.cache.ttl = Duration::from_mins(1);
    let gateway = Gateway::start(&config);
    let whole = document(|_| true);
    let partial = document(|source| !late.contains(&source));
    for answer in all_ask(&gateway, 500, "/incidents", &[]).await {
        assert_eq!((answer.status, answer.text()), (200, &*partial));
        assert!(answer.took < config.response_budget + NOISE, "{:?}", answer.took);
        assert_eq!(answer.header("incident-completeness"), "partial");
        assert_eq!(answer.header("cache-control"), "private, max-age=0");
        assert_eq!(answer.header("cache-status"), "incident-gateway; fwd=miss; collapsed");
    }
    gateway.wait_until_complete("the refresh goes on").await;
    for answer in all_ask(&gateway, 500, "/incidents", &[]).await {
        assert_eq!(
            (answer.status, answer.text()),
            (200, &*whole),
            "the partial answer was not kept as whole"
        );
        assert_eq!(answer.header("incident-completeness"), "complete");
        assert!(answer.took < NOISE, "{:?}", answer.took);
    }
    for (source, (name, _)) in GOOD.iter().enumerate() {
        assert_eq!(server.calls(&path(source)), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_waits_does_not_get_the_response_of_one_that_did_not() {
    let server =
        upstream(|source| Duration::from_millis(if source == 3 { 20_000 } else { 0 })).await;
    let mut config = quick(&server.base_url());
    config.response_budget = Duration::from_secs(1);
    let gateway = Gateway::start(&config);
    let is_fresh = |source: &&serde_json::Value| source["state"] == "fresh";
    let fresh = |sources: &serde_json::Value| {
        sources["sources"].as_array().unwrap().iter().filter(is_fresh).count()
    };
    gateway.wait_until("all others have come", |sources| fresh(sources) == GOOD.len() - 1).await;
    let hasty = gateway.get_with("/incidents", &[("Prefer", "wait=0")]).await;
    assert!(hasty.status == 200 && hasty.took < NOISE, "{hasty:?}");
    for _ in 0..2 {
        let patient = gateway.get_with("/incidents", &[]).await;
        assert!(patient.took > Duration::from_millis(800), "{:?}", patient.took);
        assert_eq!(patient.header("cache-status"), "incident-gateway; fwd=miss; collapsed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_responses_are_immediate_while_a_refresh_hangs() {
    let server = good_upstream().await;
    let mut config = quick(&server.base_url());
    config.response_budget = Duration::from_secs(5);
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("at first").await;
    for source in 0..GOOD.len() {
        server.script(&path(source), Script::HangBeforeHeaders);
    }
    gateway
        .wait_until("the refresh is under way", |sources| sources["concurrency"]["in_flight"] == 8)
        .await;
    for answer in all_ask(&gateway, 200, "/incidents", &[]).await {
        assert_eq!((answer.status, answer.text()), (200, &*document(|_| true)));
        assert!(answer.took < NOISE, "{:?}", answer.took);
        assert!(answer.header("cache-status").starts_with("incident-gateway; hit; ttl="));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_holds_while_draining() {
    let server = upstream(|_| Duration::from_secs(20)).await;
    let mut config = quick(&server.base_url());
    config.response_budget = Duration::from_millis(600);
    let gateway = Gateway::start(&config);
    gateway.running.drain();
    for answer in all_ask(&gateway, 50, "/incidents", &[]).await {
        assert_eq!((answer.status, answer.problem().as_str()), (503, "no-data"));
        assert!(answer.took < config.response_budget + NOISE, "{:?}", answer.took);
        assert_eq!(answer.header("connection"), "close");
    }
    let answer = gateway.get_with("/incidents", &[("Prefer", "wait=0")]).await;
    assert!(answer.took < NOISE && answer.header("preference-applied") == "wait=0", "{answer:?}");
}

#[tokio::test]
async fn each_request_of_a_connection_has_the_whole_budget() {
    let server = upstream(|_| Duration::from_secs(20)).await;
    let mut config = quick(&server.base_url());
    config.response_budget = Duration::from_millis(300);
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(gateway.running.address).await.unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(client.get("/incidents", &[]).await.unwrap().problem(), "no-data");
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(200) && took < config.response_budget + NOISE,
            "{took:?}"
        );
    }
}
