//! `/events`: new incidents and changed sources as Server-Sent Events.
//!
//! A record is new when its source's batch has it and the source's batch before had not, by its
//! bytes; a source's first batch adds nothing, and neither does a record's moving between employees
//! because identities came or changed. Records without an employee are told too, with their reason.

mod event;
mod feed;
mod ring;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(super) use feed::Feed;

use self::feed::Subscription;
use self::streams::{StreamPermit, StreamRefused};
use super::Gateway;
use super::body::Body;
use super::connection::ConnectionHandle;
use super::context::Context;
use super::problem::Problem;
use super::serve::Phase;

/// The longest time in which nothing is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The same once the client has shut down its sending side: if it has in truth closed the
/// connection, the second write after that shows it.
const HALF_CLOSED_HEARTBEAT: Duration = Duration::from_secs(2);

/// About how many bytes are sent at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A client that reads the feed at the pace of its connection. Nothing is queued for it.
struct Client {
    feed: Arc<Feed>,
    connection: Option<ConnectionHandle>,
    heartbeat: Duration,
    _permit: StreamPermit,
    changed: watch::Receiver<()>,
    phase: watch::Receiver<Phase>,
    generation: u64,
    /// The number of the last event that was sent to it.
    number: u64,
    opening: Option<Bytes>,
    sent: Instant,
    has_ended: bool,
}

impl Gateway {
    /// `GET /events`
    pub(super) fn events(&self, request: &Parts, context: &Context) -> Response<Body> {
        let last = request.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            let connection = request.extensions.get::<ConnectionHandle>().cloned();
            let peer = connection.as_ref().map(ConnectionHandle::peer_ip);
            let subscription = match self.events.subscribe(last, peer) {
                Ok(subscription) => subscription,
                Err(StreamRefused::AllInUse) => {
                    return Problem::Overloaded.response(context.id(), &[]);
                }
                Err(StreamRefused::AddressShareInUse) => {
                    return Problem::TooManyStreams.response(context.id(), &[]);
                }
            };
            let Subscription { permit, changed, generation, number, reset } = subscription;
            let mut opening = event::opening(generation, number).into_bytes();
            if let Some(reset) = reset {
                opening.extend_from_slice(&event::with_id(generation, number, &reset.event()));
            }
            if let Some(connection) = &connection {
                // A stream is silent for as long as nothing happens, and its backlog is bounded.
                connection.exempt_from_min_send_rate();
            }
            let client = Client {
                feed: Arc::clone(&self.events),
                connection,
                heartbeat: HEARTBEAT,
                _permit: permit,
                changed,
                phase: self.phase.clone(),
                generation,
                number,
                opening: Some(opening.into()),
                sent: Instant::now(),
                has_ended: false,
            };
            Body::stream(stream::unfold(client, Client::next).boxed())
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        // Tells nginx and others not to buffer the stream.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl Client {
    /// The next piece, and the client that waits for the one after; `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.has_ended || *self.phase.borrow() == Phase::Closing {
            return None;
        }
        let piece = match self.opening.take() {
            Some(opening) => opening,
            None => self.wait().await?,
        };
        self.sent = Instant::now();
        Some((piece, self))
    }

    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            self.changed.borrow_and_update();
            match self.feed.after(self.number, CHUNK_BYTES) {
                Some((piece, last)) if !piece.is_empty() => {
                    self.number = last;
                    return Some(piece.into());
                }
                Some(_) => {}
                None => {
                    self.has_ended = true;
                    let newest = self.feed.newest();
                    let reset = event::Reset::TooSlow.event();
                    return Some(event::with_id(self.generation, newest, &reset));
                }
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                // An error means that nobody is left to change the phase: the process is ending.
                _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => return None,
                () = sleep_until(self.sent + self.heartbeat) => return Some(Bytes::from_static(event::HEARTBEAT)),
                () = half_closed(self.connection.as_ref()), if self.heartbeat == HEARTBEAT => {
                    self.heartbeat = HALF_CLOSED_HEARTBEAT;
                    return Some(Bytes::from_static(event::HEARTBEAT));
                }
            }
        }
    }
}

/// Waits until the client has shut down its sending side.
async fn half_closed(connection: Option<&ConnectionHandle>) {
    match connection {
        Some(connection) => connection.half_closed().await,
        None => std::future::pending().await,
    }
}
