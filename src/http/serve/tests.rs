//! One connection as the server serves it, over an in-memory stream and under paused time.

use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tower::service_fn;

use super::end::CLOSE_DELAY;
use super::http1::MAX_HEADER_FIELDS;
use super::*;
use crate::config::Config;
use crate::http::body::Body;
use crate::http::connection::ConnectionHandle;
use crate::http::connection::testing::Pipe;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Longer than any timeout of the server's.
const LONG: Duration = Duration::from_hours(1);

struct Served {
    client: DuplexStream,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

/// Serves a connection whose requests are answered after `latency`.
fn serve(latency: Duration, is_beyond_limit: bool) -> Served {
    let (client, stream) = Pipe::new(16 << 10);
    let (phase, phases) = watch::channel(Phase::Serving);
    let permit = ConnectionPermits::default().take(usize::from(!is_beyond_limit));
    let accepted = Accepted { stream, peer: ([127, 0, 0, 1], 1).into(), permit };
    let service = service_fn(move |request: Request<Incoming>| async move {
        sleep(latency).await;
        let connection = request.extensions().get::<ConnectionHandle>().unwrap();
        Ok(Response::new(Body::full(format!("answer to {}", connection.peer()))))
    });
    let settings = ListenerSettings { limits: Config::default().limits, tls: None };
    let (_, settings) = watch::channel(settings);
    let task = tokio::spawn(serve_connection(accepted, settings, phases, service));
    Served { client, phase, task }
}

impl Served {
    async fn send(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// The next response; each comes in one piece.
    async fn response(&mut self) -> String {
        let mut buffer = vec![0; 4096];
        let length = timeout(LONG, self.client.read(&mut buffer)).await.unwrap().unwrap();
        buffer.truncate(length);
        String::from_utf8(buffer).unwrap()
    }

    /// How long the connection lasts from now on.
    async fn ends_after(mut self) -> Duration {
        let start = Instant::now();
        timeout(LONG, &mut self.task).await.unwrap().unwrap();
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_by_the_idle_timeout_and_not_by_the_header_timeout() {
    let limits = Config::default().limits;
    let mut served = serve(Duration::ZERO, false);
    for _ in 0..3 {
        sleep(limits.header_timeout * 2).await;
        served.send(REQUEST).await;
        assert!(served.response().await.ends_with("answer to 127.0.0.1:1"));
    }
    assert_eq!(served.ends_after().await.as_secs(), limits.idle_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_sends_anything_is_ended_by_the_idle_timeout() {
    let served = serve(Duration::ZERO, false);
    let idle_timeout = Config::default().limits.idle_timeout;
    assert_eq!(served.ends_after().await.as_secs(), idle_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn incomplete_headers_end_the_connection_by_the_header_timeout() {
    let mut served = serve(Duration::ZERO, false);
    served.send(REQUEST).await;
    served.response().await;
    served.send(&REQUEST[..REQUEST.len() - 1]).await;
    let header_timeout = Config::default().limits.header_timeout;
    assert_eq!(served.ends_after().await.as_secs(), header_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_wait_for_slow_responses_without_a_deadline() {
    let mut served = serve(Config::default().limits.idle_timeout * 2, false);
    served.send(&[REQUEST, REQUEST, REQUEST].concat()).await;
    for _ in 0..3 {
        assert!(served.response().await.starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_limit_is_closed_after_one_response() {
    let mut served = serve(Duration::ZERO, true);
    served.send(&[REQUEST, REQUEST].concat()).await;
    let response = served.response().await;
    assert!(response.contains("connection: close"), "{response}");
    assert_eq!(served.response().await, "");
    assert_eq!(served.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_beyond_the_limit_is_soon_ended() {
    let served = serve(Duration::ZERO, true);
    assert_eq!(served.ends_after().await, EXTRA_CONNECTION_IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn each_response_closes_its_connection_once_the_process_drains() {
    let mut served = serve(Duration::ZERO, false);
    served.send(REQUEST).await;
    assert!(!served.response().await.contains("connection: close"));
    served.phase.send_replace(Phase::Draining);
    sleep(Duration::from_secs(10)).await;
    served.send(REQUEST).await;
    assert!(served.response().await.contains("connection: close"));
    assert_eq!(served.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_listener_by_the_close_delay_only() {
    let served = serve(Duration::ZERO, false);
    sleep(Duration::from_secs(1)).await;
    served.phase.send_replace(Phase::Closing);
    assert_eq!(served.ends_after().await, CLOSE_DELAY);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_gets_its_response_after_the_listener_has_closed() {
    let mut served = serve(Duration::from_secs(20), false);
    served.send(REQUEST).await;
    sleep(Duration::from_secs(1)).await;
    served.phase.send_replace(Phase::Closing);
    assert!(served.response().await.contains("connection: close"));
    assert_eq!(served.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_large_header_fields_are_refused() {
    for (fields, field, status) in [
        (100, "X-1234: y\r\n", StatusCode::OK),
        (MAX_HEADER_FIELDS - 10, "X-12: yy\r\n", StatusCode::OK),
        (2, "X: ", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (MAX_HEADER_FIELDS, "a:b\r\n", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (MAX_HEADER_FIELDS, "X-1234: y\r\n", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    ] {
        let field = if field == "X: " {
            format!("X: {}\r\n", "y".repeat(40_000))
        } else {
            field.to_owned()
        };
        let mut served = serve(Duration::ZERO, false);
        let request = REQUEST.replace("\r\n\r\n", &format!("\r\n{}\r\n", field.repeat(fields)));
        // The server may have seen enough before everything is sent.
        let _ = served.client.write_all(request.as_bytes()).await;
        let response = served.response().await;
        let expected = format!("HTTP/1.1 {}", status.as_u16());
        assert!(response.starts_with(&expected), "{fields} of {field:.9}: {response}");
    }
}
