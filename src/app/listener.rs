//! The listening sockets, and the servers on them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use crate::config::Config;
use crate::http::{Gateway, ListenerSettings, Phase, Server, ServerTls, TlsError, current_service};

/// How many connections may wait to be accepted.
const MAX_BACKLOG_CONNECTIONS: i32 = 1024;

/// A listening socket. Clients can connect, but are not accepted yet.
pub(super) struct BoundListener {
    listener: StdListener,
    pub(super) address: SocketAddr,
}

impl BoundListener {
    /// Listens on `address`. Errors name `key`, the setting that the address comes from.
    pub(super) fn new(key: &'static str, address: SocketAddr) -> Result<Self, StartError> {
        let bind = || {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(address),
                socket2::Type::STREAM,
                None,
            )?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(MAX_BACKLOG_CONNECTIONS)?;
            let listener = StdListener::from(socket);
            // The actual port, if the configured one is 0.
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|error| StartError::Listen(key, address, error))
    }
}

/// The TLS of the listeners; `None` for plain HTTP.
pub(super) fn server_tls(config: &Config) -> Result<Option<Arc<ServerTls>>, TlsError> {
    Ok(config.tls.as_ref().map(ServerTls::new).transpose()?.map(Arc::new))
}

/// The settings of the public and of the admin listener.
pub(super) fn listener_settings(
    config: &Config,
    tls: Option<Arc<ServerTls>>,
) -> (ListenerSettings, ListenerSettings) {
    let limits = config.limits;
    let admin = ListenerSettings { limits, tls: tls.clone().filter(|_| config.admin.tls) };
    (ListenerSettings { limits, tls }, admin)
}

/// The public listener's server, on the current runtime.
pub(super) struct PublicServer {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

impl PublicServer {
    /// Starts the server, which follows the phases that `phase` sends.
    pub(super) fn start(
        bound: BoundListener,
        gateways: watch::Receiver<Arc<Gateway>>,
        settings: watch::Receiver<ListenerSettings>,
        phase: watch::Sender<Phase>,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(bound.listener)?;
        let server = Server::new(listener, settings, phase.subscribe());
        let task = tokio::spawn(server.run(current_service::public_service(gateways)));
        Ok(Self { phase, task })
    }

    /// Enters a later phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until the server has ended: after [`Phase::Closing`], or because it panicked.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for PublicServer {
    fn drop(&mut self) {
        self.enter(Phase::Closing);
    }
}

/// The admin listener's server, for probes and metrics. It has a thread of its own, so that load on
/// the public listener does not delay it. It answers until this value is dropped, so that probes
/// get a 503 while the process stops, and not a refused connection.
pub(super) struct AdminServer {
    phase: watch::Sender<Phase>,
}

impl AdminServer {
    pub(super) fn start(
        bound: BoundListener,
        gateways: watch::Receiver<Arc<Gateway>>,
        settings: watch::Receiver<ListenerSettings>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (phase, phases) = watch::channel(Phase::Serving);
        let serve = move || {
            runtime.block_on(async move {
                let listener = match TcpListener::from_std(bound.listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "the admin listener cannot serve"),
                };
                let service = current_service::admin_service(gateways);
                Server::new(listener, settings, phases).run(service).await;
            });
        };
        thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
        Ok(Self { phase })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closing);
    }
}
