use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Abortable, Aborted, BoxFuture};
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::http::connection::Client;
use crate::http::connection::testing::Pipe;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const RATE: MinSendRate = MinSendRate { bytes_per_second: 1024, grace: Duration::from_secs(30) };
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

type Respond = fn(ConnectionHandle) -> BoxFuture<'static, Bytes>;

/// A connection served by hyper, seen from the client.
struct Connection {
    client: DuplexStream,
    handle: ConnectionHandle,
    is_reset: Arc<AtomicBool>,
    serving: JoinHandle<Result<hyper::Result<()>, Aborted>>,
}

/// Serves `respond` over a connection whose buffers hold `buffer` bytes.
fn serve(buffer: usize, respond: Respond) -> Connection {
    let (client, pipe) = Pipe::new(buffer);
    let is_reset = Arc::clone(&pipe.is_reset);
    let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let (handle, aborted) = ConnectionHandle::new(Arc::new(Client::new(peer, false)));
    let io = ConnectionIo::new(pipe, handle.clone(), HEADER_TIMEOUT, RATE);
    let in_service = handle.clone();
    let service = service_fn(move |_: Request<_>| {
        in_service.begin_exchange();
        let handle = in_service.clone();
        async move {
            let body = respond(handle.clone()).await;
            Ok::<_, Infallible>(Response::new(handle.track_body(Full::new(body))))
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    let serving = tokio::spawn(Abortable::new(connection, aborted));
    Connection { client, handle, is_reset, serving }
}

fn respond_at_once(_: ConnectionHandle) -> BoxFuture<'static, Bytes> {
    async { Bytes::from_static(b"hello") }.boxed()
}

fn respond_later(_: ConnectionHandle) -> BoxFuture<'static, Bytes> {
    sleep(Duration::from_secs(5)).map(|()| Bytes::from_static(b"hello")).boxed()
}

const LARGE_BYTES: usize = 4 << 20;

fn respond_large(_: ConnectionHandle) -> BoxFuture<'static, Bytes> {
    async { vec![b'x'; LARGE_BYTES].into() }.boxed()
}

fn respond_large_exempt(handle: ConnectionHandle) -> BoxFuture<'static, Bytes> {
    handle.exempt_from_min_send_rate();
    respond_large(handle)
}

impl Connection {
    async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        self.client.read_to_end(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    /// How long the connection lasts from now on.
    async fn ends_after(self) -> Duration {
        let start = Instant::now();
        let _ = self.serving.await.unwrap();
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_trickle_in_end_the_connection() {
    let mut connection = serve(1024, respond_at_once);
    let start = Instant::now();
    connection.client.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
    while connection.client.write_all(b"x").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(start.elapsed().as_secs(), HEADER_TIMEOUT.as_secs() + 1);
    assert!(!connection.is_reset.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn waiting_between_requests_is_not_held_against_their_headers() {
    let mut connection = serve(1024, respond_at_once);
    for _ in 0..3 {
        sleep(HEADER_TIMEOUT * 2).await;
        connection.client.write_all(REQUEST).await.unwrap();
        let mut response = [0; 256];
        let length = connection.client.read(&mut response).await.unwrap();
        assert!(String::from_utf8_lossy(&response[..length]).ends_with("hello"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_request_waits_for_the_response_before_it_without_a_deadline() {
    let mut connection =
        serve(1024, |_| sleep(HEADER_TIMEOUT * 3).map(|()| Bytes::from_static(b"late")).boxed());
    connection.client.write_all(&[REQUEST, &REQUEST[..20]].concat()).await.unwrap();
    let mut read = vec![0; 1024];
    let length = connection.client.read(&mut read).await.unwrap();
    assert!(String::from_utf8_lossy(&read[..length]).ends_with("late"));
    connection.client.write_all(&REQUEST[20..]).await.unwrap();
    connection.client.shutdown().await.unwrap();
    assert!(connection.read_to_end().await.ends_with("late"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_shuts_down_its_sending_side_gets_its_responses() {
    for respond in [respond_at_once as Respond, respond_later] {
        for requests in 1..=3 {
            let mut connection = serve(1024, respond);
            connection.client.write_all(&REQUEST.repeat(requests)).await.unwrap();
            connection.client.shutdown().await.unwrap();
            let read = timeout(Duration::from_mins(1), connection.read_to_end()).await.unwrap();
            assert_eq!(read.matches("hello").count(), requests, "{read}");
            assert!(connection.serving.await.unwrap().unwrap().is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_response_reaches_a_half_closed_client_whole() {
    let mut connection = serve(64, respond_large);
    connection.client.write_all(REQUEST).await.unwrap();
    connection.client.shutdown().await.unwrap();
    let read = connection.read_to_end().await;
    assert_eq!(read.matches('x').count(), LARGE_BYTES);
    let sent = connection.handle.bytes_sent();
    assert_eq!(sent, read.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_a_late_response_byte_for_byte() {
    let delays: [Respond; 4] = [
        |_| sleep(Duration::from_millis(2001)).map(|()| Bytes::from_static(b"hello")).boxed(),
        |_| sleep(Duration::from_secs(3)).map(|()| Bytes::from_static(b"hello")).boxed(),
        respond_later,
        |_| sleep(Duration::from_mins(1)).map(|()| Bytes::from_static(b"hello")).boxed(),
    ];
    for respond in delays {
        let mut connection = serve(4096, respond);
        connection.client.write_all(&REQUEST.repeat(2)).await.unwrap();
        connection.client.shutdown().await.unwrap();
        let read = connection.read_to_end().await;
        let mut responses = read.split_inclusive("hello");
        for _ in 0..2 {
            let response = responses.next().unwrap();
            assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{read}");
        }
        assert_eq!(responses.next(), None);
        assert_eq!(connection.handle.bytes_sent(), read.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_the_connection_is_noticed_while_its_response_is_awaited() {
    let mut connection = serve(1024, |_| std::future::pending().boxed());
    connection.client.write_all(REQUEST).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    connection.client = duplex(1).0;
    let took = connection.ends_after().await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_connection_without_a_request_ends() {
    let mut connection = serve(1024, respond_at_once);
    connection.client.write_all(&REQUEST[..10]).await.unwrap();
    connection.client.shutdown().await.unwrap();
    assert_eq!(connection.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_handle_tells_of_a_half_close() {
    let mut connection = serve(1024, respond_later);
    connection.client.write_all(REQUEST).await.unwrap();
    let handle = connection.handle.clone();
    assert!(timeout(Duration::from_secs(1), handle.half_closed()).await.is_err());
    connection.client.shutdown().await.unwrap();
    assert!(timeout(Duration::from_secs(1), handle.half_closed()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_reset_after_the_grace() {
    let mut connection = serve(1024, respond_large);
    connection.client.write_all(REQUEST).await.unwrap();
    let is_reset = Arc::clone(&connection.is_reset);
    assert_eq!(connection.ends_after().await.as_secs(), RATE.grace.as_secs());
    assert!(is_reset.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_now_and_then_is_reset() {
    let mut connection = serve(1024, respond_large);
    connection.client.write_all(REQUEST).await.unwrap();
    let (start, mut buffer) = (Instant::now(), [0; 512]);
    while connection.client.read(&mut buffer).await.unwrap() > 0 {
        sleep(Duration::from_secs(20)).await;
    }
    assert!(start.elapsed() <= Duration::from_secs(80), "{:?}", start.elapsed());
    assert!(connection.is_reset.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_at_the_least_rate_gets_the_whole_response() {
    let mut connection = serve(1024, respond_large);
    connection.client.write_all(REQUEST).await.unwrap();
    connection.client.shutdown().await.unwrap();
    let (mut total, mut buffer) = (0, [0; 1024]);
    loop {
        sleep(Duration::from_secs(1)).await;
        match connection.client.read_exact(&mut buffer).await {
            Ok(read) => total += read,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                break;
            }
        }
    }
    assert!(total >= LARGE_BYTES, "{total}");
}

#[tokio::test(start_paused = true)]
async fn an_exempt_response_may_be_read_as_slowly_as_the_client_likes() {
    let mut connection = serve(1024, respond_large_exempt);
    connection.client.write_all(REQUEST).await.unwrap();
    assert!(timeout(Duration::from_hours(1), &mut connection.serving).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_connection_that_is_stuck_in_a_write() {
    let mut connection = serve(1024, respond_large_exempt);
    connection.client.write_all(REQUEST).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(connection.handle.bytes_sent() > 0);
    connection.handle.abort();
    let is_reset = Arc::clone(&connection.is_reset);
    assert_eq!(connection.ends_after().await.as_secs(), 0);
    assert!(is_reset.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_connection_whose_response_is_not_there_yet() {
    let mut connection = serve(1024, respond_later);
    connection.client.write_all(&REQUEST.repeat(2)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    connection.handle.abort();
    assert_eq!(connection.ends_after().await.as_secs(), 0);
}

#[tokio::test]
async fn a_slow_reader_is_reset_over_a_real_socket() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let (handle, _aborted) = ConnectionHandle::new(Arc::new(Client::new(peer, false)));
    let rate = MinSendRate { bytes_per_second: 1 << 30, grace: Duration::from_millis(100) };
    let mut io = ConnectionIo::new(stream, handle.clone(), HEADER_TIMEOUT, rate);
    let error = timeout(Duration::from_secs(20), io.write_all(&vec![0; LARGE_BYTES * 8])).await;
    assert_eq!(error.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(handle.is_aborted());
    assert!(handle.bytes_sent() > 0);
    drop(io);
    let read = client.read_to_end(&mut Vec::new()).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
