//! One client connection: the handle that requests have on it ([`ConnectionHandle`]), and the I/O
//! wrappers between hyper and the socket that enforce its deadlines: [`ConnectionIo`] for HTTP/1,
//! and those of [`http2`].

mod head_deadline;
pub(super) mod http2;
mod io;
mod peer_probe;
mod send_rate;
#[cfg(test)]
pub(super) mod testing;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::future::{AbortHandle, AbortRegistration};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::SetOnce;

use crate::access::{AuthorityId, ClientCertificate};
use crate::cache::Connection;

use self::http2::Http2Connection;
pub(super) use io::{ConnectionIo, Transport};
pub(super) use send_rate::MinSendRate;

/// The client of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    /// Whether the connection exceeds `limits.max_connections`.
    pub(super) is_beyond_limit: bool,
    /// The certificate that the client has proved to own in the handshake.
    certificate: Option<ClientCertificate>,
    /// The same certificate after it was verified again, against other authorities.
    renewed: OnceLock<ClientCertificate>,
}

impl Client {
    /// A client without a certificate.
    pub(super) fn new(address: SocketAddr, is_beyond_limit: bool) -> Self {
        Self { address, is_beyond_limit, certificate: None, renewed: OnceLock::new() }
    }

    pub(super) fn with_certificate(self, certificate: Option<ClientCertificate>) -> Self {
        Self { certificate, ..self }
    }

    /// Call when the certificate was verified against `authority`, which has replaced the one of
    /// the handshake. Has no effect the second time.
    pub(super) fn renew_certificate(&self, authority: AuthorityId) {
        if let Some(certificate) = self.certificate.clone() {
            let _ = self.renewed.set(ClientCertificate { authority, ..certificate });
        }
    }

    /// Whether the certificate was verified again. The connection is then about to end.
    pub(super) fn has_renewed_certificate(&self) -> bool {
        self.renewed.get().is_some()
    }

    fn certificate(&self) -> Option<&ClientCertificate> {
        self.renewed.get().or(self.certificate.as_ref())
    }
}

/// A handle on the exchange of a request and its response: the connection over HTTP/1, one stream
/// of it over HTTP/2. The server puts it into each request's extensions. Clones refer to the same
/// exchange; a handle does not keep the connection open.
#[derive(Clone, Debug)]
pub struct ConnectionHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    /// The connection that the stream is of; `None` over HTTP/1.
    http2: Option<Arc<Http2Connection>>,
    abort: AbortHandle,
    bytes_sent: AtomicU64,
    /// How many requests' headers have been read.
    requests: AtomicU64,
    /// The [`Exchange`] under way, as a number.
    exchange: AtomicU8,
    is_exempt_from_min_send_rate: AtomicBool,
    half_closed: SetOnce<()>,
}

/// The state of the current request and its response. Only the connection's task changes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Exchange {
    /// No request is being answered.
    Idle,
    /// A request was read, and nothing of its response has been written.
    Waiting,
    /// The response is being written.
    Writing,
    /// The whole response was handed to hyper, which may still have to write some of it.
    Flushing,
}

impl ConnectionHandle {
    /// A handle for HTTP/1, and the registration that makes [`Self::abort`] end the connection's
    /// task.
    pub(super) fn new(client: Arc<Client>) -> (Self, AbortRegistration) {
        Self::of_exchange(client, None)
    }

    fn of_exchange(
        client: Arc<Client>,
        http2: Option<Arc<Http2Connection>>,
    ) -> (Self, AbortRegistration) {
        let (abort, registration) = AbortHandle::new_pair();
        let shared = Shared {
            client,
            http2,
            abort,
            bytes_sent: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            exchange: AtomicU8::new(Exchange::Idle as u8),
            is_exempt_from_min_send_rate: AtomicBool::new(false),
            half_closed: SetOnce::new(),
        };
        (Self(Arc::new(shared)), registration)
    }

    /// The client's address and port.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.client.address
    }

    /// The client's address. An IPv4-mapped IPv6 address is converted to IPv4.
    #[must_use]
    pub fn peer_ip(&self) -> IpAddr {
        self.0.client.address.ip().to_canonical()
    }

    /// The certificate that the client has proved to own.
    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.0.client.certificate()
    }

    /// The same as it was verified in the handshake: against authorities that may have been
    /// replaced. An answer without an end must end then, and with it the connection.
    #[must_use]
    pub fn certificate_of_handshake(&self) -> Option<&ClientCertificate> {
        self.0.client.certificate.as_ref()
    }

    /// How many bytes have been sent: over HTTP/1 since the connection was opened, headers
    /// included; over HTTP/2 of this response's body.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent.load(Ordering::Relaxed)
    }

    /// Resets the connection, or over HTTP/2 the stream, even while it waits for the client to
    /// read. The response's body is dropped as soon as its task runs.
    pub fn abort(&self) {
        self.0.abort.abort();
    }

    /// Whether [`Self::abort`] was called.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.abort.is_aborted()
    }

    /// Whether the connection exceeds `limits.max_connections`. Such a connection serves a single
    /// request, which gets a 503 unless it is a probe.
    #[must_use]
    pub fn is_beyond_limit(&self) -> bool {
        self.0.client.is_beyond_limit
    }

    /// Exempts the response to the current request from `limits.min_send_rate`.
    pub fn exempt_from_min_send_rate(&self) {
        let was_exempt = self.0.is_exempt_from_min_send_rate.swap(true, Ordering::Relaxed);
        if let (false, Some(connection)) = (was_exempt, &self.0.http2) {
            connection.exempt_one();
        }
    }

    fn is_exempt_from_min_send_rate(&self) -> bool {
        self.0.is_exempt_from_min_send_rate.load(Ordering::Relaxed)
    }

    /// Completes once the client has shut down its sending side. It may still be reading (`nc -N`),
    /// or have closed the connection: only a write can tell which. Over HTTP/2 that ends the
    /// connection, and this never completes.
    pub async fn half_closed(&self) {
        self.0.half_closed.wait().await;
    }

    /// Records that a request's headers have been read.
    pub(super) fn begin_exchange(&self) {
        self.0.is_exempt_from_min_send_rate.store(false, Ordering::Relaxed);
        // With pipelining, the bytes that are being written may belong to the response before.
        let next = if self.is_in(Exchange::Idle) { Exchange::Waiting } else { Exchange::Writing };
        self.enter(next);
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Wraps the response's body to learn when hyper has taken all of it.
    pub(super) fn track_body<B>(&self, body: B) -> TrackedBody<B> {
        TrackedBody { body, _end: EndOfBody(self.clone()) }
    }

    fn enter(&self, exchange: Exchange) {
        self.0.exchange.store(exchange as u8, Ordering::Relaxed);
    }

    fn is_in(&self, exchange: Exchange) -> bool {
        self.0.exchange.load(Ordering::Relaxed) == exchange as u8
    }
}

impl From<ConnectionHandle> for Arc<dyn Connection> {
    fn from(handle: ConnectionHandle) -> Self {
        handle.0
    }
}

impl Connection for Shared {
    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    fn abort(&self) {
        self.abort.abort();
    }
}

/// Records, when dropped, that hyper has taken the whole body of a response.
#[derive(Debug)]
struct EndOfBody(ConnectionHandle);

impl Drop for EndOfBody {
    fn drop(&mut self) {
        self.0.enter(Exchange::Flushing);
    }
}

/// A response's body that records its end in the connection's state.
#[derive(Debug)]
pub(super) struct TrackedBody<B> {
    body: B,
    _end: EndOfBody,
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
