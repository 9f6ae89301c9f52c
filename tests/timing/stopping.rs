//! How the process stops, and what it survives: the built binary, signals, requests in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client, get};
use crate::support::gateway::{GOOD, document, good_upstream, path};
use crate::support::process::Process;
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream, gzip};
use rustix::process::Signal;
use tokio::time::sleep;

async fn ready(process: &Process) {
    let began = Instant::now();
    while get(process.address, "/incidents").await.header("incident-completeness") != "complete" {
        assert!(began.elapsed() < Duration::from_secs(20), "never complete");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How long the listener goes on after the signal.
const DRAIN_DELAY: Duration = Duration::from_millis(700);

/// What the clients of a load share.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    /// When the process was sent its signal.
    signalled: OnceLock<Instant>,
}

impl Load {
    /// Panics unless connections may be refused by now.
    fn assert_may_refuse(&self, error: &io::Error) {
        let since = self.signalled.get().map(Instant::elapsed);
        assert!(since >= Some(DRAIN_DELAY), "{error}, {since:?} after the signal");
    }
}

/// Asks over kept-alive connections, as fast as answers come, until new connections are refused.
async fn ask_until_refused(address: SocketAddr, load: Arc<Load>, document: Arc<str>) {
    let mut kept: Option<Client> = None;
    loop {
        let mut client = match kept.take() {
            Some(client) => client,
            None => match Client::connect(address).await {
                Ok(client) => client,
                Err(error) => return load.assert_may_refuse(&error),
            },
        };
        match client.get("/incidents", &[]).await {
            Ok(answer) => {
                assert_eq!((answer.status, answer.text()), (200, &*document));
                load.answered.fetch_add(1, Ordering::SeqCst);
                if answer.header("connection") != "close" {
                    kept = Some(client);
                }
            }
            // The kernel completes handshakes that nobody accepts any more.
            Err(error) => return load.assert_may_refuse(&error),
        }
    }
}

async fn stops_under_load(signal: Signal) {
    let server = good_upstream().await;
    let delay = format!("{}ms", DRAIN_DELAY.as_millis());
    let variables = [("SHUTDOWN__DRAIN_DELAY", &*delay), ("CACHE__TTL", "200ms")];
    let mut process = Process::serve(&server.base_url(), &variables).await;
    ready(&process).await;
    let (load, document): (_, Arc<str>) = (Arc::new(Load::default()), document(|_| true).into());
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let asking =
                ask_until_refused(process.address, Arc::clone(&load), Arc::clone(&document));
            tokio::spawn(asking)
        })
        .collect();
    let mut kept = Client::connect(process.address).await.unwrap();
    assert_eq!(kept.get("/readyz", &[]).await.unwrap().status, 200);
    while load.answered.load(Ordering::SeqCst) < 100 {
        kept.get("/healthz", &[]).await.unwrap();
    }
    load.signalled.set(Instant::now()).unwrap();
    process.signal(signal);
    // Both listeners say so for as long as the public one accepts connections.
    let unready = loop {
        let answer = get(process.admin_address, "/readyz").await;
        if answer.status == 503 {
            break answer;
        }
    };
    assert_eq!(unready.problem(), "draining");
    let answered_at_signal = load.answered.load(Ordering::SeqCst);
    // A kept-alive connection is still answered, and then closed.
    let answer = kept.get("/readyz", &[]).await.unwrap();
    assert_eq!((answer.problem().as_str(), answer.header("connection")), ("draining", "close"));
    assert_eq!(get(process.admin_address, "/healthz").await.text(), "ok");
    let status = process.ends_within(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
    for client in clients {
        client.await.unwrap();
    }
    assert!(
        load.answered.load(Ordering::SeqCst) > answered_at_signal,
        "requests are answered until the delay is over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_no_answer() {
    stops_under_load(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_under_load_loses_no_answer() {
    stops_under_load(Signal::INT).await;
}

/// An upstream that takes its time, and requests that wait for it.
async fn with_waiting_requests(
    upstream: impl Fn(usize) -> Script,
    variables: &[(&str, &str)],
) -> (ScriptedUpstream, Process, Vec<tokio::task::JoinHandle<io::Result<Answer>>>) {
    let server = good_upstream().await;
    for source in 0..GOOD.len() {
        server.script(&path(source), upstream(source));
    }
    let process = Process::serve(&server.base_url(), variables).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(process.address).await.unwrap();
        // Answered at once, so the connection is known to be accepted, and then waiting.
        assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
        client.send("GET /incidents HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        waiting.push(tokio::spawn(async move { client.answer().await }));
    }
    (server, process, waiting)
}

#[tokio::test]
async fn requests_in_flight_get_their_answer_whole() {
    let slow = |source: usize| Reply::json(GOOD[source].1).after(Duration::from_millis(900)).into();
    let (_server, mut process, waiting) =
        with_waiting_requests(slow, &[("UPSTREAM__CONCURRENCY", "8")]).await;
    process.signal(Signal::TERM);
    for waiting in waiting {
        let answer = waiting.await.unwrap().expect("an answer");
        assert_eq!((answer.status, answer.text()), (200, &*document(|_| true)));
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(process.ends_within(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn a_request_longer_than_the_timeout_is_cut_and_the_exit_still_comes() {
    let variables = [("RESPONSE_BUDGET", "1m"), ("SHUTDOWN__TIMEOUT", "700ms")];
    let (_server, mut process, waiting) =
        with_waiting_requests(|_| Script::HangBeforeHeaders, &variables).await;
    process.signal(Signal::TERM);
    let began = Instant::now();
    assert_eq!(process.ends_within(Duration::from_secs(5)).await.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(650), "{:?}", began.elapsed());
    for waiting in waiting {
        // The end of the refresh may wake it for a last word.
        if let Ok(answer) = waiting.await.unwrap() {
            assert_eq!(answer.problem(), "no-data");
        }
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let variables = [("RESPONSE_BUDGET", "1m"), ("SHUTDOWN__DRAIN_DELAY", "1m")];
        let (_server, mut process, _waiting) =
            with_waiting_requests(|_| Script::HangBeforeHeaders, &variables).await;
        process.signal(Signal::TERM);
        while get(process.admin_address, "/readyz").await.problem() != "draining" {}
        let began = Instant::now();
        process.signal(second);
        assert_eq!(process.ends_within(Duration::from_secs(5)).await.code(), Some(code));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_slow_client_does_not_hold_up_the_exit_beyond_its_time() {
    let server = good_upstream().await;
    let variables = [
        ("SHUTDOWN__TIMEOUT", "20s"),
        ("LIMITS__HEADER_TIMEOUT", "300ms"),
        ("LIMITS__IDLE_TIMEOUT", "1m"),
    ];
    let mut process = Process::serve(&server.base_url(), &variables).await;
    let mut clients = Vec::new();
    for head in ["", "GET /incid"] {
        let mut client = Client::connect(process.address).await.unwrap();
        assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
        client.send(head).await.unwrap();
        clients.push(client);
    }
    process.signal(Signal::TERM);
    // Idle connections are closed, and headers have their own time.
    assert_eq!(process.ends_within(Duration::from_secs(4)).await.code(), Some(0));
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    const PIPE: usize = 64 << 10;
    const LEAST_LINE: usize = 100;
    let server = good_upstream().await;
    let variables = [("CACHE__TTL", "200ms"), ("UPSTREAM__RETRIES", "0")];
    let mut process = Process::serve_unread(&server.base_url(), &variables).await;
    ready(&process).await;
    let mut client = Client::connect(process.address).await.unwrap();
    for _ in 0..2 * PIPE / LEAST_LINE {
        assert_eq!(client.get("/sources", &[]).await.unwrap().status, 200);
    }
    // Failures are warnings, which are not kept waiting.
    let denial = path(1);
    let calls = || server.seen().iter().filter(|seen| seen.path == denial).count();
    server.script(&denial, Script::status(500));
    let (before, began) = (calls(), Instant::now());
    while calls() < before + 4 {
        assert!(began.elapsed() < Duration::from_secs(20), "the refresh is held up");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        client.get("/incidents", &[]).await.unwrap().header("incident-completeness"),
        "stale"
    );
    process.signal(Signal::TERM);
    assert_eq!(process.ends_within(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn running_out_of_open_files_passes() {
    let server = good_upstream().await;
    let process =
        Process::serve_with_files(64, &server.base_url(), &[("CACHE__TTL", "100ms")]).await;
    ready(&process).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        // The kernel makes the connection, whether or not the process can take it.
        clients.push(Client::connect(process.address).await.unwrap());
    }
    assert_eq!(
        clients[0].get("/healthz", &[]).await.unwrap().text(),
        "ok",
        "those that were taken are served"
    );
    drop(clients);
    ready(&process).await;
    assert_eq!(get(process.admin_address, "/healthz").await.text(), "ok");
}

/// A source's bounds are on what is kept of it, so memory is bounded by them and not by what the
/// upstream sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_however_much_the_upstream_sends() {
    const MAX_BODY: usize = 2 << 20;
    let server = good_upstream().await;
    let variables =
        [("CACHE__TTL", "200ms"), ("UPSTREAM__MAX_BODY", "2MiB"), ("UPSTREAM__CONCURRENCY", "8")];
    let process = Process::serve(&server.base_url(), &variables).await;
    ready(&process).await;
    let at_rest = process.peak_memory();
    let zeros = vec![0; 64 << 20];
    let gzipped = Reply::json(gzip(&zeros)).header("Content-Encoding", "gzip");
    let zstandard = zstd::encode_all(&zeros[..], 1).unwrap();
    let zstandard = Reply::json(zstandard).header("Content-Encoding", "zstd");
    let bombs = [Script::Endless, gzipped.into(), zstandard.into()];
    for bomb in bombs {
        let before = server.seen().len();
        for source in 0..GOOD.len() {
            server.script(&path(source), bomb.clone());
        }
        while server.seen().len() < before + 2 * GOOD.len() {
            let answer = get(process.address, "/incidents").await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, &*document(|_| true)),
                "last good data stands"
            );
            sleep(Duration::from_millis(20)).await;
        }
        for (source, (_, body)) in GOOD.iter().enumerate() {
            server.script(&path(source), Script::json(*body));
        }
        ready(&process).await;
    }
    let grown = process.peak_memory() - at_rest;
    // Each of eight bodies may fill its bound, twice over while a buffer grows; the decoders'
    // windows come on top.
    assert!(grown < 8 * MAX_BODY * 2 + (24 << 20), "{} MiB more than at rest", grown >> 20);
}
