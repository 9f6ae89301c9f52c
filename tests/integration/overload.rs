//! How much memory callers can make the gateway use.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use incident_gateway::config::Config;
use tokio::time::Instant;

use crate::support::snapshot_gateway::SnapshotGateway;

const MAX_BYTES: u64 = 4 << 20;

/// A gateway whose document has about `records` × 100 bytes.
fn gateway(records: u32) -> SnapshotGateway {
    let mut config = Config::default();
    config.cache.max_bytes = MAX_BYTES;
    let gateway = SnapshotGateway::configured(config);
    let mut body = String::from(r#"{"results":["#);
    for id in 0..records {
        let comma = if id == 0 { "" } else { "," };
        let employee = id % 50;
        write!(
            body,
            r#"{comma}{{"employee_id":{employee},"priority":"high","timestamp":{id},"text":"{}"}}"#,
            "x".repeat(30)
        )
        .unwrap();
    }
    gateway.publish_named(&[("misuse", &(body + "]}"))]);
    gateway
}

#[tokio::test]
async fn long_queries_count_towards_the_memory_bound() {
    let gateway = gateway(1000);
    for number in 0..100 {
        // Unknown employees alone, many of them, and a known one among them.
        let unknown = (0..3000).map(|id| format!("u{number}-{id}")).collect::<Vec<_>>().join(",");
        for path in [
            format!("/incidents?employee_id={unknown}"),
            format!("/incidents?employee_id={},{unknown}", number % 50),
            format!("/incidents?employee_id=u{number}{}", "y".repeat(30_000)),
            format!("/summary?employee_id=u{number}{}", "y".repeat(30_000)),
        ] {
            assert_eq!(gateway.get(&path).await.status, StatusCode::OK);
        }
    }
    assert!(gateway.cache.used_bytes() < 1 << 20, "{}", gateway.cache.used_bytes());
}

#[tokio::test]
async fn equivalent_queries_share_one_cached_body() {
    let gateway = gateway(100);
    let whole = gateway.get("/incidents").await;
    let all_types = "denial,intrusion,executable,misuse,unauthorized,probing,other";
    for query in [
        "since=-1".to_owned(),
        "since=0&until=1e9".to_owned(),
        "priority=low,medium,critical,high".to_owned(),
        format!("type={all_types}"),
    ] {
        let answer = gateway.get(&format!("/incidents?{query}")).await;
        assert_eq!(answer.header("etag"), whole.header("etag"), "{query}");
    }
    assert_eq!(
        gateway.cache.used_bytes(),
        0,
        "all of them are the whole document, which is exempt"
    );
}

#[tokio::test(start_paused = true)]
async fn without_free_memory_callers_get_503_within_the_budget() {
    let gateway = gateway(10_000);
    let mut unread = Vec::new();
    for number in 0..10 {
        let started = Instant::now();
        let path = format!("/incidents?since={}", number + 1);
        let response = gateway.ask(Method::GET, &path, &[]).await;
        assert!(started.elapsed() <= gateway.config.response_budget);
        assert!(gateway.cache.used_bytes() <= MAX_BYTES);
        if response.status() == StatusCode::OK {
            unread.push(response);
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "1");
        }
    }
    assert!((1..10).contains(&unread.len()), "{}", unread.len());
    // The whole document of the current data and small responses are still served.
    assert_eq!(gateway.get("/incidents").await.status, StatusCode::OK);
    assert_eq!(gateway.get("/incidents/7?since=5000").await.status, StatusCode::OK);
    drop(unread);
    assert_eq!(gateway.get("/incidents?since=1").await.status, StatusCode::OK);
}
