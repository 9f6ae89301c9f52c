//! The command `forward` with a PostgreSQL store, whose lease another process may have.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::support::client::get;
use crate::support::gateway::good_upstream;
use crate::support::postgres::PostgresServer;
use crate::support::process::{Process, spawn_forward};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

/// Starts the command with this store, a source of records and a receiver.
fn spawn(store: &str, upstream: &ScriptedUpstream, receiver: &ScriptedUpstream) -> Child {
    let url = format!("{}/in", receiver.base_url());
    let forward = format!("[{{ name: siem, url: '{url}', format: ndjson, from: beginning }}]");
    let variables = [("STORE__URL", store), ("FORWARD", forward.as_str())];
    spawn_forward(&upstream.base_url(), &variables)
}

/// Waits for the end; returns the exit code, stderr, and how long that took.
async fn end(child: Child) -> (Option<i32>, String, Duration) {
    let started = Instant::now();
    let ended = timeout(Duration::from_mins(1), child.wait_with_output()).await;
    let Output { status, stderr, .. } = ended.expect("it ends").unwrap();
    (status.code(), String::from_utf8(stderr).unwrap(), started.elapsed())
}

#[tokio::test]
async fn the_lease_is_waited_for_and_given_back() {
    let test = "the_lease_is_waited_for_and_given_back";
    let Some(server) = PostgresServer::shared(test) else { return };
    let (upstream, receiver) = (good_upstream().await, ScriptedUpstream::start().await);
    receiver.script("/in", Script::status(200));
    let store = server.tcp_url(&server.create_database().await);
    let gateway = Process::serve(&upstream.base_url(), &[("STORE__URL", &store)]).await;
    let began = Instant::now();
    let leads = "\nincident_gateway_store_leader 1";
    while !get(gateway.admin_address, "/metrics").await.text().contains(leads) {
        assert!(began.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(20)).await;
    }
    let (code, stderr, took) = end(spawn(&store, &upstream, &receiver)).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("another process has the lease"), "{stderr}");
    assert!((11..20).contains(&took.as_secs()), "{took:?}");
    assert!(receiver.seen().is_empty());

    // The lease of a process that was killed runs out.
    gateway.signal(Signal::KILL);
    let (code, stderr, _) = end(spawn(&store, &upstream, &receiver)).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!receiver.seen().is_empty());
    // It was given back, at the end and on a signal.
    let (code, stderr, took) = end(spawn(&store, &upstream, &receiver)).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    for path in ["/incidents/denial/", "/incidents/misuse/"] {
        upstream.script(path, Script::HangBeforeHeaders);
    }
    let calls = upstream.seen().len();
    let stopped = spawn(&store, &upstream, &receiver);
    while upstream.seen().len() == calls {
        sleep(Duration::from_millis(5)).await;
    }
    let pid = Pid::from_raw(stopped.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let (code, stderr, took) = end(stopped).await;
    assert_eq!(code, Some(143), "{stderr}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let next = Process::serve(&upstream.base_url(), &[("STORE__URL", &store)]).await;
    let started = Instant::now();
    while !get(next.admin_address, "/metrics").await.text().contains(leads) {
        assert!(started.elapsed() < Duration::from_secs(3), "the lease was given back");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_no_usage_error() {
    let (upstream, receiver) = (good_upstream().await, ScriptedUpstream::start().await);
    let store = "postgres://gateway@127.0.0.1:1/history?sslmode=disable";
    let (code, stderr, took) = end(spawn(store, &upstream, &receiver)).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the store cannot be used: "), "{stderr}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(upstream.seen().is_empty() && receiver.seen().is_empty());
}
