//! `/events`: new incidents and changed sources as Server-Sent Events.
//!
//! A record is new if the source's previous batch had no record with the same bytes. A source's
//! first batch produces no events, and neither does a record that moves to another employee because
//! the identities have changed. Records without an employee produce events too, with the reason.
//!
//! A caller who may see one employee alone gets the events of that employee, those of the sources,
//! and `reset`, but none for a burst without records of that employee. The ids of such streams are
//! opaque, and valid for that employee alone.

mod burst;
mod event;
mod feed;
mod grant_end;
mod reader;
mod recipients;
mod ring;
mod streams;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
use self::grant_end::StreamGrant;
use self::reader::Reader;
use self::streams::{StreamPermit, StreamRefused};
use super::Gateway;
use super::body::Body;
use super::connection::ConnectionHandle;
use super::context::Context;
use super::problem::Problem;
use super::serve::Phase;

/// The interval after which a heartbeat is sent if no event was.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// The same once the client has shut down its sending side. If it has in fact closed the
/// connection, the second write fails.
const HALF_CLOSED_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// The target size of a chunk of events; the last event may exceed it.
const CHUNK_BYTES: usize = 64 << 10;

/// The generation of the events of a process that starts at this time: the microseconds since the
/// epoch, so that it is greater than that of an earlier process unless the clock was set back.
#[must_use]
pub fn event_generation(started: SystemTime) -> u64 {
    let since_epoch = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// A client's position in the feed. It reads at the pace of its connection, and nothing is queued
/// for it.
struct Client {
    feed: Arc<Feed>,
    connection: Option<ConnectionHandle>,
    heartbeat_interval: Duration,
    _permit: StreamPermit,
    grant: StreamGrant,
    changed: watch::Receiver<()>,
    phase: watch::Receiver<Phase>,
    reader: Reader,
    /// The number of the last event that was sent, or passed over because the client may not see
    /// it.
    last_number: u64,
    /// The first chunk, until it is sent.
    opening: Option<Bytes>,
    last_sent_at: Instant,
    /// Whether the last chunk was the final `reset`.
    has_ended: bool,
}

impl Gateway {
    /// `GET /events`
    pub(super) fn events(&self, request: &Parts, context: &Context) -> Response<Body> {
        let last_id =
            request.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
        let (Ok(visibility), Some(grant)) = (context.visibility(), context.grant()) else {
            return Problem::Forbidden.response(context.id(), &[]);
        };
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            let connection = request.extensions.get::<ConnectionHandle>().cloned();
            let peer = connection.as_ref().map(ConnectionHandle::peer_ip);
            let subscription = match self.events.subscribe(&visibility, last_id, peer) {
                Ok(subscription) => subscription,
                Err(StreamRefused::AllInUse) => {
                    return Problem::Overloaded.response(context.id(), &[]);
                }
                Err(StreamRefused::AddressShareInUse) => {
                    return Problem::TooManyStreams.response(context.id(), &[]);
                }
            };
            let Subscription { permit, changed, reader, number, reset } = subscription;
            let mut opening = event::opening(&reader.id(number)).into_bytes();
            if let Some(reset) = reset {
                let reset = reset.event().content;
                opening.extend_from_slice(&event::with_id(&reader.id(number), &reset));
            }
            if let Some(connection) = &connection {
                // An event stream may be idle for long, and the ring bounds its backlog.
                connection.exempt_from_min_send_rate();
            }
            let grant = Arc::clone(grant);
            let accesses = self.current_access.subscribe();
            let client = Client {
                feed: Arc::clone(&self.events),
                grant: StreamGrant::new(grant, connection.clone(), accesses),
                connection,
                heartbeat_interval: HEARTBEAT_INTERVAL,
                _permit: permit,
                changed,
                phase: self.phase.clone(),
                reader,
                last_number: number,
                opening: Some(opening.into()),
                last_sent_at: Instant::now(),
                has_ended: false,
            };
            Body::stream(stream::unfold(client, Client::next_chunk).boxed())
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        // Tells nginx and other proxies not to buffer the stream.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl Client {
    /// The next chunk of the stream, and the client's state after it; `None` at the end.
    async fn next_chunk(mut self) -> Option<(Bytes, Self)> {
        if self.has_ended || *self.phase.borrow() == Phase::Closing || !self.grant.holds() {
            return None;
        }
        let chunk = match self.opening.take() {
            Some(opening) => opening,
            None => self.wait_for_chunk().await?,
        };
        self.last_sent_at = Instant::now();
        Some((chunk, self))
    }

    /// Waits for events or the time of a heartbeat; `None` when the server closes, or the
    /// client may not read any more.
    async fn wait_for_chunk(&mut self) -> Option<Bytes> {
        loop {
            self.changed.borrow_and_update();
            match self.feed.after(self.last_number, CHUNK_BYTES, &self.reader) {
                Some((events, last_number)) => {
                    self.last_number = last_number;
                    if !events.is_empty() {
                        return Some(events.into());
                    }
                }
                None => {
                    self.has_ended = true;
                    let id = self.reader.id(self.feed.newest());
                    return Some(event::with_id(&id, &event::Reset::TooSlow.event().content));
                }
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                // An error means that the sender is gone: the process is exiting.
                _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => return None,
                () = self.grant.ended() => return None,
                () = sleep_until(self.last_sent_at + self.heartbeat_interval) => {
                    return Some(Bytes::from_static(event::HEARTBEAT));
                }
                () = half_closed(self.connection.as_ref()),
                    if self.heartbeat_interval == HEARTBEAT_INTERVAL =>
                {
                    self.heartbeat_interval = HALF_CLOSED_HEARTBEAT_INTERVAL;
                    return Some(Bytes::from_static(event::HEARTBEAT));
                }
            }
        }
    }
}

/// Completes once the client has shut down its sending side.
async fn half_closed(connection: Option<&ConnectionHandle>) {
    match connection {
        Some(connection) => connection.half_closed().await,
        None => std::future::pending().await,
    }
}
