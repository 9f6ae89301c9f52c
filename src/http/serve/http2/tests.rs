//! One HTTP/2 connection as the server serves it, over an in-memory stream and under paused time.

mod control_frames;
mod sending;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

use super::*;
use crate::config::Config;
use crate::http::connection::ConnectionHandle;
use crate::http::connection::testing::Pipe;
use crate::http::serve::{EXTRA_CONNECTION_IDLE_TIMEOUT, MIN_SEND_RATE_GRACE, Phase};

/// Longer than any timeout of the server's.
const LONG: Duration = Duration::from_hours(1);

const LARGE_BYTES: usize = 2 << 20;

const HUGE_BYTES: usize = 64 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// `GET /` over http, as HPACK's static table has it.
const GET: &[u8] = &[0x82, 0x84, 0x86];

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

struct Served {
    client: DuplexStream,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    /// The exchanges whose service or body exists.
    open: Arc<AtomicUsize>,
    handles: Arc<Mutex<Vec<ConnectionHandle>>>,
}

/// Counts an exchange until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes that count as an exchange until all copies of them are dropped.
struct CountedBytes {
    bytes: Vec<u8>,
    _counted: Counted,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn respond(request: Request<Incoming>, counted: Counted) -> Response<Body> {
    let body = match request.uri().path() {
        "/large" => {
            let bytes = CountedBytes { bytes: vec![b'x'; LARGE_BYTES], _counted: counted };
            Body::full(Bytes::from_owner(bytes))
        }
        "/huge" => Body::full(vec![b'x'; HUGE_BYTES]),
        "/exempt" => {
            request.extensions().get::<ConnectionHandle>().unwrap().exempt_from_min_send_rate();
            Body::full(vec![b'x'; LARGE_BYTES])
        }
        "/late" => {
            sleep(Duration::from_secs(20)).await;
            drop(counted);
            Body::full("late")
        }
        "/never" => {
            std::future::pending::<()>().await;
            drop(counted);
            Body::empty()
        }
        "/empty" => Body::empty(),
        _ => Body::full("hello"),
    };
    Response::new(body)
}

fn serve_with(buffer: usize, is_beyond_limit: bool) -> Served {
    let (client, pipe) = Pipe::new(buffer);
    let (phase, phases) = watch::channel(Phase::Serving);
    let (open, handles) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
    let (counter, kept) = (Arc::clone(&open), Arc::clone(&handles));
    let service = service_fn(move |request: Request<Incoming>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let alive = Counted(Arc::clone(&counter));
        let handle = request.extensions().get::<ConnectionHandle>().unwrap().clone();
        kept.lock().unwrap().push(handle);
        async move { Ok(respond(request, alive).await) }
    });
    let peer = Client::new(([127, 0, 0, 1], 1).into(), is_beyond_limit);
    let serving =
        super::serve(pipe, peer, Config::default().limits, EndSignals::new(phases), service);
    Served { client, phase, task: tokio::spawn(serving), open, handles }
}

fn serve() -> Served {
    serve_with(64 << 10, false)
}

impl Served {
    /// A client that follows the protocol, with this window for each stream.
    async fn connect(self, window: u32) -> (SendRequest<Bytes>, Connected) {
        let Self { client, phase, task, open, handles } = self;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(1 << 24);
        let (requests, connection) = builder.handshake(client).await.unwrap();
        tokio::spawn(connection);
        (requests, Connected { phase, task, open, handles })
    }

    /// How long the connection lasts from now on.
    async fn ends_after(self) -> Duration {
        let start = Instant::now();
        timeout(LONG, self.task).await.unwrap().unwrap();
        start.elapsed()
    }
}

struct Connected {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    open: Arc<AtomicUsize>,
    handles: Arc<Mutex<Vec<ConnectionHandle>>>,
}

impl Connected {
    async fn ends_after(self) -> Duration {
        let start = Instant::now();
        timeout(LONG, self.task).await.unwrap().unwrap();
        start.elapsed()
    }
}

fn send(requests: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let request = Request::get(format!("https://test{path}")).body(()).unwrap();
    requests.send_request(request, true).unwrap().0
}

async fn get(requests: &mut SendRequest<Bytes>, path: &str) -> Response<RecvStream> {
    *requests = requests.clone().ready().await.unwrap();
    timeout(LONG, send(requests, path)).await.unwrap().unwrap()
}

/// Reads a body, with `pause` for each 16 KiB.
async fn read(body: &mut RecvStream, pause: Duration) -> Result<usize, h2::Error> {
    let mut total = 0;
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        total += bytes.len();
        sleep(pause.mul_f64(bytes.len() as f64 / 16_384.0)).await;
        body.flow_control().release_capacity(bytes.len())?;
    }
    Ok(total)
}

#[tokio::test(start_paused = true)]
async fn the_preface_and_the_first_settings_have_the_header_timeout() {
    let header_timeout = Config::default().limits.header_timeout;
    let partial_settings = [PREFACE, &EMPTY_SETTINGS[..8]].concat();
    for sent in [&b""[..], &PREFACE[..20], PREFACE, &partial_settings] {
        let mut served = serve();
        served.client.write_all(sent).await.unwrap();
        assert_eq!(served.ends_after().await.as_secs(), header_timeout.as_secs(), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_trickles_in_ends_the_connection() {
    let mut served = serve();
    let start = Instant::now();
    for byte in [PREFACE, EMPTY_SETTINGS].concat() {
        if served.client.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let header_timeout = Config::default().limits.header_timeout;
    assert!(start.elapsed() <= header_timeout + Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_header_block_ends_the_connection_by_the_header_timeout() {
    let header_timeout = Config::default().limits.header_timeout;
    let headers_without_end = frame(1, 1, 1, GET);
    let partial = frame(1, 5, 1, GET);
    for sent in [&headers_without_end[..], &partial[..5], &partial[..partial.len() - 1]] {
        let mut served = serve();
        served.client.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        served.client.write_all(sent).await.unwrap();
        assert_eq!(served.ends_after().await.as_secs(), header_timeout.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn continuations_that_trickle_in_end_the_connection() {
    let mut served = serve();
    let headers = frame(1, 1, 1, GET);
    served.client.write_all(&[PREFACE, EMPTY_SETTINGS, &headers].concat()).await.unwrap();
    let start = Instant::now();
    let field = frame(9, 0, 1, b"\x00\x01a\x01b");
    while served.client.write_all(&field).await.is_ok() {
        sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < LONG);
    }
    let header_timeout = Config::default().limits.header_timeout;
    assert!(start.elapsed() <= header_timeout + Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_ends_by_the_idle_timeout_in_spite_of_pings() {
    let idle_timeout = Config::default().limits.idle_timeout;
    let (mut requests, connected) = serve().connect(65_535).await;
    for _ in 0..3 {
        sleep(idle_timeout.mul_f64(0.9)).await;
        assert_eq!(get(&mut requests, "/").await.status(), StatusCode::OK);
    }
    assert_eq!(connected.ends_after().await.as_secs(), idle_timeout.as_secs());

    let mut served = serve();
    served.client.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let start = Instant::now();
    let mut answers = vec![0; 4096];
    while served.client.write_all(PING).await.is_ok() {
        let _ = timeout(Duration::from_secs(1), served.client.read(&mut answers)).await;
        sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < LONG);
    }
    let took = start.elapsed();
    assert!(took >= idle_timeout && took <= idle_timeout + Duration::from_secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_response_keeps_the_connection() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let response = send(&mut requests, "/never");
    assert!(timeout(LONG, response).await.is_err());
    assert!(!connected.task.is_finished());
    // The client has given the stream up.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(connected.open.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn once_the_process_drains_a_connection_goes_away_after_the_response() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let late = send(&mut requests, "/late");
    sleep(Duration::from_secs(1)).await;
    connected.phase.send_replace(Phase::Draining);
    let mut body = late.await.unwrap().into_body();
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), 4);
    assert!(requests.clone().ready().await.is_err(), "the client was told to go away");
    assert_eq!(connected.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_begins_while_the_process_drains_gets_one_answer() {
    let served = serve();
    served.phase.send_replace(Phase::Draining);
    let (mut requests, connected) = served.connect(65_535).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(get(&mut requests, "/").await.status(), StatusCode::OK);
    assert_eq!(connected.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_gets_its_response_after_the_listener_has_closed() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let late = send(&mut requests, "/late");
    sleep(Duration::from_secs(1)).await;
    connected.phase.send_replace(Phase::Closing);
    let mut body = late.await.unwrap().into_body();
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), 4);
    assert_eq!(connected.ends_after().await.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_outlives_the_listener_by_the_close_delay_only() {
    for sent in [&b""[..], &[PREFACE, EMPTY_SETTINGS].concat()] {
        let mut served = serve();
        served.client.write_all(sent).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        served.phase.send_replace(Phase::Closing);
        assert!(served.ends_after().await <= CLOSE_DELAY * 2, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_limit_goes_away_after_one_request() {
    let (mut requests, connected) = serve_with(64 << 10, true).connect(65_535).await;
    assert_eq!(get(&mut requests, "/").await.status(), StatusCode::OK);
    assert_eq!(connected.ends_after().await.as_secs(), 0);

    let (_requests, connected) = serve_with(64 << 10, true).connect(65_535).await;
    assert_eq!(
        connected.ends_after().await.as_secs(),
        EXTRA_CONNECTION_IDLE_TIMEOUT.as_secs(),
        "a silent one soon ends"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_request_gets_the_length_and_no_body() {
    let (mut requests, _connected) = serve().connect(65_535).await;
    for (path, length) in [("/", Some("5")), ("/large", Some("2097152")), ("/empty", None)] {
        let request = Request::head(format!("https://test{path}")).body(()).unwrap();
        let response = requests.send_request(request, true).unwrap().0.await.unwrap();
        let its = response.headers().get("content-length");
        assert_eq!(its.map(|value| value.to_str().unwrap()), length, "{path}");
        assert!(response.into_body().is_end_stream());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_body_is_not_waited_for() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let request = Request::post("https://test/").body(()).unwrap();
    let (response, mut upload) = requests.send_request(request, false).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), 5);
    let reason = poll_fn(|context| upload.poll_reset(context)).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    assert_eq!(connected.open.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn at_most_a_hundred_streams_are_open() {
    let (mut requests, connected) = serve().connect(65_535).await;
    assert_eq!(get(&mut requests, "/").await.status(), StatusCode::OK);
    assert_eq!(requests.current_max_send_streams(), 100);
    let mut waiting: Vec<_> = Vec::new();
    for _ in 0..100 {
        waiting.push(send(&mut requests, "/never"));
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(connected.open.load(Ordering::SeqCst), 100);
    let mut next = Box::pin(send(&mut requests, "/"));
    assert!(timeout(Duration::from_mins(1), &mut next).await.is_err());
    waiting.pop();
    assert_eq!(next.await.unwrap().status(), StatusCode::OK);
}
