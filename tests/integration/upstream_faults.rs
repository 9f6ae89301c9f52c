//! Every fault of the upstream, over real sockets: each gives its outcome, and passes without a
//! restart.

use std::time::{Duration, Instant};

use crate::support::metrics_page::calls;
use crate::support::one_source::{GOOD, OneSource, PATH, one_source, settings};
use crate::support::scripted_upstream::{AcceptMode, Reply, Script, ScriptedUpstream};
use incident_gateway::config;
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::CallContext;

struct Fault {
    name: &'static str,
    script: Script,
    outcome: Outcome,
    /// What the detail must tell people.
    says: &'static str,
}

fn faults() -> Vec<Fault> {
    let big = || vec![b' '; 100 << 10];
    let good = || GOOD.as_bytes().to_vec();
    let fault = |name, script, outcome, says| Fault { name, script, outcome, says };
    let status = |code, says| {
        let name: &'static str = format!("{code}").leak();
        Fault { name, script: Script::status(code), outcome: Outcome::Status, says }
    };
    let dripping = Script::Drip { body: good(), every: Duration::from_millis(25) };
    let headers_without_end =
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(200_000)].concat();
    let unasked = Reply::json(GOOD).header("Content-Encoding", "compress");
    vec![
        fault("closes", Script::Close, Outcome::Body, "connection broke"),
        fault(
            "resets before headers",
            Script::ResetBeforeHeaders,
            Outcome::Body,
            "connection broke",
        ),
        fault("resets in headers", Script::ResetInHeaders, Outcome::Body, "connection broke"),
        fault("resets in body", Script::ResetInBody(good()), Outcome::Body, "connection broke"),
        fault("hangs before headers", Script::HangBeforeHeaders, Outcome::Timeout, "within 1s"),
        fault("hangs in headers", Script::HangInHeaders, Outcome::Timeout, "within 1s"),
        fault("hangs in body", Script::HangInBody(good()), Outcome::Timeout, "within 1s"),
        fault("drips", dripping, Outcome::Timeout, "within 1s"),
        fault("cut off", Script::CutOff(good()), Outcome::Body, "connection broke"),
        fault(
            "cut off in a chunk",
            Script::CutOffInChunk(good()),
            Outcome::Body,
            "connection broke",
        ),
        fault(
            "no HTTP",
            Script::Raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec()),
            Outcome::Body,
            "not valid HTTP",
        ),
        fault(
            "headers without end",
            Script::Raw(headers_without_end),
            Outcome::Body,
            "not valid HTTP",
        ),
        fault("too large", Script::json(big()), Outcome::TooLarge, "upstream.max_body"),
        fault(
            "announces too much",
            Script::Announce(1 << 60),
            Outcome::TooLarge,
            "upstream.max_body",
        ),
        fault("endless", Script::Endless, Outcome::TooLarge, "upstream.max_body"),
        fault("gzip bomb", Script::GzipBomb(8 << 20), Outcome::TooLarge, "upstream.max_body"),
        fault("zstd bomb", Script::ZstdBomb(8 << 20), Outcome::TooLarge, "upstream.max_body"),
        fault("bad gzip", Script::BadGzip, Outcome::Decode, "could not be decompressed"),
        fault(
            "cut off gzip",
            Script::CutOffGzip(good()),
            Outcome::Decode,
            "could not be decompressed",
        ),
        fault("a coding not asked for", unasked.into(), Outcome::Decode, "not asked for"),
        fault(
            "redirect loop",
            Script::redirect_loop(PATH),
            Outcome::Status,
            "redirects more than 5 times (302)",
        ),
        fault(
            "redirect to nowhere",
            Script::Redirect("http://".to_owned()),
            Outcome::Status,
            "names no address",
        ),
        fault(
            "redirect to no address",
            Script::Redirect("http://256.256.256.256/".to_owned()),
            Outcome::Status,
            "names no address",
        ),
        status(204, "204 instead of 200"),
        status(206, "206 instead of 200"),
        status(304, "304"),
        status(401, "ELEVATE_PASSWORD"),
        status(403, "ELEVATE_USERNAME"),
        status(404, "check the source's path"),
        status(429, "fewer calls"),
        status(500, "failed (500)"),
        status(501, "failed (501)"),
        status(502, "failed (502)"),
        status(503, "failed (503)"),
        status(504, "failed (504)"),
    ]
}

#[tokio::test]
async fn every_fault_has_its_outcome_and_the_next_call_succeeds() {
    futures::future::join_all(faults().into_iter().map(play)).await;
}

/// The fault, a good answer, and both again.
async fn play(fault: Fault) {
    let server = ScriptedUpstream::start().await;
    let mut settings = settings(&server.base_url());
    if fault.outcome == Outcome::Timeout {
        settings.timeout = Duration::from_secs(1);
    }
    let source = OneSource::new(&settings);
    for round in 0..2 {
        let name = format!("{}, round {round}", fault.name);
        server.script(PATH, fault.script.clone());
        let began = Instant::now();
        let error = source.fetch().await.expect_err(&name);
        assert!(began.elapsed() < Duration::from_secs(8), "{name} took {:?}", began.elapsed());
        assert_eq!(error.kind, fault.outcome, "{name}: {error}");
        assert!(error.detail.contains(fault.says), "{name}: {error}");
        assert!(!error.detail.contains("127.0.0.1"), "{name}: {error}");
        assert_eq!(error.status.is_some(), !before_headers(fault.name), "{name}: {error}");

        server.script(PATH, Script::json(GOOD));
        assert_eq!(source.fetch().await.expect(&name), GOOD.as_bytes(), "{name}");
    }
    assert_eq!(calls(&source.registry, "denial", fault.outcome.as_str()), 2, "{}", fault.name);
    assert_eq!(calls(&source.registry, "denial", "ok"), 2, "{}", fault.name);
    assert_eq!(source.upstream.load().in_flight, 0, "{}", fault.name);
}

/// The faults that end a call before a whole head came; the deadline cuts off later ones without
/// looking.
fn before_headers(name: &str) -> bool {
    let others = ["no HTTP", "headers without end", "closes", "drips", "hangs in body"];
    name.ends_with("before headers") || name.ends_with("in headers") || others.contains(&name)
}

#[tokio::test]
async fn connections_that_are_refused_or_closed_at_once_fail() {
    let (server, source) = one_source().await;
    server.script(PATH, Reply::json(GOOD).header("Connection", "close"));
    let modes = [
        (AcceptMode::Refuse, Outcome::Connect, "connection refused"),
        (AcceptMode::Close, Outcome::Body, "connection broke"),
        (AcceptMode::Reset, Outcome::Body, "connection broke"),
    ];
    for (mode, outcome, says) in modes {
        server.set_accept_mode(mode).await;
        let error = source.fetch().await.expect_err("the mode is not open");
        assert_eq!(error.kind, outcome, "{mode:?}: {error}");
        assert!(error.detail.contains(says), "{mode:?}: {error}");
        assert_eq!(error.status, None);
        server.set_accept_mode(AcceptMode::Serve).await;
        assert_eq!(source.fetch().await.unwrap(), GOOD.as_bytes(), "{mode:?}");
    }
}

/// A backlog that is full drops the handshake's first packet: connecting hangs.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_is_never_made_is_a_timeout() {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let full: Vec<_> = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let settings = config::Upstream {
        connect_timeout: Duration::from_millis(400),
        ..settings(&format!("http://{address}"))
    };
    let began = Instant::now();
    let error = OneSource::new(&settings).fetch().await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.as_str()),
        (Outcome::Timeout, "no connection could be made in time")
    );
    assert!(began.elapsed() < Duration::from_secs(5), "connect_timeout ends it, not the deadline");
    drop(full);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failed_connection() {
    // A label is at most 63 characters, so no resolver asks anybody about this one.
    let host = "x".repeat(70);
    let error =
        OneSource::new(&settings(&format!("http://{host}.invalid"))).fetch().await.unwrap_err();
    assert_eq!(error.kind, Outcome::Connect);
    assert!(
        error.detail.contains("could not be resolved") && !error.detail.contains("xxx"),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_ends_at_its_content_length() {
    let (server, source) = one_source().await;
    server.script(
        PATH,
        Script::TooLong { body: [GOOD, "and more"].concat().into(), announced: GOOD.len() },
    );
    assert_eq!(source.fetch().await.unwrap(), GOOD.as_bytes());
    server.script(PATH, Script::json(GOOD));
    assert_eq!(
        source.fetch().await.unwrap(),
        GOOD.as_bytes(),
        "what was left over belongs to no other answer"
    );
}

#[tokio::test]
async fn a_long_retry_after_is_not_waited_for() {
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&config::Upstream { retries: 2, ..settings(&server.base_url()) });
    let asks = |value| Reply { status: 503, ..Reply::json("") }.header("Retry-After", value);
    server.script(PATH, Script::json(GOOD));
    for _ in 0..8 {
        source.fetch().await.unwrap();
    }
    server.script_each(PATH, [asks("0").into(), Script::json(GOOD)]);
    source.fetch().await.unwrap();
    assert_eq!(server.calls(PATH), 10);
    server.script(PATH, asks("120"));
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (Outcome::Status, Some(Duration::from_mins(2))));
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind, Outcome::RateLimited);
    assert_eq!(server.calls(PATH), 11, "it is not called again before its time");
}

#[tokio::test]
async fn a_body_takes_little_more_memory_than_its_length() {
    let server = ScriptedUpstream::start().await;
    let body = vec![b'x'; (8 << 20) - 12345];
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    let chunked = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let settings = config::Upstream {
        max_body: 64 << 20,
        timeout: Duration::from_secs(10),
        ..settings(&server.base_url())
    };
    let source = OneSource::new(&settings);
    for script in [Script::json(body.clone()), Script::Raw(chunked)] {
        server.script(PATH, script);
        let kept = source.call(CallContext::default()).await.unwrap().accept();
        assert_eq!(kept, body);
        // Bytes that nobody shares give their buffer back, and with it what was reserved.
        let buffer = Vec::from(kept);
        assert!(
            buffer.capacity() <= body.len() / 8 * 9,
            "{} for {}",
            buffer.capacity(),
            body.len()
        );
    }
}
