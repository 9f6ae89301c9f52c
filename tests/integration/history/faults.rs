//! The history while the store fails, hangs or is asked too much, and callers who leave or do not
//! read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use incident_gateway::config::Config;
use incident_gateway::decode::Priority;
use incident_gateway::store::StoreError;
use tokio::time::Instant;

use super::{configured, gateway, ids, problem, rows};
use crate::support::history_store::{Answers, row};

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_within_the_budget() {
    let (gateway, store) = gateway(rows());
    let down = || StoreError::Unavailable("connection refused".to_owned());
    for (answers, expected) in [
        (Answers::With(down()), "store-unavailable"),
        (Answers::With(StoreError::Unusable("a newer schema".to_owned())), "store-unavailable"),
        (Answers::With(StoreError::Overloaded), "overloaded"),
        (Answers::Never, "store-unavailable"),
        (Answers::After(Duration::from_secs(3)), "store-unavailable"),
    ] {
        store.answer(answers.clone());
        for path in ["/history", "/history/summary"] {
            let started = Instant::now();
            let reply = gateway.get(path).await;
            assert_eq!((reply.status.as_u16(), &*problem(&reply)), (503, expected), "{answers:?}");
            assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
            assert!(started.elapsed() <= gateway.config.response_budget, "{answers:?}");
            assert!(!reply.text().contains("refused"), "the detail is for the operator");
            assert_eq!(store.open_queries.load(Ordering::Relaxed), 0, "{answers:?}");
        }
    }
    store.answer(Answers::After(Duration::from_secs(1)));
    assert_eq!(ids(&gateway.get("/history").await).len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_only_the_history() {
    let (gateway, store) = gateway(rows());
    store.answer(Answers::Never);
    let gateway = Arc::new(gateway);
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { gateway.get("/history").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let open = store.open_queries.load(Ordering::Relaxed);
    assert!((1..50).contains(&open), "{open} queries run at once");
    for path in
        ["/incidents", "/incidents?priority=low", "/summary", "/sources", "/", "/unattributed"]
    {
        let started = Instant::now();
        assert_eq!(gateway.get(path).await.status, StatusCode::OK, "{path}");
        assert!(started.elapsed() < Duration::from_millis(10), "{path}");
    }
    for asked in asked {
        let reply = asked.await.unwrap();
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(["store-unavailable", "overloaded"].contains(&&*problem(&reply)));
    }
    store.answer(Answers::AtOnce);
    assert_eq!(ids(&gateway.get("/history").await).len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_ends_the_query() {
    let (gateway, store) = gateway(rows());
    store.answer(Answers::Never);
    for path in ["/history", "/history/summary"] {
        let leaving = tokio::time::timeout(Duration::from_millis(100), gateway.get(path)).await;
        assert!(leaving.is_err());
        assert_eq!(store.open_queries.load(Ordering::Relaxed), 0, "{path}");
    }
    assert_eq!(store.queries.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn pages_that_nobody_reads_count_towards_the_memory_bound() {
    const MAX_BYTES: u64 = 4 << 20;
    let mut config = Config::default();
    config.cache.max_bytes = MAX_BYTES;
    let rows = (0..10_000)
        .map(|number| row(number, "gone", Some(("7", Priority::Low, 5.0)), false))
        .collect();
    let (gateway, _) = configured(config, rows);
    let mut unread = Vec::new();
    for _ in 0..10 {
        let response = gateway.ask(Method::GET, "/history?limit=5000", &[]).await;
        assert!(gateway.cache.used_bytes() <= MAX_BYTES);
        if response.status() == StatusCode::OK {
            unread.push(response);
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    assert!((1..10).contains(&unread.len()), "{}", unread.len());
    assert_eq!(gateway.get("/history?limit=10").await.status, StatusCode::OK);
    drop(unread);
    assert_eq!(gateway.cache.used_bytes(), 0);
    assert_eq!(gateway.get("/history?limit=5000").await.status, StatusCode::OK);
}
