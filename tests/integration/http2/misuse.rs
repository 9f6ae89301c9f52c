//! Clients that misbehave, with frames written by hand.

use std::io;
use std::time::{Duration, Instant};

use super::{AT_ONCE, Fixture};
use crate::support::authority::Authority;
use crate::support::gateway::{GOOD, Gateway, good_upstream, path, quick};
use crate::support::scripted_upstream::Script;
use crate::support::tls_client::{H2, any_version, connect};
use h2::Reason;
use http::Method;
use incident_gateway::config::{Config, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET /` over https, as HPACK's static table has it.
const GET: &[u8] = &[0x82, 0x84, 0x87];

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
    /// A connection on which the test writes frames itself, after the preface and empty settings.
    async fn open(fixture: &Fixture) -> Self {
        let mut raw = Self::silent(fixture).await;
        raw.send(PREFACE).await;
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// The same before the first byte.
    async fn silent(fixture: &Fixture) -> Self {
        let config = any_version(&fixture.authority, &[H2], None);
        Self { stream: connect(fixture.listener.address, &config).await.unwrap() }
    }

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
async fn a_client_that_owes_its_preface_or_settings_is_ended() {
    let change = |limits: &mut Limits| limits.header_timeout = Duration::from_millis(400);
    let fixture = Fixture::start(change).await;
    for sent in [&b""[..], &PREFACE[..5], PREFACE, &[PREFACE, &[0, 0, 6, SETTINGS, 0]].concat()] {
        let mut raw = Raw::silent(&fixture).await;
        raw.send(sent).await;
        let took = raw.ends_after().await;
        assert!(took >= Duration::from_millis(350) && took < AT_ONCE / 2, "{sent:?}: {took:?}");
    }
    for sent in [&b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"[..], &[0; 100], &[0xff; 100]] {
        let mut raw = Raw::silent(&fixture).await;
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
        let mut raw = Raw::open(&fixture).await;
        // Longer than the timeout: it runs from the first byte of the block.
        sleep(Duration::from_millis(600)).await;
        raw.send(sent).await;
        let took = raw.ends_after().await;
        assert!(took >= Duration::from_millis(350) && took < AT_ONCE / 2, "{sent:?}: {took:?}");
    }
    // Continuations one after another are one block.
    let mut raw = Raw::open(&fixture).await;
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
    let mut raw = Raw::open(&fixture).await;
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
    let mut raw = Raw::open(&fixture).await;
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
async fn floods_of_control_frames_end_the_connection_whether_answers_are_read_or_not() {
    let fixture = Fixture::start(|_| {}).await;
    let floods = [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(0x42, 0, 0, &[]),
    ];
    for (flood, is_read) in floods.iter().flat_map(|flood| [(flood, true), (flood, false)]) {
        let raw = Raw::open(&fixture).await;
        let (mut reader, mut writer) = tokio::io::split(raw.stream);
        let drain = tokio::spawn(async move {
            while is_read && reader.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            reader
        });
        let bytes = flood.repeat(100);
        let send = async {
            // What the sockets' buffers take comes on top of the allowance.
            for _ in 0..(32 << 20) / bytes.len() {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            panic!("the server reads on and on");
        };
        timeout(AT_ONCE, send).await.expect("the connection ends");
        timeout(AT_ONCE, drain).await.unwrap().unwrap();
        assert_eq!(fixture.connect().await.get("/incidents").await.unwrap().status, 200);
    }
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
    let mut raw = Raw::open(&fixture).await;
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
