//! A listener with TLS in front of a gateway whose snapshots the test publishes.

use std::net::SocketAddr;
use std::sync::Arc;

use incident_gateway::config::{Limits, Tls};
use incident_gateway::http::{ListenerSettings, Server, ServerTls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::snapshot_gateway::SnapshotGateway;

pub struct TlsListener {
    pub(crate) gateway: SnapshotGateway,
    pub address: SocketAddr,
    pub settings: watch::Sender<ListenerSettings>,
    /// Ends after [`Phase::Closing`](incident_gateway::http::Phase::Closing).
    pub serving: JoinHandle<()>,
}

fn server_tls(tls: &Tls) -> Arc<ServerTls> {
    Arc::new(ServerTls::new(tls).unwrap())
}

impl TlsListener {
    /// A listener in front of the data of `fixtures/`.
    pub async fn start(tls: Option<&Tls>, change: impl FnOnce(&mut Limits)) -> Self {
        Self::in_front_of(SnapshotGateway::with_fixtures(), tls, change).await
    }

    pub(crate) async fn in_front_of(
        gateway: SnapshotGateway,
        tls: Option<&Tls>,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut limits = gateway.config.limits;
        change(&mut limits);
        let settings = ListenerSettings { limits, tls: tls.map(server_tls) };
        let (settings, receiver) = watch::channel(settings);
        let server = Server::new(listener, receiver, gateway.phase.subscribe());
        let serving = tokio::spawn(server.run(gateway.inner.public_service()));
        Self { gateway, address, settings, serving }
    }

    /// What a reload of `tls` does.
    pub fn set_tls(&self, tls: &Tls) {
        self.settings.send_modify(|settings| settings.tls = Some(server_tls(tls)));
    }
}
