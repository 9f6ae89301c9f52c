//! Accepting connections, bounding them, and ending them in order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::body::Body;
use super::head_deadline::{HeadDeadline, HeadDone};
use super::idle_timer::IdleTimer;
use crate::config::Limits;

/// The most bytes of a request's line and headers.
const HEADER_BYTES: usize = 64 << 10;

/// How much of an answer the kernel takes at once, about (`SO_SNDBUF`; Linux grants twice that, up
/// to twice `net.core.wmem_max`). Left to itself it grows to several megabytes, and large answers
/// leave more slowly: see docs/PERFORMANCE.md.
const SEND_BUFFER: usize = 512 << 10;

/// How long a kept-alive connection may still bring a request once the listener has closed. Its
/// answer says `Connection: close`; closing the connection at once could lose a request that is on
/// its way.
const LINGER: Duration = Duration::from_millis(500);

/// How long to wait when the process has no file descriptors left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The least number of connections beyond `limits.max_connections` that are taken to be told so.
const SPARE_CONNECTIONS: usize = 64;

/// How long a connection beyond the limit may take to ask.
const SPARE_PATIENCE: Duration = Duration::from_secs(5);

/// Marks a request over a connection beyond `limits.max_connections`: only probes are answered
/// there, and no second one.
#[derive(Clone, Copy, Debug)]
pub(super) struct BeyondLimit;

/// Where the server stands in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves, but says at `/readyz` that it will stop, and lets no connection be used again.
    Draining,
    /// It takes no new connection and ends when the open ones have.
    Closing,
}

/// A listener with its limits.
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    phase: watch::Receiver<Phase>,
}

impl Server {
    /// A server that is about to accept on `listener`.
    #[must_use]
    pub fn new(listener: TcpListener, limits: Limits, phase: watch::Receiver<Phase>) -> Self {
        Self { listener, limits, phase }
    }

    /// Serves until the phase is [`Phase::Closing`] and every connection has ended.
    pub async fn run<H, F>(mut self, handler: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let places = Places::new(self.limits.max_connections);
        let mut phase = self.phase.clone();
        let mut closing = std::pin::pin!(async move {
            // An error means that nobody is left to change the phase: the process is ending.
            let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
        });
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = places.accept(&self.listener) => accepted,
                () = &mut closing => break,
            };
            match accepted {
                Ok((stream, place)) => self.spawn(&mut connections, stream, place, handler.clone()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections that the kernel has accepted already get their answer too.
        while let Some(Ok((stream, place))) = places.accept(&self.listener).now_or_never() {
            self.spawn(&mut connections, stream, place, handler.clone());
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    fn spawn<H, F>(
        &mut self,
        connections: &mut JoinSet<()>,
        stream: TcpStream,
        place: Place,
        handler: H,
    ) where
        H: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        if let Err(error) = prepare(&stream, &self.limits) {
            tracing::debug!(%error, "cannot set a socket option");
        }
        let mut builder = http1::Builder::new();
        let Limits { header_timeout, idle_timeout, .. } = self.limits;
        let is_beyond_limit = place.ordinary.is_none();
        let patience =
            if is_beyond_limit { SPARE_PATIENCE.min(idle_timeout) } else { idle_timeout };
        builder.timer(IdleTimer::new()).header_read_timeout(patience).max_buf_size(HEADER_BYTES);
        builder.max_header_size(HEADER_BYTES);
        let head_done = HeadDone::default();
        let stream = HeadDeadline::new(stream, header_timeout, head_done.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            head_done.note();
            if is_beyond_limit {
                request.extensions_mut().insert(BeyondLimit);
            }
            handler(request).map(Ok::<_, Infallible>)
        });
        let mut phase = self.phase.clone();
        connections.spawn(async move {
            let _place = place;
            let mut connection =
                std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
            // How a connection ends is the client's affair: resets, timeouts and garbage are no
            // fault of ours.
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
            }
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(LINGER) => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        });
    }
}

/// The places for connections: those within the limit, and spare ones, so that whoever comes when
/// it is reached hears of it, and probes are answered. With all of these taken too, connections
/// wait in the kernel's queue.
struct Places {
    ordinary: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// A connection's place.
struct Place {
    /// None for a spare one.
    ordinary: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
}

impl Places {
    fn new(ordinary: usize) -> Self {
        let spare = (ordinary / 4).max(SPARE_CONNECTIONS);
        Self {
            ordinary: Arc::new(Semaphore::new(ordinary)),
            all: Arc::new(Semaphore::new(ordinary + spare)),
        }
    }

    /// A connection, once there is a place for it.
    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Place)> {
        let any = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let ordinary = Arc::clone(&self.ordinary).try_acquire_owned().ok();
        Ok((stream, Place { ordinary, _any: any }))
    }
}

fn prepare(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_timeout))?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    Ok(())
}
