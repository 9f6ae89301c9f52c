//! Starts and stops of the built binary with a store.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::cli::{command, refused};
use crate::support::client::{Answer, get};
use crate::support::gateway::{GOOD, document, good_upstream, path};
use crate::support::postgres::PostgresServer;
use crate::support::process::Process;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const SERVE: [&str; 6] =
    ["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// How long a test waits for a condition.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The records of the scripted upstream.
const RECORDS: &str = "9";

fn store_url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// Stderr of a start that is refused with this store.
fn refusal(url: &str) -> String {
    refused(&SERVE, &[("INCIDENT_GATEWAY__STORE__URL", url)])
}

/// The value of a metric of the store; empty if there is none.
async fn metric(admin: SocketAddr, name: &str) -> String {
    let page = get(admin, "/metrics").await;
    let prefix = format!("incident_gateway_store_{name} ");
    let value = page.text().lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
    value.unwrap_or_default()
}

async fn wait_for_metric(process: &Process, name: &str, wanted: &str) -> Duration {
    let began = Instant::now();
    while metric(process.admin_address, name).await != wanted {
        assert!(began.elapsed() < MAX_WAIT, "store_{name} never became {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// A gateway whose data stays fresh for an hour.
async fn serve(upstream: &ScriptedUpstream, url: &str) -> Process {
    let variables = [("STORE__URL", url), ("CACHE__TTL", "1h"), ("RESPONSE_BUDGET", "10s")];
    Process::serve(&upstream.base_url(), &variables).await
}

/// The complete answer.
async fn complete(process: &Process) -> Answer {
    let began = Instant::now();
    loop {
        let answer = get(process.address, "/incidents").await;
        if answer.header("incident-completeness") == "complete" {
            return answer;
        }
        assert!(began.elapsed() < MAX_WAIT, "never complete: {answer:?}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_a_store_are_refused_and_left_alone() {
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    let newer = folder.path().join("newer.db");
    let mut process = serve(&upstream, &store_url(&newer)).await;
    process.signal(Signal::TERM);
    process.ends_within(Duration::from_secs(20)).await;
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection.execute_batch("PRAGMA user_version = 9999").unwrap();
    connection.close().unwrap();
    tokio::task::spawn_blocking(move || refuses_bad_files(&folder, newer)).await.unwrap();
}

fn refuses_bad_files(folder: &TempDir, newer: PathBuf) {
    let missing = folder.path().join("missing/history.db");
    let stderr = refusal(&store_url(&missing));
    assert!(stderr.contains("missing") && stderr.contains("does not exist"), "{stderr}");
    assert!(!folder.path().join("missing").exists());

    let write = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    };
    let cut = std::fs::read(&newer).unwrap();
    for (file, wanted) in [
        (write("text.db", &b"no database at all\n".repeat(100)), "not a SQLite database"),
        (write("cut.db", &cut[..cut.len() / 2]), "cut.db"),
        (newer, "9999"),
    ] {
        let before = std::fs::read(&file).unwrap();
        let stderr = refusal(&store_url(&file));
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(stderr.starts_with("error: ") && stderr.contains(name), "{stderr}");
        assert!(stderr.contains(wanted), "{stderr}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{name}");
    }
}

#[tokio::test]
async fn a_second_process_on_a_file_is_refused_and_the_first_goes_on() {
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    let url = store_url(&folder.path().join("history.db"));
    let first = serve(&upstream, &url).await;
    complete(&first).await;
    wait_for_metric(&first, "records", RECORDS).await;
    let second = tokio::task::spawn_blocking(move || refusal(&url)).await.unwrap();
    assert!(second.contains("another incident-gateway process"), "{second}");
    assert_eq!(metric(first.admin_address, "up").await, "1");
    assert_eq!(metric(first.admin_address, "leader").await, "1");
}

#[tokio::test]
async fn a_restart_serves_what_was_stored_while_the_upstream_hangs() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
        let file = folder.path().join("history.db");
        let url = store_url(&file);
        let mut first = serve(&upstream, &url).await;
        let before = complete(&first).await;
        assert_eq!(before.text(), document(|_| true));
        wait_for_metric(&first, "records", RECORDS).await;
        let calls = upstream.seen().len();
        sleep(Duration::from_millis(1100)).await;
        first.signal(signal);
        let status = first.ends_within(Duration::from_secs(20)).await;
        if signal == Signal::TERM {
            assert_eq!(status.code(), Some(0));
            let log = std::fs::metadata(folder.path().join("history.db-wal"));
            assert_eq!(log.map_or(0, |log| log.len()), 0, "the database is one file");
        }
        for source in 0..GOOD.len() {
            upstream.script(&path(source), Script::HangBeforeHeaders);
        }
        let second = serve(&upstream, &url).await;
        let after = get(second.address, "/incidents").await;
        assert_eq!(after.header("incident-completeness"), "complete", "{after:?}");
        assert_eq!((after.status, after.text()), (200, before.text()));
        assert_eq!(after.header("etag"), before.header("etag"));
        assert!(after.header("age").parse::<u64>().unwrap() >= 1, "{after:?}");
        assert_eq!(upstream.seen().len(), calls, "nothing is due");
    }
}

#[tokio::test]
async fn data_that_comes_just_before_the_end_is_stored() {
    let (upstream, folder) = (good_upstream().await, tempfile::tempdir().unwrap());
    let url = store_url(&folder.path().join("history.db"));
    let mut first = serve(&upstream, &url).await;
    complete(&first).await;
    first.signal(Signal::TERM);
    assert_eq!(first.ends_within(Duration::from_secs(20)).await.code(), Some(0));
    let second = serve(&upstream, &url).await;
    wait_for_metric(&second, "records", RECORDS).await;
    assert_eq!(upstream.seen().len(), GOOD.len(), "one process fetched, once");
}

/// A gateway that reads the demo upstream, with the lines of its log.
struct Logged {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn without_its_postgresql_a_gateway_warns_and_serves() {
    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://gateway@127.0.0.1:{port}/incidents?sslmode=disable");
    let variables = [("INCIDENT_GATEWAY__STORE__URL", url.as_str())];
    let mut child = command(&SERVE, &variables).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut gateway = Logged { child, log };
    let mut lines = Vec::new();
    for line in gateway.log.by_ref() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("\"listening\"") {
            break;
        }
    }
    let warned = |line: &String| line.contains("WARN") && line.contains("the store is down");
    assert!(lines.iter().any(warned), "{lines:?}");
    let listening: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let address = |field: &str| listening[field].as_str().unwrap().parse().unwrap();
    let (public, admin): (SocketAddr, SocketAddr) = (address("address"), address("admin_address"));
    assert_eq!(metric(admin, "up").await, "0");
    assert_eq!(metric(admin, "leader").await, "0");
    assert_eq!(metric(admin, "records").await, "");
    let began = Instant::now();
    while get(public, "/incidents").await.header("incident-completeness") != "complete" {
        assert!(began.elapsed() < MAX_WAIT);
    }
    let began = Instant::now();
    kill_process(Pid::from_child(&gateway.child), Signal::TERM).unwrap();
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_newer_schema_in_postgresql_is_refused() {
    let Some(server) = PostgresServer::shared("a_newer_schema_in_postgresql_is_refused") else {
        return;
    };
    let (upstream, database) = (good_upstream().await, server.create_database().await);
    let url = server.tcp_url(&database);
    let mut first = serve(&upstream, &url).await;
    wait_for_metric(&first, "up", "1").await;
    first.signal(Signal::TERM);
    assert_eq!(first.ends_within(Duration::from_secs(20)).await.code(), Some(0));
    server.query(&database, "UPDATE schema_version SET version = 9999").await;
    let stderr = tokio::task::spawn_blocking(move || refusal(&url)).await.unwrap();
    assert!(stderr.contains("9999") && stderr.contains(&database), "{stderr}");
}

#[tokio::test]
async fn replicas_call_once_and_the_next_takes_over_when_the_leader_stops() {
    let test = "replicas_call_once_and_the_next_takes_over_when_the_leader_stops";
    let Some(server) = PostgresServer::shared(test) else { return };
    let (upstream, database) = (good_upstream().await, server.create_database().await);
    let url = server.tcp_url(&database);
    let mut first = serve(&upstream, &url).await;
    let before = complete(&first).await;
    wait_for_metric(&first, "records", RECORDS).await;
    let second = serve(&upstream, &url).await;
    let restored = get(second.address, "/incidents").await;
    assert_eq!(restored.header("incident-completeness"), "complete", "{restored:?}");
    assert_eq!(restored.header("etag"), before.header("etag"));
    assert_eq!(metric(first.admin_address, "leader").await, "1");
    assert_eq!(metric(second.admin_address, "leader").await, "0");
    first.signal(Signal::TERM);
    let takeover = wait_for_metric(&second, "leader", "1").await;
    assert!(takeover < Duration::from_secs(2), "{takeover:?}");
    assert_eq!(first.ends_within(Duration::from_secs(20)).await.code(), Some(0));
    assert_eq!(upstream.seen().len(), GOOD.len(), "nothing was due again");
}
