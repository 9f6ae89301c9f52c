//! A panic in a handler fails its own request, and neither its connection nor the process.

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use incident_gateway::config::{LogFormat, Otlp};
use incident_gateway::http::{ListenerSettings, Server};
use incident_gateway::join::join;
use incident_gateway::logging;
use incident_gateway::snapshot::{Policy, Snapshot, SourceStatus, View};
use support::client::Client;
use support::snapshot_gateway::SnapshotGateway;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[tokio::test]
async fn a_panic_is_answered_500_and_later_requests_succeed() {
    let gateway = SnapshotGateway::with_fixtures();
    let good = Arc::clone(&gateway.snapshots.borrow());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_settings, settings) =
        watch::channel(ListenerSettings { limits: gateway.config.limits, tls: None });
    let server = Server::new(listener, settings, gateway.phase.subscribe());
    tokio::spawn(server.run(gateway.inner.public_service()));
    let mut client = Client::connect(address).await.unwrap();

    // Invalid snapshots, which configuration and refresh never make: durations whose sum overflows,
    // which panics in the handler, and a view whose sources have no names, which panics on the
    // rendering thread.
    let overflows = good.sources.map(|_, source| {
        let policy = Policy { ttl: Duration::MAX, ..source.policy };
        SourceStatus { policy, ..source.clone() }
    });
    let names: Arc<[Arc<str>]> = Arc::new([]);
    let batches = good.view.batches();
    let nameless = View::new(u64::MAX, names, batches.into(), join(&[], batches));
    let bad = [
        Snapshot { sources: Arc::new(overflows), ..(*good).clone() },
        Snapshot { view: Arc::new(nameless), ..(*good).clone() },
    ];
    for bad in bad {
        gateway.snapshots.send_replace(Arc::new(bad));
        let answer = client.get("/incidents", &[("X-Request-Id", "the-one")]).await.unwrap();
        assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"));
        assert_eq!(answer.json()["request_id"], "the-one");
        assert_eq!(client.get("/healthz", &[]).await.unwrap().text(), "ok");
        gateway.snapshots.send_replace(Arc::clone(&good));
        assert_eq!(
            client.get("/incidents", &[]).await.unwrap().status,
            200,
            "over the same connection"
        );
    }
}

#[test]
fn a_panic_is_logged_as_one_line() {
    // The hook is the whole process's, so this test starts itself again.
    const IS_CHILD: &str = "IS_THE_CHILD_THAT_PANICS";
    if std::env::var_os(IS_CHILD).is_some() {
        panic_and_abort();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_is_logged_as_one_line", "--nocapture"])
        .envs([(IS_CHILD, "1"), ("RUST_BACKTRACE", "1")])
        .output()
        .unwrap();
    let stderr = String::from_utf8(child.stderr).unwrap();
    let lines: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("all of the log is JSON"))
        .collect();
    let [line] = &lines[..] else { panic!("{stderr}") };
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"panicked".into()));
    assert_eq!((&line["panic"], &line["thread"]), (&"the 1st".into(), &"the thread".into()));
    assert!(line["location"].as_str().unwrap().starts_with("tests/panics.rs:"), "{line}");
    assert!(line["backtrace"].as_str().unwrap().lines().count() > 1, "{line}");
}

#[test]
fn panics_do_not_block_on_a_log_that_is_not_read() {
    const IS_CHILD: &str = "IS_THE_CHILD_WHOSE_LOG_NOBODY_READS";
    if std::env::var_os(IS_CHILD).is_some() {
        panic_with_unread_log();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics_do_not_block_on_a_log_that_is_not_read", "--nocapture"])
        .env(IS_CHILD, "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open, but not read.
    let _stderr = child.stderr.take();
    assert!(child.wait().unwrap().success());
}

/// Exits 0 if 50 panics and the threads they leave behind take less than a second.
fn panic_with_unread_log() -> ! {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let log = logging::start(Some(LogFormat::Json), None, &Otlp::default()).unwrap();
    let before = threads();
    let line = "x".repeat(64 << 10);
    (0..4).for_each(|_| tracing::error!(line));
    let started = Instant::now();
    for _ in 0..50 {
        let _ = thread::spawn(|| panic!("expected")).join();
    }
    // A thread that was joined may be listed a moment longer.
    while threads() > before {
        thread::yield_now();
    }
    let is_prompt = started.elapsed() < Duration::from_secs(1);
    // Dropping the log would wait.
    std::mem::forget(log);
    std::process::exit(i32::from(!is_prompt));
}

/// Panics, and aborts the process as soon as the panic has been logged: nothing is left for the
/// log's own end to write.
fn panic_and_abort() {
    struct Aborts;
    impl Drop for Aborts {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let _log = logging::start(Some(LogFormat::Json), None, &Otlp::default()).unwrap();
    let panics = || {
        let _aborts = Aborts;
        panic!("the {}st", 1);
    };
    // The process ends before this does.
    let _ = thread::Builder::new().name("the thread".to_owned()).spawn(panics).unwrap().join();
}
