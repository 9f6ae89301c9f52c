//! A leader that is stopped while it calls the upstream.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::client::get;
use crate::support::gateway::{GOOD, good_upstream, path};
use crate::support::postgres::PostgresServer;
use crate::support::process::Process;
use crate::support::scripted_upstream::{Reply, Script};

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(300);

async fn leads(process: &Process) -> bool {
    get(process.admin_address, "/metrics")
        .await
        .text()
        .contains("\nincident_gateway_store_leader 1")
}

#[tokio::test]
async fn calls_under_way_are_stored_before_the_lease_is_given_back() {
    let test = "calls_under_way_are_stored_before_the_lease_is_given_back";
    let Some(server) = PostgresServer::shared(test) else { return };
    let upstream = good_upstream().await;
    for (source, (_, body)) in GOOD.iter().enumerate() {
        upstream.script(&path(source), Script::Respond(Reply::json(*body).after(LATENCY)));
    }
    let url = server.tcp_url(&server.create_database().await);
    let variables =
        [("STORE__URL", url.as_str()), ("CACHE__TTL", "8s"), ("UPSTREAM__CONCURRENCY", "8")];
    let mut first = Process::serve(&upstream.base_url(), &variables).await;
    let began = Instant::now();
    while !leads(&first).await || upstream.seen().len() < GOOD.len() {
        assert!(began.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(20)).await;
    }
    let second = Process::serve(&upstream.base_url(), &variables).await;
    // The second refresh of the leader.
    while upstream.seen().len() < 2 * GOOD.len() {
        assert!(began.elapsed() < Duration::from_mins(1));
        sleep(Duration::from_millis(5)).await;
    }
    first.signal(Signal::TERM);
    let stopped = Instant::now();
    while !leads(&second).await {
        assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(first.ends_within(Duration::from_secs(20)).await.code(), Some(0));
    sleep(Duration::from_secs(2)).await;
    for (source, (name, _)) in GOOD.iter().enumerate() {
        assert_eq!(upstream.calls(&path(source)), 2, "{name}: the next is not due yet");
    }
}
