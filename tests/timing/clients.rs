//! Hostile clients: each loses its own connection at most, and nobody else notices.

use std::io;
use std::time::{Duration, Instant};

use crate::support::client::{Client, get, get_with};
use crate::support::gateway::{GOOD, Gateway, good_upstream, path, quick};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use incident_gateway::config::{Config, Limits};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

/// Long enough for anything that is not meant to wait.
const AT_ONCE: Duration = Duration::from_secs(5);

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";

async fn gateway_with(change: impl FnOnce(&mut Config)) -> (ScriptedUpstream, Gateway) {
    let server = good_upstream().await;
    let mut config = quick(&server.base_url());
    change(&mut config);
    (server, Gateway::start(&config))
}

async fn gateway_with_limits(change: impl FnOnce(&mut Limits)) -> (ScriptedUpstream, Gateway) {
    gateway_with(|config| change(&mut config.limits)).await
}

/// A gateway that waits for data until the budget is spent, and so has requests in flight.
async fn gateway_that_waits(
    budget: Duration,
    change: impl FnOnce(&mut Config),
) -> (ScriptedUpstream, Gateway) {
    let server = good_upstream().await;
    for source in 0..GOOD.len() {
        server.script(&path(source), Script::HangBeforeHeaders);
    }
    let mut config = Config { response_budget: budget, ..quick(&server.base_url()) };
    change(&mut config);
    (server, Gateway::start(&config))
}

#[tokio::test]
async fn what_is_no_request_or_too_large_is_refused_and_harms_nobody() {
    let (_server, gateway) = gateway_with(|_| ()).await;
    gateway.wait_until_complete("at first").await;
    let big = "x".repeat(100 << 10);
    let many = "X: y\r\n".repeat(10_000);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let cases: [(&str, Vec<u8>, &[u16]); 11] = [
        ("huge header", format!("GET / HTTP/1.1\r\nHost: test\r\nX: {big}\r\n\r\n").into(), &[431]),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n").into(), &[431]),
        ("huge URL", format!("GET /{big} HTTP/1.1\r\nHost: test\r\n\r\n").into(), &[414, 431]),
        ("huge method", format!("{big} / HTTP/1.1\r\nHost: test\r\n\r\n").into(), &[400, 431]),
        ("garbage", b"\x00\x01\x02\xff\xfe garbage\r\n\r\n".to_vec(), &[400]),
        ("TLS", [&hello[..], &[0; 512]].concat(), &[400]),
        ("bad header name", b"GET / HTTP/1.1\r\nHost: test\r\nb\x01d: 1\r\n\r\n".to_vec(), &[400]),
        ("bad version", b"GET / HTTP/3.7\r\nHost: test\r\n\r\n".to_vec(), &[400]),
        (
            "bad length",
            b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "two lengths",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            &[400],
        ),
        ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
    ];
    for (name, bytes, expected) in cases {
        let mut client = Client::connect(gateway.running.address).await.unwrap();
        // The server may have seen enough before everything is sent.
        let _ = client.send(bytes).await;
        let answer = timeout(AT_ONCE, client.answer()).await.expect(name);
        match answer {
            Ok(answer) => assert!(expected.contains(&answer.status), "{name}: {}", answer.status),
            // hyper closes on HTTP/2's first bytes without an answer, which would be in a protocol
            // not spoken there.
            Err(error) if expected.is_empty() => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{name}");
            }
            // What was not read yet when the connection was closed turns the close into a reset.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{name}"),
        }
        assert!(client.is_ended_within(AT_ONCE).await, "{name}: the rest is not looked at");
    }
    assert_eq!(gateway.get("/incidents").await.header("incident-completeness"), "complete");
}

#[tokio::test]
async fn long_but_lawful_requests_are_answered() {
    let (_server, gateway) = gateway_with(|_| ()).await;
    gateway.wait_until_complete("at first").await;
    let ids = vec!["100"; 10_000].join(",");
    let answer = gateway.get(&format!("/incidents?employee_id={ids}")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(r#"{"100":"#));
    for (number, field) in [(100, "X-1234: y\r\n"), (6_500, "X-12: y\r\n"), (3, "X: {}\r\n")] {
        let field = field.replace("{}", &"y".repeat(20_000));
        let mut client = Client::connect(gateway.running.address).await.unwrap();
        let request = format!("GET /incidents HTTP/1.1\r\nHost: t\r\n{}\r\n", field.repeat(number));
        client.send(request).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 200, "{number} header fields");
    }
    let unknown = "x".repeat(30_000);
    let answer = gateway.get(&format!("/incidents?{unknown}=1")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-query"));
    assert!(answer.body.len() < 1000, "what the caller sent is not sent back whole");
}

#[tokio::test]
async fn bodies_on_get_are_not_looked_at() {
    let (_server, gateway) = gateway_with(|_| ()).await;
    let address = gateway.running.address;
    let head = "GET /healthz HTTP/1.1\r\nHost: test\r\n";
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(address).await.unwrap();
        client.send(format!("{head}{body}")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().text(), "ok", "{body}");
        // What of the body was there with the headers is passed over; the next request is read as
        // one.
        client.send(HEALTHZ).await.unwrap();
        match client.answer().await {
            Ok(answer) => assert_eq!(answer.text(), "ok", "{body}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{body}"),
        }
    }
    // Bodies without end: answered at once, and not read on.
    for announced in [
        "Content-Length: 1000000000000",
        "Transfer-Encoding: chunked",
        "Content-Length: 9\r\nExpect: 100-continue",
    ] {
        let mut client = Client::connect(address).await.unwrap();
        client.send(format!("{head}{announced}\r\n\r\n")).await.unwrap();
        assert_eq!(
            timeout(AT_ONCE, client.answer()).await.unwrap().unwrap().text(),
            "ok",
            "{announced}"
        );
        let flood = async { while client.send(&[b'1'; 4096]).await.is_ok() {} };
        assert!(timeout(AT_ONCE, flood).await.is_ok(), "{announced}: the connection ends");
    }
    let mut client = Client::connect(address).await.unwrap();
    client
        .send("POST /incidents HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn old_clients_are_served() {
    let (_server, gateway) = gateway_with(|_| ()).await;
    gateway.wait_until_complete("at first").await;
    let mut client = Client::connect(gateway.running.address).await.unwrap();
    client.send("GET /incidents HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("incident-completeness")), (200, "complete"));
    assert!(
        client.is_ended_within(AT_ONCE).await,
        "HTTP/1.0 keeps no connection that it did not ask to keep"
    );
    let mut client = Client::connect(gateway.running.address).await.unwrap();
    for _ in 0..2 {
        client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert_eq!(client.answer().await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn a_request_without_a_valid_host_is_refused_unless_it_is_a_probe() {
    let (_server, gateway) = gateway_with(|_| ()).await;
    gateway.wait_until_complete("at first").await;
    let (public, admin) = (gateway.running.address, gateway.running.admin_address);
    let cases = [
        (public, "/incidents", 200),
        (public, "/nowhere", 404),
        (public, "/healthz", 200),
        (public, "/readyz", 200),
        (admin, "/nowhere", 404),
        (admin, "/healthz", 200),
        (admin, "/readyz", 200),
        (admin, "/metrics", 200),
    ];
    for (address, path, status) in cases {
        let is_probe = ["/healthz", "/readyz", "/metrics"].contains(&path);
        let mut client = Client::connect(address).await.unwrap();
        for (target, version, headers) in [
            (path.to_owned(), "1.1", ""),
            (path.to_owned(), "1.1", "Host: test\r\nHost: test\r\n"),
            (path.to_owned(), "1.1", "Host: outbound|9001||svc\r\n"),
            (path.to_owned(), "1.1", "Host: one, two/three\r\n"),
            (path.to_owned(), "1.0", "Connection: keep-alive\r\nHost: test\r\nHost: other\r\n"),
            // A whole URL in the request line does not stand in for the header.
            (format!("http://test{path}"), "1.1", ""),
        ] {
            client.send(format!("GET {target} HTTP/{version}\r\n{headers}\r\n")).await.unwrap();
            let answer = client.answer().await.unwrap();
            let what = format!("{target}, {headers:?}");
            if is_probe {
                assert_eq!(answer.status, status, "{what}");
            } else {
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (400, "invalid-host"),
                    "{what}"
                );
                assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
            }
        }
        client.send(format!("GET {path} HTTP/1.1\r\nhOST: [::1]:9000\r\n\r\n")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, status, "{path}");
    }
}

/// More than the buffers of both sockets take.
const LARGE: usize = 24 << 20;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = good_upstream().await;
    let record = format!(
        r#"{{"priority":"low","employee_id":1,"timestamp":1,"pad":"{}"}}"#,
        "p".repeat(LARGE)
    );
    server.script(&path(4), Script::json(format!(r#"{{"results":[{record}]}}"#)));
    let mut config = quick(&server.base_url());
    config.upstream.max_body = 64 << 20;
    config.response_budget = Duration::from_secs(20);
    config.cache.ttl = Duration::from_mins(1);
    config.limits.write_timeout = Duration::from_millis(500);
    config.limits.max_connections = 1;
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("at first").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(gateway.running.address).await.unwrap();
    stream.writable().await.unwrap();
    stream.try_write(b"GET /incidents HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let began = Instant::now();
    stream.readable().await.unwrap();
    // The kernel ends it without a word to the client, so what shows is that its permit is free
    // again.
    while get(gateway.running.address, "/sources").await.status == 503 {
        assert!(began.elapsed() < Duration::from_secs(20), "the client is still connected");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(get(gateway.running.address, "/incidents").await.body.len() / LARGE, 1);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_so_at_once_and_probes_are_answered() {
    let (server, gateway) =
        gateway_that_waits(Duration::from_secs(3), |config| config.limits.max_requests = 4).await;
    let address = gateway.running.address;
    let began = Instant::now();
    // The probing below may be there before one of them; each tries until it has its permit.
    let waits = move || async move {
        loop {
            let answer = get(address, "/incidents").await;
            if answer.status == 200 || answer.problem() != "overloaded" {
                break answer;
            }
        }
    };
    let waiting: Vec<_> = (0..4).map(|_| tokio::spawn(waits())).collect();
    // Each of the four has its permit once a fifth finds none.
    let refused = loop {
        let answer = get_with(address, "/incidents", &[("Prefer", "wait=0")]).await;
        if answer.problem() == "overloaded" {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    for path in ["/incidents", "/summary", "/sources", "/incidents/100", "/unattributed"] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"), "{path}");
    }
    assert_eq!(get(address, "/healthz").await.text(), "ok");
    assert_eq!(get(address, "/readyz").await.status, 503);
    for path in ["/healthz", "/metrics"] {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "all that while the four wait: {:?}",
        began.elapsed()
    );
    for (source, (_, body)) in GOOD.iter().enumerate() {
        server.script(&path(source), Script::json(*body));
    }
    for waiting in waiting {
        let answer = waiting.await.unwrap();
        assert!(answer.status == 200 || answer.problem() == "no-data", "{}", answer.text());
    }
    assert_ne!(get(address, "/sources").await.status, 503, "the permits are free again");
}

#[tokio::test]
async fn connections_beyond_the_limit_get_an_answer_and_no_second_one() {
    let (_server, gateway) = gateway_with_limits(|limits| limits.max_connections = 3).await;
    let address = gateway.running.address;
    gateway.wait_until_complete("at first").await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(address).await.unwrap();
        assert_eq!(client.get("/incidents", &[]).await.unwrap().status, 200);
        inside.push(client);
    }
    let mut beyond = Client::connect(address).await.unwrap();
    let answer = beyond.get("/incidents", &[]).await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), ("1", "close"));
    assert!(beyond.is_ended_within(AT_ONCE).await);
    for (path, status) in [("/healthz", 200), ("/readyz", 200)] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.header("connection")), (status, "close"), "{path}");
    }
    assert_eq!(inside[0].get("/incidents", &[]).await.unwrap().status, 200, "those inside go on");
    assert_eq!(gateway.admin("/healthz").await.status, 200);
    drop(inside.pop());
    let began = Instant::now();
    while get(address, "/incidents").await.status != 200 {
        assert!(began.elapsed() < AT_ONCE, "the permit is still taken");
    }
}

#[tokio::test]
async fn connections_beyond_all_permits_wait_for_their_turn() {
    let (_server, gateway) = gateway_with_limits(|limits| {
        limits.max_connections = 1;
        limits.idle_timeout = Duration::from_secs(2);
    })
    .await;
    let address = gateway.running.address;
    let mut silent = Vec::new();
    for _ in 0..=64 {
        silent.push(Client::connect(address).await.unwrap());
    }
    let waiting = tokio::spawn(get(address, "/healthz"));
    assert_eq!(
        gateway.admin("/healthz").await.status,
        200,
        "the admin listener has permits of its own"
    );
    assert_eq!(
        timeout(AT_ONCE, waiting).await.unwrap().unwrap().text(),
        "ok",
        "silent clients are ended in time"
    );
}
