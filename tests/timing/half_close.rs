//! Clients that shut down their sending side after a request, as `nc -N` does, and clients that
//! are gone, which looks the same at first.

use std::time::{Duration, Instant};

use crate::support::client::{Client, get};
use crate::support::gateway::{GOOD, Gateway, document, good_upstream, path, quick};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};
use incident_gateway::config::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

/// Long enough for anything that is not meant to wait.
const AT_ONCE: Duration = Duration::from_secs(5);

const ROUTES: [(&str, u16); 12] = [
    ("/", 200),
    ("/incidents", 200),
    ("/incidents?since=2", 200),
    ("/incidents/100", 200),
    ("/employees/100", 200),
    ("/unattributed", 200),
    ("/summary", 200),
    ("/sources", 200),
    ("/openapi.json", 200),
    ("/healthz", 200),
    ("/readyz", 200),
    ("/nowhere", 404),
];

/// Sends a request and nothing more.
async fn half_closed(gateway: &Gateway, request: &str) -> Client {
    let mut client = Client::connect(gateway.running.address).await.unwrap();
    client.send(request).await.unwrap();
    client.stream.shutdown().await.unwrap();
    client
}

/// A gateway whose data never comes, with room for one request.
async fn gateway_that_waits(change: impl FnOnce(&mut Config)) -> (ScriptedUpstream, Gateway) {
    let server = good_upstream().await;
    for source in 0..GOOD.len() {
        server.script(&path(source), Script::HangBeforeHeaders);
    }
    let mut config =
        Config { response_budget: Duration::from_mins(1), ..quick(&server.base_url()) };
    config.limits.max_requests = 1;
    change(&mut config);
    (server, Gateway::start(&config))
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer_on_every_route() {
    let server = good_upstream().await;
    let gateway = Gateway::start(&quick(&server.base_url()));
    gateway.wait_until_complete("at first").await;
    for (path, status) in ROUTES {
        for request in [
            format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"),
            format!("GET {path} HTTP/1.0\r\n\r\n"),
        ] {
            let mut client = half_closed(&gateway, &request).await;
            let answer = timeout(AT_ONCE, client.answer()).await.expect(path).expect(path);
            assert_eq!(answer.status, status, "{path}");
            assert!(!answer.body.is_empty(), "{path}");
            assert!(client.is_ended_within(AT_ONCE).await, "{path}");
            assert_eq!(client.unread(), b"", "{path}");
        }
    }
}

#[tokio::test]
async fn a_half_closed_client_gets_the_answer_that_must_be_waited_for() {
    let server = good_upstream().await;
    for (source, (_, body)) in GOOD.iter().enumerate() {
        server.script(&path(source), Reply::json(*body).after(Duration::from_secs(3)));
    }
    let config = Config { response_budget: Duration::from_secs(20), ..quick(&server.base_url()) };
    let gateway = Gateway::start(&config);
    let mut client = half_closed(&gateway, "GET /incidents HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let answer = timeout(Duration::from_secs(20), client.answer()).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text()), (200, &*document(|_| true)));
    assert!(client.is_ended_within(AT_ONCE).await);
}

#[tokio::test]
async fn a_half_closed_client_goes_on_reading_events() {
    let server = good_upstream().await;
    let gateway = Gateway::start(&quick(&server.base_url()));
    gateway.wait_until_complete("at first").await;
    let mut client = half_closed(&gateway, "GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(!client.is_ended_within(Duration::from_millis(500)).await);
    let record = r#"{"priority":"low","employee_id":100,"timestamp":7}"#;
    server.script(&path(4), Script::json(format!(r#"{{"results":[{record}]}}"#)));
    let began = Instant::now();
    while !String::from_utf8_lossy(client.unread()).contains("event: incidents") {
        assert!(!client.is_ended_within(Duration::from_millis(100)).await, "the stream goes on");
        assert!(began.elapsed() < Duration::from_secs(20), "no event came");
    }
}

/// Ends a connection whose request waits for its answer, and expects the request's permit back.
async fn permit_comes_back_after(end: impl FnOnce(Client)) {
    let (_server, gateway) = gateway_that_waits(|_| ()).await;
    let address = gateway.running.address;
    let mut client = Client::connect(address).await.unwrap();
    client.send("GET /incidents HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    while get(address, "/sources").await.status != 503 {}
    end(client);
    let began = Instant::now();
    while get(address, "/sources").await.status == 503 {
        assert!(began.elapsed() < AT_ONCE, "the permit is still taken");
    }
}

#[tokio::test]
async fn a_client_that_resets_its_connection_gives_its_permit_back() {
    permit_comes_back_after(|client| client.stream.set_zero_linger().unwrap()).await;
}

#[tokio::test]
async fn a_client_that_closes_its_connection_gives_its_permit_back() {
    permit_comes_back_after(drop).await;
}

#[tokio::test]
async fn a_client_that_closes_an_event_stream_gives_its_permit_back() {
    let server = good_upstream().await;
    let mut config = quick(&server.base_url());
    config.limits.max_events = 1;
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("at first").await;
    for reset in [true, false] {
        let mut client = Client::connect(gateway.running.address).await.unwrap();
        client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        assert!(!client.is_ended_within(Duration::from_millis(200)).await);
        assert!(client.unread().starts_with(b"HTTP/1.1 200"));
        let mut second = Client::connect(gateway.running.address).await.unwrap();
        assert_ne!(second.get("/events", &[]).await.unwrap().status, 200);
        if reset {
            client.stream.set_zero_linger().unwrap();
        }
        drop(client);
        let began = Instant::now();
        loop {
            let mut next = Client::connect(gateway.running.address).await.unwrap();
            next.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
            assert!(!next.is_ended_within(Duration::from_millis(200)).await);
            let is_open = next.unread().starts_with(b"HTTP/1.1 200");
            next.stream.set_zero_linger().unwrap();
            if is_open {
                break;
            }
            assert!(began.elapsed() < AT_ONCE, "the permit is still taken");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
