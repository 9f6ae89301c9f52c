//! What slow clients and many streams cost others, over real connections.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::gateway::{Gateway, good_upstream, path, quick};
use crate::support::scripted_upstream::Script;

/// Sends a request over a connection with a small receive buffer, and reads nothing.
async fn ask_without_reading(gateway: &Gateway, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(gateway.running.address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_not_read_end_when_another_answer_needs_their_memory() {
    const RECORDS: u32 = 40_000;
    let upstream = good_upstream().await;
    let mut body = String::from(r#"{"results":["#);
    for id in 0..RECORDS {
        let comma = if id == 0 { "" } else { "," };
        let text = "x".repeat(80);
        write!(
            body,
            r#"{comma}{{"employee_id":{},"priority":"low","timestamp":{id},"text":"{text}"}}"#,
            id % 100
        )
        .unwrap();
    }
    upstream.script(&path(4), Script::json(body + "]}"));
    let mut config = quick(&upstream.base_url());
    config.upstream.max_body = 64 << 20;
    config.response_budget = Duration::from_secs(20);
    config.cache.ttl = Duration::from_hours(1);
    // Room for one answer of 6 MB.
    config.cache.max_bytes = 9 << 20;
    let gateway = Gateway::start(&config);
    gateway.wait_until("complete", |sources| sources["completeness"] == "complete").await;

    let mut unread = ask_without_reading(&gateway, "/incidents?since=1").await;
    sleep(Duration::from_millis(500)).await;
    let answer = gateway.get("/incidents?since=2").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > 5_000_000, "{}", answer.body.len());
    let mut received = Vec::new();
    let end = timeout(Duration::from_secs(10), unread.read_to_end(&mut received)).await;
    // The end shows as a reset, or, where the kernel had sent less than the whole, as an early end.
    match end.expect("the connection has ended") {
        Ok(_) => assert!(received.len() < 5_000_000, "{}", received.len()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_an_eighth_of_the_event_streams() {
    let upstream = good_upstream().await;
    let mut config = quick(&upstream.base_url());
    config.limits.max_events = 24;
    let gateway = Gateway::start(&config);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = ask_without_reading(&gateway, "/events").await;
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head, *b"HTTP/1.1 200 OK");
        streams.push(stream);
    }
    let refused = gateway.get("/events").await;
    assert_eq!((refused.status, refused.problem()), (429, "too-many-streams".to_owned()));
    assert_eq!(gateway.get("/healthz").await.status, 200);
}
