//! A TCP proxy that stands for the network between a client and a server: it can be cut, stalled
//! and delayed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The state of the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// Everything passes.
    Up,
    /// Everything passes this much later.
    Delayed(Duration),
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Connections end, and new ones end at once.
    Cut,
}

/// The proxy; it ends with all its connections when dropped.
pub struct TcpProxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    serving: JoinHandle<()>,
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl TcpProxy {
    /// Forwards from a free port of 127.0.0.1.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = watch::Sender::new(Network::Up);
        let serving = tokio::spawn(serve(listener, target, network.subscribe()));
        Self { address, network, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the network, for open connections too.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, network: watch::Receiver<Network>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(forward(client, target, network.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(
    client: TcpStream,
    target: SocketAddr,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut passing = network.clone();
    let connected = async {
        pass(&mut passing).await;
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = copy(from_client, to_server, passing.clone()) => ended,
            ended = copy(from_server, to_client, passing) => ended,
        }
    };
    tokio::select! {
        ended = connected => ended,
        _ = network.wait_for(|network| *network == Network::Cut) => Ok(()),
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        pass(&mut network).await;
        to.write_all(&buffer[..length]).await?;
    }
}

/// Waits until the network lets something pass.
async fn pass(network: &mut watch::Receiver<Network>) {
    let network = network.wait_for(|network| *network != Network::Stalled).await;
    if let Ok(Network::Delayed(by)) = network.map(|network| *network) {
        sleep(by).await;
    }
}
