//! The concurrency limit that was found, across a restart. Limits are saved every few seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::client::get;
use crate::support::gateway::{GOOD, good_upstream, path};
use crate::support::process::Process;
use crate::support::scripted_upstream::Reply;

/// How often limits are saved, and some more.
const SAVED_AFTER: Duration = Duration::from_secs(7);

const MAX_WAIT: Duration = Duration::from_secs(30);

/// The limit without a search.
const INITIAL_LIMIT: u64 = 3;

async fn limit(process: &Process) -> u64 {
    let sources = get(process.address, "/sources").await.json();
    sources["concurrency"]["limit"].as_u64().unwrap()
}

#[tokio::test]
async fn the_concurrency_limit_that_was_found_is_kept() {
    let upstream = good_upstream().await;
    // Calls do not slow each other down, so that the search goes up.
    for (source, (_, body)) in GOOD.iter().enumerate() {
        upstream.script(&path(source), Reply::json(*body).after(Duration::from_millis(30)));
    }
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("history.db").display());
    let base_url = upstream.base_url();
    let serve = |ttl: &'static str| {
        let (url, base_url) = (url.clone(), base_url.clone());
        async move { Process::serve(&base_url, &[("STORE__URL", &*url), ("CACHE__TTL", ttl)]).await }
    };
    let mut first = serve("100ms").await;
    let began = Instant::now();
    while limit(&first).await <= INITIAL_LIMIT + 1 {
        assert!(began.elapsed() < MAX_WAIT, "the limit does not go up");
        sleep(Duration::from_millis(50)).await;
    }
    // The search still tries neighbouring limits.
    let (mut found, settled) = (BTreeSet::new(), Instant::now());
    while settled.elapsed() < SAVED_AFTER {
        found.insert(limit(&first).await);
        sleep(Duration::from_millis(20)).await;
    }
    first.signal(Signal::KILL);
    first.ends_within(Duration::from_secs(5)).await;
    let calls = upstream.seen().len();
    let second = serve("10m").await;
    // It reads what is stored while it begins to listen.
    let began = Instant::now();
    while !found.contains(&limit(&second).await) {
        assert!(began.elapsed() < Duration::from_secs(3), "none of {found:?}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(upstream.seen().len(), calls, "no call has shown it");
}
