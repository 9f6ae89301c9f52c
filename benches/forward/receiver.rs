//! A receiver that answers each request at once, on a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// No request for so long means that there are no more.
const QUIET: Duration = Duration::from_secs(1);

/// The longest that a sender may take.
const LONGEST: Duration = Duration::from_mins(5);

/// Whether bodies are kept.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Bodies {
    Keep,
    Discard,
}

/// What has been received.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
    /// From the begin of the first request to the end of the last.
    pub(crate) elapsed: Duration,
    pub(crate) bodies: Vec<Bytes>,
    started: Instant,
    ended: Instant,
}

/// Its server ends when this is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Option<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start(bodies: Bodies) -> Self {
        let seen = Arc::new(Mutex::new(None));
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                super::runtime().block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::select! {
                        () = serve(&listener, &seen, bodies) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { address, seen, stop: Some(stop), server: Some(server) }
    }

    /// Waits until nothing comes any more, and returns what came.
    pub(crate) fn wait(&self) -> Seen {
        let begun = Instant::now();
        loop {
            thread::sleep(Duration::from_millis(50));
            let seen = self.seen.lock().unwrap();
            match &*seen {
                Some(seen) if seen.ended.elapsed() > QUIET => return seen.clone(),
                _ => assert!(begun.elapsed() < LONGEST, "the sender takes too long"),
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

async fn serve(listener: &TcpListener, seen: &Arc<Mutex<Option<Seen>>>, bodies: Bodies) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let seen = Arc::clone(seen);
        let service = service_fn(move |request| receive(request, Arc::clone(&seen), bodies));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn receive(
    request: Request<Incoming>,
    seen: Arc<Mutex<Option<Seen>>>,
    bodies: Bodies,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let started = Instant::now();
    let is_bulk = request.uri().path() == "/_bulk";
    let (mut bytes, mut lines, mut body) = (0, 0, Vec::new());
    let mut frames = request.into_body();
    while let Some(frame) = frames.frame().await {
        let Ok(data) = frame.unwrap().into_data() else { continue };
        bytes += data.len();
        if is_bulk {
            lines += memchr::memchr_iter(b'\n', &data).count();
        }
        if bodies == Bodies::Keep {
            body.extend_from_slice(&data);
        }
    }
    let mut seen = seen.lock().unwrap();
    let seen = seen.get_or_insert_with(|| Seen {
        requests: 0,
        bytes: 0,
        elapsed: Duration::ZERO,
        bodies: Vec::new(),
        started,
        ended: started,
    });
    seen.requests += 1;
    seen.bytes += bytes;
    if bodies == Bodies::Keep {
        seen.bodies.push(body.into());
    }
    seen.ended = Instant::now();
    seen.elapsed = seen.ended - seen.started;
    // Two lines a record.
    let answer = if is_bulk { bulk_answer(lines / 2) } else { Bytes::new() };
    Ok(Response::new(Full::new(answer)))
}

/// The answer of Elasticsearch that so many records were created.
fn bulk_answer(records: usize) -> Bytes {
    let item = r#"{"create":{"_index":"incidents","status":201}}"#;
    let items = vec![item; records].join(",");
    format!(r#"{{"took":1,"errors":false,"items":[{items}]}}"#).into()
}
