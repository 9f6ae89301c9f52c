//! HTTP/2: the same answers as over HTTP/1.1, and clients that misbehave.

mod misuse;

use std::collections::HashMap;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::gateway::{GOOD, Gateway, good_upstream, path, quick};
use crate::support::scripted_upstream::Script;
use crate::support::snapshot_gateway::SnapshotGateway;
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, http1};
use crate::support::tls_listener::TlsListener;
use bytes::Bytes;
use futures::future::join_all;
use h2::Reason;
use h2::client::SendRequest;
use http::{Method, Request};
use incident_gateway::config::{Config, Limits};
use incident_gateway::http::Phase;
use tokio::time::{sleep, timeout};

/// Long enough for anything that is not meant to wait.
const AT_ONCE: Duration = Duration::from_secs(20);

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
}

type Headers<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn answers_are_those_of_http_1_1() {
    let fixture = Fixture::start(|_| {}).await;
    let over_h2 = fixture.connect().await;
    let config = any_version(&fixture.authority, &[HTTP_1_1], None);
    let mut over_h1 = http1(fixture.listener.address, &config).await.unwrap();
    let etag = over_h2.get("/incidents").await.unwrap().header("etag").to_owned();
    let requests: [(Method, &str, Headers<'_>); 12] = [
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
        let lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines = lines.join("\r\n");
        over_h1
            .send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n"))
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
