//! `forward`, as its caller sees it: what receivers get, the exit code, and what it says.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use incident_gateway::clock::WallClock;
use incident_gateway::store::Store as _;
use incident_gateway::store::sqlite::{Access, SqliteStore};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::cli::{Ran, command, refused, run};
use super::support::forward_receiver::{Answer, ForwardReceiver, Record};
use super::support::scripted_upstream::{Reply, Script};

/// A folder with files of records, a store and a configuration, and a receiver.
struct Pipeline {
    folder: TempDir,
    receiver: ForwardReceiver,
}

impl Pipeline {
    /// A receiver that takes everything, and no files yet.
    async fn new() -> Self {
        let receiver = ForwardReceiver::start("ndjson").await;
        let pipeline = Self { folder: tempfile::tempdir().unwrap(), receiver };
        pipeline.configure("from: beginning");
        pipeline
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration; `rest` are more settings of the forward.
    fn configure(&self, rest: &str) {
        self.write(
            "config.yaml",
            &format!(
                "store: {{ url: 'sqlite:{}' }}
sources:
  - {{ name: badge, file: '{}', id: event, priority: {{ default: high }},
      timestamp: when, identity: {{ at: who, as: employee_id }} }}
  - {{ name: door, file: '{}', id: event, priority: {{ default: low }},
      timestamp: when, identity: {{ at: who, as: employee_id }} }}
forward:
  - {}
",
                self.path("history.db").display(),
                self.path("badge.ndjson").display(),
                self.path("door.ndjson").display(),
                self.receiver.forward("siem", rest),
            ),
        );
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file of a source with these events.
    fn events(&self, source: &str, events: &[&str]) {
        let line = |event: &&str| {
            format!("{{\"event\":\"{event}\",\"when\":\"2026-03-02T11:00:00Z\",\"who\":\"ada\"}}\n")
        };
        self.write(&format!("{source}.ndjson"), &events.iter().map(line).collect::<String>());
    }

    fn arguments(&self) -> [String; 3] {
        ["forward", "--config", self.path("config.yaml").to_str().unwrap()].map(str::to_owned)
    }

    async fn run(&self) -> Ran {
        let arguments = self.arguments();
        let run = move || run(&arguments.each_ref().map(String::as_str), &[]);
        spawn_blocking(run).await.unwrap()
    }

    /// Runs it; returns the exit code and the summary.
    async fn outcome(&self) -> (Option<i32>, String) {
        let Ran { code, stdout, stderr } = self.run().await;
        assert!(!stderr.contains('\u{1b}') && !stderr.contains("panicked"), "{stderr}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}{stderr}");
        (code, stdout.trim_end().to_owned())
    }

    /// The bodies that the receiver got, each as the events of its records.
    fn received(&self) -> Vec<Vec<String>> {
        let event =
            |record: &Record| record.incident["record"]["event"].as_str().unwrap().to_owned();
        let requests = self.receiver.requests();
        requests.iter().map(|request| request.records.iter().map(event).collect()).collect()
    }
}

fn summary(read: usize, [sent, dead_letters, due]: [u64; 3]) -> String {
    let letters = if dead_letters == 1 { "dead letter" } else { "dead letters" };
    format!("read {read} of 2 sources; siem: {sent} sent, {dead_letters} {letters}, {due} due")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_sent_once_from_the_beginning() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1", "b2"]);
    pipeline.events("door", &["d1"]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [3, 0, 0])));
    assert_eq!(pipeline.received(), [["b1", "b2", "d1"]], "one batch, in order");
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [0, 0, 0])));
    pipeline.events("badge", &["b1", "b2", "b3"]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [1, 0, 0])));
    assert_eq!(pipeline.received()[1..], [["b3"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_now_what_the_first_refresh_of_a_source_brings_is_left_out_for_good() {
    let pipeline = Pipeline::new().await;
    pipeline.configure("from: now");
    pipeline.events("badge", &["b1", "b2"]);
    // The other source fails at first.
    assert_eq!(pipeline.outcome().await, (Some(0), summary(1, [0, 0, 0])));
    pipeline.events("badge", &["b2", "b3"]);
    pipeline.events("door", &["d1"]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [1, 0, 0])));
    pipeline.events("door", &["d1", "d2"]);
    // It counts only while there is no position.
    pipeline.configure("from: beginning");
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [1, 0, 0])));
    assert_eq!(pipeline.received(), [["b3"], ["d2"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_refused_are_told_and_kept_apart() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1", "b2"]);
    pipeline.events("door", &[]);
    let refusal = Reply { status: 400, ..Reply::json("no such field") };
    let refusal = Answer::Other(refusal.into());
    // Both, the first, the second.
    pipeline.receiver.answer_each([refusal.clone(), refusal, Answer::Status(200)]);
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, stdout.trim_end()), (Some(3), &*summary(2, [1, 1, 0])), "{stderr}");
    assert!(stderr.contains("no such field") && stderr.contains("siem"), "{stderr}");
    assert!(stderr.contains("1 record became a dead letter"), "{stderr}");
    assert_eq!(pipeline.received(), [vec!["b1", "b2"], vec!["b1"], vec!["b2"]]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [0, 0, 0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_does_not_take_is_still_due() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1", "b2"]);
    pipeline.events("door", &["d1"]);
    let busy = Reply { status: 503, ..Reply::json("{}") }.header("Retry-After", "31");
    pipeline.receiver.answer_each([Answer::Other(busy.into())]);
    let started = Instant::now();
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, stdout.trim_end()), (Some(1), &*summary(2, [0, 0, 3])), "{stderr}");
    assert!(stderr.contains("error: forward siem: ") && stderr.contains("503"), "{stderr}");
    assert!(started.elapsed() < Duration::from_secs(25), "it does not wait for that long");
    pipeline.receiver.answer_each([Answer::Status(200)]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [3, 0, 0])));
    let received = pipeline.received();
    assert_eq!(received, [["b1", "b2", "d1"], ["b1", "b2", "d1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_sent_though_sources_fail() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1"]);
    pipeline.events("door", &["d1"]);
    let busy = Reply { status: 429, ..Reply::json("{}") }.header("Retry-After", "3600");
    pipeline.receiver.answer_each([Answer::Other(busy.into())]);
    assert_eq!(pipeline.outcome().await, (Some(1), summary(2, [0, 0, 2])));
    pipeline.receiver.answer_each([Answer::Status(204)]);
    std::fs::remove_file(pipeline.path("door.ndjson")).unwrap();
    std::fs::remove_file(pipeline.path("badge.ndjson")).unwrap();
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, stdout.trim_end()), (Some(1), &*summary(0, [2, 0, 0])), "{stderr}");
    assert!(stderr.contains("error: no source answered"), "{stderr}");
    // One that fails is named, and is no reason for another exit code.
    pipeline.events("badge", &["b2"]);
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, stdout.trim_end()), (Some(0), &*summary(1, [1, 0, 0])), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("door ") && lines[0].contains("file"),
        "{stderr}"
    );
    assert_eq!(pipeline.received().last().unwrap(), &["b2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_and_the_next_run_goes_on() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1"]);
    pipeline.events("door", &["d1"]);
    pipeline.receiver.answer_each([Answer::Other(Script::HangBeforeHeaders)]);
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let before = pipeline.received().len();
        let arguments = pipeline.arguments();
        let child = command(&arguments.each_ref().map(String::as_str), &[])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while pipeline.received().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{stderr}");
        assert!(output.stdout.is_empty() && stderr.contains("error: ended by SIG"), "{stderr}");
    }
    pipeline.receiver.answer_each([Answer::Status(200)]);
    assert_eq!(pipeline.outcome().await, (Some(0), summary(2, [2, 0, 0])));
}

fn sqlite(path: &Path) -> std::sync::Arc<SqliteStore> {
    SqliteStore::open(path, Access::Exclusive, WallClock::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_has_or_that_is_wrong_is_a_usage_error() {
    let pipeline = Pipeline::new().await;
    pipeline.events("badge", &["b1"]);
    pipeline.events("door", &["d1"]);
    let store = sqlite(&pipeline.path("history.db"));
    store.prepare().await.unwrap();
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("another incident-gateway process uses"), "{stderr}");
    drop(store);
    assert_eq!(pipeline.outcome().await.0, Some(0));
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(pipeline.path(name));
    }
    pipeline.write("history.db", &"no database ".repeat(1000));
    let Ran { code, stdout, stderr } = pipeline.run().await;
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("history.db"), "{stderr}");
    assert_eq!(pipeline.received().len(), 1);
}

#[test]
fn without_forwards_or_a_store_there_is_nothing_to_do() {
    let expected = "error: there is nobody to forward to (`forward` is empty); give the \
        configuration of the gateway with `--config`, or set `forward` and `store.url`\n";
    assert_eq!(refused(&["forward"], &[]), expected);
    let store = [("INCIDENT_GATEWAY__STORE__URL", "sqlite:/none/history.db")];
    let expected = expected.replace(" and `store.url`", "");
    assert_eq!(refused(&["forward"], &store), expected);
    let forward = "[{ name: siem, url: 'http://127.0.0.1:1/', format: ndjson }]";
    let forward = ("INCIDENT_GATEWAY__FORWARD", forward);
    let errors = refused(&["forward"], &[forward]);
    assert!(errors.contains("forward") && errors.contains("`store.url`"), "{errors}");
    let errors = refused(&["forward"], &[forward, store[0]]);
    assert!(errors.contains("ELEVATE_USERNAME"), "{errors}");
    let credentials = [("ELEVATE_USERNAME", "a"), ("ELEVATE_PASSWORD", "b")];
    let errors = refused(&["forward"], &[&[forward, store[0]][..], &credentials].concat());
    assert!(errors.contains("/none does not exist"), "{errors}");
    let masked = forward.1.replace(" }", ", auth: { bearer: { token: '********' } } }");
    let masked = ("INCIDENT_GATEWAY__FORWARD", masked.as_str());
    let errors = refused(&["forward"], &[&[masked, store[0]][..], &credentials].concat());
    assert!(errors.contains("forward[0].auth.bearer.token"), "{errors}");
}
