//! What callers can make the gateway hold and compute.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use incident_gateway::config::Config;
use tokio::time::Instant;

use crate::support::web::Site;

const MAX_BYTES: u64 = 4 << 20;

/// A gateway whose document has about `records` × 100 bytes.
fn site(records: u32) -> Site {
    let mut config = Config::default();
    config.cache.max_bytes = MAX_BYTES;
    let site = Site::configured(config);
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
    site.publish_named(&[("misuse", &(body + "]}"))]);
    site
}

#[tokio::test]
async fn long_questions_cost_what_they_weigh() {
    let site = site(1000);
    for number in 0..100 {
        // Unknown employees alone, many of them, and a known one among them.
        let unknown = (0..3000).map(|id| format!("u{number}-{id}")).collect::<Vec<_>>().join(",");
        for path in [
            format!("/incidents?employee_id={unknown}"),
            format!("/incidents?employee_id={},{unknown}", number % 50),
            format!("/incidents?employee_id=u{number}{}", "y".repeat(30_000)),
            format!("/summary?employee_id=u{number}{}", "y".repeat(30_000)),
        ] {
            assert_eq!(site.get(&path).await.status, StatusCode::OK);
        }
    }
    assert!(site.cache.used_bytes() < 1 << 20, "{}", site.cache.used_bytes());
}

#[tokio::test]
async fn questions_that_mean_the_same_have_one_answer() {
    let site = site(100);
    let whole = site.get("/incidents").await;
    let all_types = "denial,intrusion,executable,misuse,unauthorized,probing,other";
    for query in [
        "since=-1".to_owned(),
        "since=0&until=1e9".to_owned(),
        "priority=low,medium,critical,high".to_owned(),
        format!("type={all_types}"),
    ] {
        let answer = site.get(&format!("/incidents?{query}")).await;
        assert_eq!(answer.header("etag"), whole.header("etag"), "{query}");
    }
    assert_eq!(site.cache.used_bytes(), 0, "all of it is the document of the present data");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_callers_are_told_within_the_budget() {
    let site = site(10_000);
    let mut unread = Vec::new();
    for number in 0..10 {
        let started = Instant::now();
        let path = format!("/incidents?since={}", number + 1);
        let response = site.ask(Method::GET, &path, &[]).await;
        assert!(started.elapsed() <= site.config.response_budget);
        assert!(site.cache.used_bytes() <= MAX_BYTES);
        if response.status() == StatusCode::OK {
            unread.push(response);
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "1");
        }
    }
    assert!((1..10).contains(&unread.len()), "{}", unread.len());
    // Whole documents of the present data, and small answers, are given nevertheless.
    assert_eq!(site.get("/incidents").await.status, StatusCode::OK);
    assert_eq!(site.get("/incidents/7?since=5000").await.status, StatusCode::OK);
    drop(unread);
    assert_eq!(site.get("/incidents?since=1").await.status, StatusCode::OK);
}
