//! An HTTP/2 upstream over TLS. The behaviour of each path is set by a script.
//!
//! The scripts are about streams and connections. For scripts about the content of responses see
//! [`super::scripted_upstream`].

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a path does when it is called.
#[derive(Clone, Debug)]
pub enum Act {
    /// 200 with this body.
    Answer(&'static str),
    /// The same with this many additional header fields.
    AnswerWithFields(usize, &'static str),
    /// 200 with this body, once all calls of the barrier have arrived.
    AnswerTogether(Arc<Barrier>, &'static str),
    /// Sends nothing.
    Hang,
    /// Sends the headers and half of this body, and then nothing.
    HangInBody(&'static str),
    /// Ends the stream (`RST_STREAM`) before the headers.
    Reset(Reason),
    /// Ends the stream after half of this body.
    ResetInBody(&'static str, Reason),
    /// Announces this many bytes, and sends one.
    Announce(u64),
    /// A body without end, as fast as it is read.
    Endless,
    /// 200 with this body, then `GOAWAY`: the connection accepts no other call.
    AnswerAndGoAway(&'static str),
    /// Ends the connection with an error (`GOAWAY`), and with it all its streams.
    Abort,
}

#[derive(Default)]
struct Shared {
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    /// The connection and the path of each call.
    seen: Mutex<Vec<(usize, String)>>,
}

/// The upstream; it ends with all its connections when dropped.
pub struct H2Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for H2Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl H2Upstream {
    /// Each connection takes `max_concurrent_streams` at once.
    pub async fn start(tls: Arc<rustls::ServerConfig>, max_concurrent_streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving =
            tokio::spawn(accept(listener, tls.into(), max_concurrent_streams, Arc::clone(&shared)));
        Self { address, shared, serving }
    }

    pub fn base_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Sets what the calls of this path do from now on, one after another; the last one repeats.
    pub fn script(&self, path: &str, acts: impl IntoIterator<Item = Act>) {
        self.shared.acts.lock().unwrap().insert(path.to_owned(), acts.into_iter().collect());
    }

    /// The connection and path of each call so far, in the order of arrival.
    pub fn seen(&self) -> Vec<(usize, String)> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    max_concurrent_streams: u32,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(
            stream,
            tls.clone(),
            max_concurrent_streams,
            number,
            Arc::clone(&shared),
        ));
    }
}

async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    max_concurrent_streams: u32,
    number: usize,
    shared: Arc<Shared>,
) {
    // Errors of a connection are expected: the tests observe them on the client's side.
    let Ok(stream) = tls.accept(stream).await else { return };
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(max_concurrent_streams);
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    let (ends, mut ended) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    let mut unanswered = Vec::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let path = request.uri().path().to_owned();
                let act = {
                    let mut acts = shared.acts.lock().unwrap();
                    let acts = acts.get_mut(&path).expect("a path with a script");
                    if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() }
                };
                shared.seen.lock().unwrap().push((number, path));
                match act.expect("a script has an act") {
                    Act::AnswerAndGoAway(body) => {
                        streams.spawn(play(Act::Answer(body), respond));
                        ends.send(Reason::NO_ERROR).unwrap();
                    }
                    Act::Abort => {
                        // Dropped, it would reset its stream before the connection ends.
                        unanswered.push(respond);
                        ends.send(Reason::INTERNAL_ERROR).unwrap();
                    }
                    act => drop(streams.spawn(play(act, respond))),
                }
            }
            Some(reason) = ended.recv() => match reason {
                Reason::NO_ERROR => connection.graceful_shutdown(),
                reason => connection.abrupt_shutdown(reason),
            },
        }
    }
}

/// Executes an act on a stream, and ends at the latest when the client resets the stream.
async fn play(act: Act, mut respond: SendResponse<Bytes>) {
    let response = || Response::builder().header("content-type", "application/json");
    let mut begin = |announced: Option<u64>| -> Option<SendStream<Bytes>> {
        let response = announced
            .into_iter()
            .fold(response(), |response, size| response.header("content-length", size));
        respond.send_response(response.body(()).unwrap(), false).ok()
    };
    match act {
        Act::Hang => drop(poll_fn(|context| respond.poll_reset(context)).await),
        Act::Reset(reason) => respond.send_reset(reason),
        Act::Answer(body) => send(begin(None), body, true),
        Act::AnswerWithFields(count, body) => {
            let fields = (0..count).fold(response(), |response, i| {
                response.header(format!("x-field-{i}"), "a value of some length")
            });
            send(respond.send_response(fields.body(()).unwrap(), false).ok(), body, true);
        }
        Act::AnswerTogether(barrier, body) => {
            barrier.wait().await;
            send(begin(None), body, true);
        }
        Act::HangInBody(body) => {
            if let Some(mut stream) = begin(None) {
                let _ = stream.send_data(half(body), false);
                let _ = poll_fn(|context| stream.poll_reset(context)).await;
            }
        }
        Act::ResetInBody(body, reason) => {
            if let Some(mut stream) = begin(None) {
                let _ = stream.send_data(half(body), false);
                stream.send_reset(reason);
            }
        }
        Act::Announce(size) => {
            if let Some(mut stream) = begin(Some(size)) {
                let _ = stream.send_data(Bytes::from_static(b"["), false);
                let _ = poll_fn(|context| stream.poll_reset(context)).await;
            }
        }
        Act::Endless => {
            let Some(mut stream) = begin(None) else { return };
            let spaces = Bytes::from_static(&[b' '; 0x4000]);
            loop {
                stream.reserve_capacity(spaces.len());
                match poll_fn(|context| stream.poll_capacity(context)).await {
                    Some(Ok(capacity))
                        if stream
                            .send_data(spaces.slice(..capacity.min(spaces.len())), false)
                            .is_ok() => {}
                    _ => return,
                }
            }
        }
        Act::AnswerAndGoAway(_) | Act::Abort => unreachable!("the connection does these"),
    }
}

fn send(stream: Option<SendStream<Bytes>>, body: &'static str, last: bool) {
    if let Some(mut stream) = stream {
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), last);
    }
}

fn half(body: &'static str) -> Bytes {
    Bytes::from_static(&body.as_bytes()[..body.len() / 2])
}
