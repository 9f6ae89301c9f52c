//! HTTP/2: the same answers as over HTTP/1.1, and clients that misbehave.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::gateway::{GOOD, Gateway, good_upstream, path, quick};
use crate::support::scripted_upstream::Script;
use crate::support::snapshot_gateway::SnapshotGateway;
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, connect, http1};
use crate::support::tls_listener::TlsListener;
use bytes::Bytes;
use futures::future::join_all;
use h2::Reason;
use h2::client::SendRequest;
use http::{Method, Request};
use incident_gateway::config::{Config, Limits};
use incident_gateway::http::Phase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

/// Long enough for anything that is not meant to wait.
const AT_ONCE: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET /` over https, as HPACK's static table has it.
const GET: &[u8] = &[0x82, 0x84, 0x87];

struct Fixture {
    listener: TlsListener,
    authority: Authority,
}

impl Fixture {
    async fn start(change: impl FnOnce(&mut Limits)) -> Self {
        Self::in_front_of(SnapshotGateway::with_fixtures(), change).await
    }

    async fn in_front_of(gateway: SnapshotGateway, change: impl FnOnce(&mut Limits)) -> Self {
        let authority = Authority::new("one");
        let tls = authority.gateway(None);
        let listener = TlsListener::in_front_of(gateway, Some(&tls), change).await;
        Self { listener, authority }
    }

    async fn connect(&self) -> H2Client {
        H2Client::connect(self.listener.address, &any_version(&self.authority, &[H2], None)).await
    }

    /// A connection on which the test writes frames itself, after the preface and empty settings.
    async fn raw(&self) -> Raw {
        let mut raw = self.silent().await;
        raw.send(PREFACE).await;
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    async fn silent(&self) -> Raw {
        let config = any_version(&self.authority, &[H2], None);
        Raw { stream: connect(self.listener.address, &config).await.unwrap() }
    }
}

struct Raw {
    stream: TlsStream<TcpStream>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame that the server sent.
#[derive(Debug)]
struct Received {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn receive(&mut self) -> io::Result<Received> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        self.stream.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Ok(Received { kind: head[3], stream, payload })
    }

    /// Reads until a frame of this kind.
    async fn receive_a(&mut self, kind: u8) -> io::Result<Received> {
        loop {
            let received = timeout(AT_ONCE, self.receive()).await.expect("a frame")?;
            if received.kind == kind {
                return Ok(received);
            }
        }
    }

    /// How long the server keeps the connection from now on.
    async fn ends_after(mut self) -> Duration {
        let began = Instant::now();
        let drain = async { while self.receive().await.is_ok() {} };
        timeout(AT_ONCE, drain).await.expect("the connection ends");
        began.elapsed()
    }
}

#[tokio::test]
async fn answers_are_those_of_http_1_1() {
    let fixture = Fixture::start(|_| {}).await;
    let over_h2 = fixture.connect().await;
    let config = any_version(&fixture.authority, &[HTTP_1_1], None);
    let mut over_h1 = http1(fixture.listener.address, &config).await.unwrap();
    let etag = over_h2.get("/incidents").await.unwrap().header("etag").to_owned();
    let requests: [(Method, &str, &[(&str, &str)]); 12] = [
        (Method::GET, "/incidents", &[]),
        (Method::HEAD, "/incidents", &[]),
        (Method::GET, "/incidents", &[("accept-encoding", "zstd")]),
        (Method::HEAD, "/incidents", &[("accept-encoding", "gzip")]),
        (Method::GET, "/incidents", &[("if-none-match", &etag)]),
        (Method::GET, "/incidents?colour=red", &[]),
        (Method::GET, "/summary", &[("accept", "text/html")]),
        (Method::GET, "/nowhere", &[]),
        (Method::POST, "/incidents", &[]),
        (Method::GET, "/", &[]),
        (Method::HEAD, "/healthz", &[]),
        (Method::GET, "/openapi.json", &[]),
    ];
    for (method, path, headers) in requests {
        let headers = [headers, &[("x-request-id", "the-one")]].concat();
        let h2 = over_h2.send(method.clone(), path, &headers).await.unwrap();
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        over_h1
            .send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
            .await
            .unwrap();
        let h1 = if method == Method::HEAD {
            over_h1.head_answer().await.unwrap()
        } else {
            over_h1.answer().await.unwrap()
        };
        assert_eq!(h2.status, h1.status, "{method} {path}");
        assert_eq!(h2.body, h1.body, "{method} {path}");
        assert!(method != Method::HEAD || h2.body.is_empty());
        // These tell of this very request.
        let own = ["date", "traceparent", "server-timing", "age"];
        let names = |name: &&String| !own.contains(&name.as_str());
        let h1_headers: HashMap<_, _> =
            h1.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let h2_headers: HashMap<_, _> = h2
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let mut all: Vec<_> = h1_headers.keys().chain(h2_headers.keys()).filter(names).collect();
        all.sort();
        for name in all {
            let (over_h1, over_h2) = (h1_headers.get(name), h2_headers.get(name));
            if name == "cache-control" || name == "cache-status" {
                assert_eq!(over_h1.is_some(), over_h2.is_some(), "{method} {path}: {name}");
            } else {
                assert_eq!(over_h2, over_h1, "{method} {path}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_requests_one_after_another_and_a_hundred_at_once() {
    let fixture = Fixture::start(|_| {}).await;
    let client = fixture.connect().await;
    let expected = client.get("/incidents").await.unwrap().body;
    for _ in 0..1000 {
        assert_eq!(client.get("/incidents").await.unwrap().body, expected);
    }
    for _ in 0..5 {
        let answers = join_all((0..100).map(|_| client.get("/incidents"))).await;
        for answer in answers {
            assert_eq!(answer.unwrap().body, expected);
        }
    }
}

/// A document of about this many bytes.
fn large(bytes: usize) -> SnapshotGateway {
    let filler = "x".repeat(1000);
    let records: Vec<String> = (0..bytes / 1100)
        .map(|i| {
            format!(
                r#"{{"priority":"low","employee_id":{},"timestamp":{i},"note":"{filler}"}}"#,
                i % 50
            )
        })
        .collect();
    SnapshotGateway::with(&[("misuse", &format!(r#"{{"results":[{}]}}"#, records.join(",")))])
}

#[tokio::test]
async fn large_documents_arrive_whole() {
    let gateway = large(8 << 20);
    let expected = gateway.get("/incidents").await.body;
    assert!(expected.len() > 7 << 20);
    let fixture = Fixture::in_front_of(gateway, |_| {}).await;
    let config = any_version(&fixture.authority, &[H2], None);
    for (window, frame) in [(65_535, 16_384), (1000, 16_384), (4 << 20, 1 << 20)] {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).max_frame_size(frame);
        let client = H2Client::with(fixture.listener.address, &config, &builder).await;
        let streams = if window == 1000 { 1 } else { 4 };
        for answer in join_all((0..streams).map(|_| client.get("/incidents"))).await {
            let answer = answer.unwrap();
            assert_eq!(answer.header("content-length"), expected.len().to_string());
            assert!(answer.body == expected, "window {window}");
        }
    }
}

#[tokio::test]
async fn a_body_that_a_client_resets_ends_and_the_next_one_is_served() {
    let fixture = Fixture::in_front_of(large(8 << 20), |_| {}).await;
    let client = fixture.connect().await;
    for _ in 0..50 {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, mut stream) = requests.send_request(request("/incidents"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert!(!body.data().await.unwrap().unwrap().is_empty());
        stream.send_reset(Reason::CANCEL);
    }
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("https://test{path}")).body(()).unwrap()
}

#[tokio::test]
async fn a_client_that_owes_its_preface_or_settings_is_ended() {
    let change = |limits: &mut Limits| limits.header_timeout = Duration::from_millis(400);
    let fixture = Fixture::start(change).await;
    for sent in [&b""[..], &PREFACE[..5], PREFACE, &[PREFACE, &[0, 0, 6, SETTINGS, 0]].concat()] {
        let mut raw = fixture.silent().await;
        raw.send(sent).await;
        let took = raw.ends_after().await;
        assert!(took >= Duration::from_millis(350) && took < AT_ONCE / 2, "{sent:?}: {took:?}");
    }
    for sent in [&b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"[..], &[0; 100], &[0xff; 100]] {
        let mut raw = fixture.silent().await;
        raw.send(sent).await;
        raw.ends_after().await;
    }
    assert_eq!(fixture.connect().await.get("/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_incomplete_header_block_ends_the_connection() {
    let change = |limits: &mut Limits| limits.header_timeout = Duration::from_millis(400);
    let fixture = Fixture::start(change).await;
    let headers = frame(HEADERS, END_STREAM, 1, GET);
    for sent in [&headers[..], &headers[..7], &headers[..11]] {
        let mut raw = fixture.raw().await;
        // Longer than the timeout: it runs from the first byte of the block.
        sleep(Duration::from_millis(600)).await;
        raw.send(sent).await;
        let took = raw.ends_after().await;
        assert!(took >= Duration::from_millis(350) && took < AT_ONCE / 2, "{sent:?}: {took:?}");
    }
    // Continuations one after another are one block.
    let mut raw = fixture.raw().await;
    raw.send(&headers).await;
    let (mut reader, mut writer) = tokio::io::split(raw.stream);
    let dribble = tokio::spawn(async move {
        let field = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b");
        while writer.write_all(&field).await.is_ok() && writer.flush().await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let drain = async { while reader.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    timeout(AT_ONCE, drain).await.expect("the connection ends");
    timeout(AT_ONCE, dribble).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_away() {
    let change = |limits: &mut Limits| limits.idle_timeout = Duration::from_millis(500);
    let fixture = Fixture::start(change).await;
    let mut raw = fixture.raw().await;
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, GET)).await;
    raw.receive_a(HEADERS).await.unwrap();
    let began = Instant::now();
    let goaway = raw.receive_a(GOAWAY).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(goaway.payload[4..8], [0; 4], "without an error");
    // It does not answer the ping that goes with it.
    assert!(raw.ends_after().await < AT_ONCE / 2);
}

#[tokio::test]
async fn the_hundred_and_first_stream_is_refused() {
    let upstream = good_upstream().await;
    for source in 0..GOOD.len() {
        upstream.script(&path(source), Script::HangBeforeHeaders);
    }
    let authority = Authority::new("one");
    let gateway = Gateway::start(&Config {
        tls: Some(authority.gateway(None)),
        response_budget: Duration::from_mins(1),
        ..quick(&upstream.base_url())
    });
    let config = any_version(&authority, &[H2], None);
    let mut raw = Raw { stream: connect(gateway.running.address, &config).await.unwrap() };
    raw.send(PREFACE).await;
    raw.send(&frame(SETTINGS, 0, 0, &[])).await;
    let settings = raw.receive_a(SETTINGS).await.unwrap().payload;
    let setting = |id: u8| {
        let found = settings.chunks(6).find(|setting| setting[1] == id);
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(setting(3), Some(100), "MAX_CONCURRENT_STREAMS");
    assert_eq!(setting(6), Some(64 << 10), "MAX_HEADER_LIST_SIZE");
    // `/incidents`, which waits for the upstream.
    let block = [&[0x82, 0x87, 0x04, 10], &b"/incidents"[..], &[0x01, 4], b"test"].concat();
    for stream in 0..101 {
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, &block)).await;
    }
    let reset = raw.receive_a(RST_STREAM).await.unwrap();
    assert_eq!(reset.stream, 201);
    assert_eq!(reset.payload, u32::from(Reason::REFUSED_STREAM).to_be_bytes());
    // Closed ones make room.
    raw.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 203, GET)).await;
    let answer = raw.receive_a(HEADERS).await.unwrap();
    assert_eq!(answer.stream, 203);
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_nothing_else() {
    let fixture = Fixture::start(|_| {}).await;
    let mut raw = fixture.raw().await;
    let mut burst = Vec::new();
    for stream in 0..5000 {
        let id = 2 * stream + 1;
        burst.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, GET));
        burst.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let _ = raw.stream.write_all(&burst).await;
    let goaway = raw.receive_a(GOAWAY).await;
    if let Ok(goaway) = goaway {
        assert_eq!(goaway.payload[4..8], u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes());
    }
    assert_eq!(fixture.connect().await.get("/incidents").await.unwrap().status, 200);
}

#[tokio::test]
async fn floods_without_reading_end_in_backpressure() {
    let fixture = Fixture::start(|_| {}).await;
    let mut raws = Vec::new();
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])] {
        let mut raw = fixture.raw().await;
        let bytes = flood.repeat(1000);
        let most = 64 << 20;
        let mut sent = 0;
        // The answers are not read, so that the server stops reading at some time.
        while timeout(Duration::from_millis(500), raw.stream.write_all(&bytes))
            .await
            .is_ok_and(|written| written.is_ok())
        {
            sent += bytes.len();
            assert!(sent < most, "it reads on and on");
        }
        raws.push(raw);
    }
    assert_eq!(fixture.connect().await.get("/incidents").await.unwrap().status, 200);
}

#[tokio::test]
async fn headers_up_to_the_limit_are_taken_and_larger_ones_refused() {
    let fixture = Fixture::start(|_| {}).await;
    let client = fixture.connect().await;
    // h2's client sends what the server's settings allow, and these only later.
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
    for (bytes, status) in [(40_000, 200), (60_000, 200), (70_000, 431)] {
        let large = "x".repeat(bytes);
        let answer = client.send(Method::GET, "/healthz", &[("cookie", &large)]).await;
        match answer {
            Ok(answer) => assert_eq!(answer.status, status, "{bytes}"),
            Err(error) => assert!(status == 431 && error.is_reset(), "{bytes}: {error}"),
        }
    }
    // Fields that HPACK's table makes small, again and again.
    let mut raw = fixture.raw().await;
    let name = [b'n'; 60];
    let value = [b'v'; 2000];
    let mut block = GET.to_vec();
    block.extend([&[0x40, 60], &name[..], &[0x7f, 0xd1, 0x0e], &value].concat());
    block.extend([0xbe; 16_000 - 2100]);
    raw.send(&frame(HEADERS, END_STREAM, 1, &block)).await;
    for _ in 0..20 {
        let more = frame(CONTINUATION, 0, 1, &[0xbe; 16_000]);
        if raw.stream.write_all(&more).await.is_err() {
            break;
        }
    }
    let took = raw.ends_after().await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(client.get("/incidents").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_serves_probes_and_goes_away() {
    let fixture = Fixture::start(|limits| limits.max_connections = 1).await;
    let first = fixture.connect().await;
    assert_eq!(first.get("/incidents").await.unwrap().status, 200);
    for (path, status) in [("/incidents", 503), ("/healthz", 200), ("/readyz", 200)] {
        let client = fixture.connect().await;
        assert_eq!(client.get(path).await.unwrap().status, status, "{path}");
        is_told_to_go_away(&client.requests).await;
    }
    assert_eq!(first.get("/incidents").await.unwrap().status, 200);
}

async fn is_told_to_go_away(requests: &SendRequest<Bytes>) {
    let told = async {
        while requests.clone().ready().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(AT_ONCE, told).await.expect("the client is told to go away");
}

#[tokio::test]
async fn stopping_loses_no_request() {
    let upstream = good_upstream().await;
    for source in 1..GOOD.len() {
        upstream.script(&path(source), Script::HangBeforeHeaders);
    }
    let authority = Authority::new("one");
    let mut gateway = Gateway::start(&Config {
        tls: Some(authority.gateway(None)),
        response_budget: Duration::from_millis(1500),
        ..quick(&upstream.base_url())
    });
    let client =
        H2Client::connect(gateway.running.address, &any_version(&authority, &[H2], None)).await;
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
    let waiting = client.clone();
    let waiting = tokio::spawn(async move { waiting.get("/incidents").await });
    sleep(Duration::from_millis(100)).await;
    gateway.running.drain();
    is_told_to_go_away(&client.requests).await;
    // While it drains, another connection still gets an answer.
    let config = any_version(&authority, &[H2], None);
    let late = H2Client::connect(gateway.running.address, &config).await;
    assert_eq!(late.get("/readyz").await.unwrap().status, 503);
    is_told_to_go_away(&late.requests).await;
    timeout(AT_ONCE, gateway.running.close()).await.expect("it closes");
    let answer = waiting.await.unwrap().expect("an answer");
    assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
    assert!(!answer.body.is_empty());
}

#[tokio::test]
async fn events_share_a_connection_with_requests() {
    let fixture = Fixture::start(|_| {}).await;
    let client = fixture.connect().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, _) = requests.send_request(request("/events"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        assert!(body.data().await.unwrap().unwrap().starts_with(b"retry"));
        streams.push(body);
    }
    let record = r#"{"priority":"low","employee_id":100,"timestamp":7}"#;
    fixture.listener.gateway.publish_named(&[]);
    sleep(Duration::from_millis(50)).await;
    fixture.listener.gateway.publish_named(&[("misuse", &format!(r#"{{"results":[{record}]}}"#))]);
    for body in &mut streams {
        let mut text = String::new();
        while !text.contains("event: incidents") {
            let bytes = timeout(AT_ONCE, body.data()).await.expect("an event").unwrap().unwrap();
            body.flow_control().release_capacity(bytes.len()).unwrap();
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
    assert_eq!(client.get("/incidents").await.unwrap().status, 200);
    // Streams that are given up make room, and stopping ends the others.
    streams.truncate(5);
    fixture.listener.gateway.phase.send_replace(Phase::Closing);
    for body in &mut streams {
        let ended = async { while body.data().await.is_some_and(|bytes| bytes.is_ok()) {} };
        timeout(AT_ONCE, ended).await.expect("the stream ends");
    }
    timeout(AT_ONCE, fixture.listener.serving).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn streams_of_one_client_count_by_its_address() {
    let gateway = {
        let mut config = Config::default();
        config.limits.max_events = 16;
        SnapshotGateway::configured(config)
    };
    gateway.publish_named(&[]);
    let fixture = Fixture::in_front_of(gateway, |_| {}).await;
    let client = fixture.connect().await;
    let open = async || {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, stream) = requests.send_request(request("/events"), true).unwrap();
        (response.await.unwrap(), stream)
    };
    let (first, mut sending) = open().await;
    let (second, _sending) = open().await;
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert_eq!(open().await.0.status(), 429);
    sending.send_reset(Reason::CANCEL);
    drop(first);
    let began = Instant::now();
    while open().await.0.status() != 200 {
        assert!(began.elapsed() < AT_ONCE, "a stream that is reset gives its place back");
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_answered_without_it() {
    let fixture = Fixture::start(|_| {}).await;
    let client = fixture.connect().await;
    for _ in 0..20 {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let request = Request::post("https://test/incidents").body(()).unwrap();
        let (response, mut upload) = requests.send_request(request, false).unwrap();
        let _ = upload.send_data(vec![b'x'; 200_000].into(), false);
        let response = timeout(AT_ONCE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 405);
        let reason = poll_fn(|context| upload.poll_reset(context)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
    }
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
}
