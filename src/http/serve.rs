//! The listener: accepts connections, bounds their number, and shuts down gracefully.
//!
//! | file | purpose |
//! |---|---|
//! | [`permits`] | bounds the number of connections |
//! | [`handshake`] | the TLS handshake |
//! | [`http1`], [`http2`] | serve one connection |
//! | [`end`] | when a connection must end although its client would go on |

mod end;
mod handshake;
mod http1;
mod http2;
mod permits;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use self::end::{EndSignals, closing};
use self::handshake::{Secured, handshake};
use self::permits::{Accepted, ConnectionPermits};
use super::connection::{Client, MinSendRate, Transport};
use super::service::HttpService;
use super::tls::ServerTls;
use crate::config::Limits;
use futures::FutureExt as _;
use hyper::body::Incoming;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The largest request line and headers together.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The send buffer of a connection (`SO_SNDBUF`; Linux grants twice that, up to twice
/// `net.core.wmem_max`). With the kernel's automatic tuning it grows to several megabytes, and
/// large responses are slower: see docs/PERFORMANCE.md.
const SEND_BUFFER_BYTES: usize = 512 << 10;

/// For how long a client may read less of a response than `limits.min_send_rate` asks for.
const MIN_SEND_RATE_GRACE: Duration = Duration::from_secs(30);

/// The delay after an accept has failed. The usual cause is that the process has no file descriptor
/// left, so an immediate retry would fail too.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

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
        let Self { listener, mut settings, phase } = self;
        // One receiver for the accepting loop, which marks settings as seen.
        let current = settings.clone();
        let mut connections = JoinSet::new();
        let permits = ConnectionPermits::default();
        let spawn = |connections: &mut JoinSet<()>, accepted: Accepted| {
            let limits = current.borrow().limits;
            if let Err(error) = set_socket_options(&accepted.stream, &limits) {
                tracing::debug!(%error, "cannot set a socket option");
            }
            let serving =
                serve_connection(accepted, current.clone(), phase.clone(), service.clone());
            connections.spawn(serving);
        };
        let mut closing = pin!(closing(phase.clone()));
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = permits.accept(&listener, &mut settings) => accepted,
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
        while let Some(Ok(accepted)) = permits.accept(&listener, &mut settings).now_or_never() {
            spawn(&mut connections, accepted);
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Serves one connection by the newest settings until it ends, or must.
async fn serve_connection<T: Transport>(
    Accepted { stream, peer, permit }: Accepted<T>,
    settings: watch::Receiver<ListenerSettings>,
    phase: watch::Receiver<Phase>,
    service: impl HttpService<Incoming>,
) {
    let client = Client::new(peer, permit.is_beyond_limit());
    let ListenerSettings { limits, tls } = settings.borrow().clone();
    let end = EndSignals::new(phase);
    match tls {
        None => http1::serve(stream, client, limits, end, service).await,
        // Boxed, so that connections without TLS need no memory for it.
        Some(tls) => {
            let serving = serve_over_tls(stream, &tls, client, limits, end, settings, service);
            Box::pin(serving).await;
        }
    }
    drop(permit);
}

async fn serve_over_tls<T: Transport>(
    stream: T,
    tls: &ServerTls,
    client: Client,
    limits: Limits,
    end: EndSignals,
    settings: watch::Receiver<ListenerSettings>,
    service: impl HttpService<Incoming>,
) {
    let secured = handshake(stream, tls, client, &limits, &end).await;
    let Some(Secured { stream, client, chain, is_http2 }) = secured else { return };
    let end = end.of_authority(settings, tls.authority(), chain);
    if is_http2 {
        http2::serve(stream, client, limits, end, service).await;
    } else {
        http1::serve(stream, client, limits, end, service).await;
    }
}

/// How long a connection may be without a request.
fn idle_timeout(client: &Client, limits: &Limits) -> Duration {
    if client.is_beyond_limit {
        EXTRA_CONNECTION_IDLE_TIMEOUT.min(limits.idle_timeout)
    } else {
        limits.idle_timeout
    }
}

fn min_send_rate(limits: &Limits) -> MinSendRate {
    MinSendRate { bytes_per_second: limits.min_send_rate, grace: MIN_SEND_RATE_GRACE }
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
