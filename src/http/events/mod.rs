//! `/events`: what is new, as Server-Sent Events.
//!
//! A record is new when its source's batch has it and the source's batch before had not, by its
//! bytes; a source's first batch adds nothing, and neither does a record's moving between employees
//! because identities came or changed. Records without an employee are told too, with their reason.

mod added;
mod event;
mod feed;
mod ring;

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

use super::Gateway;
use super::body::Body;
use super::connection::ConnectionHandle;
use super::context::Context;
use super::problem::Problem;
use super::serve::Phase;

/// How often at least something is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The same once the client has shut down its sending side: if it has in truth closed the
/// connection, the second write after that shows it.
const HALF_CLOSED_HEARTBEAT: Duration = Duration::from_secs(2);

/// About how many bytes are sent in one piece.
const PIECE: usize = 64 << 10;

/// One client's reading of the feed. Nothing is queued for it: it reads what the feed keeps, as
/// fast as its connection takes it.
struct Client {
    feed: Arc<Feed>,
    connection: Option<ConnectionHandle>,
    heartbeat: Duration,
    news: watch::Receiver<()>,
    phase: watch::Receiver<Phase>,
    /// The number of the last event it was given.
    number: u64,
    opening: Option<Bytes>,
    sent: Instant,
    over: bool,
}

impl Gateway {
    /// `GET /events`
    pub(super) fn events(&self, request: &Parts, context: &Context) -> Response<Body> {
        let last = request.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            let Some(seat) = self.events.join(last) else {
                return Problem::Overloaded.response(context.id(), &[]);
            };
            let mut opening = event::opening(seat.generation, seat.number).into_bytes();
            if let Some(reset) = seat.reset {
                opening.extend_from_slice(&event::with_id(
                    seat.generation,
                    seat.number,
                    &reset.event(),
                ));
            }
            let connection = request.extensions.get::<ConnectionHandle>().cloned();
            if let Some(connection) = &connection {
                // A stream is silent for as long as nothing happens, and its backlog is bounded.
                connection.exempt_from_min_send_rate();
            }
            let client = Client {
                feed: Arc::clone(&self.events),
                connection,
                heartbeat: HEARTBEAT,
                news: seat.news,
                phase: self.phase.clone(),
                number: seat.number,
                opening: Some(opening.into()),
                sent: Instant::now(),
                over: false,
            };
            Body::stream(stream::unfold(client, Client::next).boxed()).holding(seat.place)
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Asks reverse proxies that know it not to hold events back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl Client {
    /// The next piece, and the client that waits for the one after; `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.over || *self.phase.borrow() == Phase::Closing {
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
            self.news.borrow_and_update();
            match self.feed.after(self.number, PIECE) {
                Some((piece, last)) if !piece.is_empty() => {
                    self.number = last;
                    return Some(piece.into());
                }
                Some(_) => {}
                None => {
                    self.over = true;
                    return Some(Bytes::from_static(event::LAGGED.as_bytes()));
                }
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
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
