//! The listener: accepts connections, bounds their number, and shuts down gracefully.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{ConnectionHandle, ConnectionIo, MinSendRate, Transport};
use super::service::HttpService;
use super::tls::ServerTls;
use crate::config::Limits;
use futures::FutureExt as _;
use futures::future::Abortable;
use http::Request;
use http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The largest request line and headers together.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The most header fields of a request: as many fields of 10 bytes as fit into
/// [`MAX_HEADER_BYTES`]. hyper allocates 64 bytes for each while it parses a request. This costs
/// about 0.1 µs: it writes only as many as the request has, and the allocator reuses the memory
/// (see `memory.rs`).
const MAX_HEADER_FIELDS: usize = MAX_HEADER_BYTES / 10;

/// The send buffer of a connection (`SO_SNDBUF`; Linux grants twice that, up to twice
/// `net.core.wmem_max`). With the kernel's automatic tuning it grows to several megabytes, and
/// large responses are slower: see docs/PERFORMANCE.md.
const SEND_BUFFER_BYTES: usize = 512 << 10;

/// For how long a client may read less of a response than `limits.min_send_rate` asks for.
const MIN_SEND_RATE_GRACE: Duration = Duration::from_secs(30);

/// How long kept-alive connections stay open after the listener has closed. Closing them at once
/// could lose a request that is already on its way. Its response says `Connection: close`.
const CLOSE_DELAY: Duration = Duration::from_millis(500);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The delay after an accept has failed. The usual cause is that the process has no file descriptor
/// left, so an immediate retry would fail too.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The least number of connections beyond `limits.max_connections` that are accepted, so that
/// probes are answered over them and all other requests get a 503.
const MIN_EXTRA_CONNECTIONS: usize = 64;

/// The idle timeout of a connection beyond `limits.max_connections`.
const EXTRA_CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The phases of a server, in the order in which it enters them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Requests are served.
    Serving,
    /// The process has been asked to stop: requests are served, but `/readyz` answers 503 and each
    /// response closes its connection.
    Draining,
    /// No connection is accepted, and the server ends once the open ones have ended.
    Closing,
}

/// What a reload can change about a listener. New connections use the newest settings; open ones
/// keep what they began with, except that they end when their client authority is replaced.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The limits on clients.
    pub limits: Limits,
    /// The TLS that the listener speaks; plain HTTP without it.
    pub tls: Option<Arc<ServerTls>>,
}

/// A listener with its settings.
pub struct Server {
    listener: TcpListener,
    settings: watch::Receiver<ListenerSettings>,
    phase: watch::Receiver<Phase>,
}

impl Server {
    /// A server that will accept connections from `listener`.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        settings: watch::Receiver<ListenerSettings>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self { listener, settings, phase }
    }

    /// Serves until the phase is [`Phase::Closing`] and every connection has ended.
    pub async fn run(self, service: impl HttpService<Incoming>) {
        let Self { listener, settings, phase } = self;
        let limits = settings.borrow().limits;
        let mut connections = JoinSet::new();
        let permits = ConnectionPermits::new(limits.max_connections);
        let spawn = |connections: &mut JoinSet<()>, accepted: Accepted| {
            if let Err(error) = set_socket_options(&accepted.stream, &limits) {
                tracing::debug!(%error, "cannot set a socket option");
            }
            connections.spawn(serve_connection(accepted, limits, phase.clone(), service.clone()));
        };
        let mut closing = pin!(closing(phase.clone()));
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = permits.accept(&listener) => accepted,
                () = &mut closing => break,
            };
            match accepted {
                Ok(accepted) => spawn(&mut connections, accepted),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        // Connections that the kernel has already established are served too.
        while let Some(Ok(accepted)) = permits.accept(&listener).now_or_never() {
            spawn(&mut connections, accepted);
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Completes once the phase is [`Phase::Closing`].
async fn closing(mut phase: watch::Receiver<Phase>) {
    // An error means that the sender is gone: the process is exiting.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

/// Serves the requests of one connection until it ends, or until it has been idle for
/// [`CLOSE_DELAY`] after the listener closed.
async fn serve_connection<T: Transport>(
    Accepted { stream, peer, permit }: Accepted<T>,
    limits: Limits,
    phase: watch::Receiver<Phase>,
    service: impl HttpService<Incoming>,
) {
    let is_beyond_limit = permit.within_limit.is_none();
    let idle_timeout = if is_beyond_limit {
        EXTRA_CONNECTION_IDLE_TIMEOUT.min(limits.idle_timeout)
    } else {
        limits.idle_timeout
    };
    let (handle, aborted) = ConnectionHandle::new(peer, is_beyond_limit);
    let min_send_rate =
        MinSendRate { bytes_per_second: limits.min_send_rate, grace: MIN_SEND_RATE_GRACE };
    let io = ConnectionIo::new(stream, handle.clone(), limits.header_timeout, min_send_rate);
    // One receiver for the connection: cloning one for each request would make all connections
    // contend for the channel's reference count.
    let shared_phase = Arc::new(phase.clone());
    // hyper calls a service by `&self`, but never concurrently for one connection.
    let service = RefCell::new(service);
    let service = service_fn(move |mut request: Request<Incoming>| {
        handle.begin_exchange();
        request.extensions_mut().insert(handle.clone());
        let handle = handle.clone();
        // `poll_ready` is not needed: the service is always ready, and refuses excess requests with
        // a response.
        let response = service.borrow_mut().call(request);
        let phase = Arc::clone(&shared_phase);
        async move {
            let Ok(mut response) = response.await;
            if is_beyond_limit || *phase.borrow() != Phase::Serving {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response.map(|body| handle.track_body(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // From the end of one response to the end of the next request's headers.
        .header_read_timeout(idle_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADER_FIELDS)
        .serve_connection(TokioIo::new(io), service);
    let serving = async {
        let mut connection = pin!(connection);
        // Errors are ignored: resets, timeouts and malformed requests are the client's doing.
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = closing(phase) => {}
        }
        tokio::select! {
            _ = connection.as_mut() => return,
            () = sleep(CLOSE_DELAY) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    };
    let _ = Abortable::new(serving, aborted).await;
    drop(permit);
}

/// A connection that was accepted.
struct Accepted<T = TcpStream> {
    stream: T,
    peer: SocketAddr,
    permit: ConnectionPermit,
}

/// Permits for connections: `limits.max_connections`, and some extra ones on which probes are
/// answered and all other requests get a 503. When the extra permits are taken too, connections
/// wait in the kernel's accept queue.
struct ConnectionPermits {
    within_limit: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// The permits of an open connection.
struct ConnectionPermit {
    /// `None` for a connection beyond the limit.
    within_limit: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
}

impl ConnectionPermits {
    fn new(max_connections: usize) -> Self {
        let extra = (max_connections / 4).max(MIN_EXTRA_CONNECTIONS);
        Self {
            within_limit: Arc::new(Semaphore::new(max_connections)),
            all: Arc::new(Semaphore::new(max_connections + extra)),
        }
    }

    /// Accepts a connection once there is a permit for it.
    async fn accept(&self, listener: &TcpListener) -> io::Result<Accepted> {
        let any = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        let within_limit = Arc::clone(&self.within_limit).try_acquire_owned().ok();
        Ok(Accepted { stream, peer, permit: ConnectionPermit { within_limit, _any: any } })
    }
}

fn set_socket_options(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_timeout))?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests;
