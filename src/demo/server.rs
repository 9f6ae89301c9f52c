//! The demo upstream's listener and connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Options;
use super::service::Service;

/// A running demo upstream. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    /// Aborted on drop.
    _server: JoinSet<()>,
}

impl Upstream {
    /// Binds the address, loads the data, and serves on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if an option is out of range or a file of
    /// [`super::Data::Directory`] cannot be read; else the error from binding the address.
    pub async fn start(options: Options) -> io::Result<Self> {
        let address = options.listen;
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        };
        // Binds before loading the data, which can take a while, to report a used address at once.
        let listener = TcpListener::bind(address).await.map_err(named)?;
        let address = listener.local_addr().map_err(named)?;
        let service = tokio::task::spawn_blocking(|| Service::new(options))
            .await
            .map_err(io::Error::other)??;
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::new(service)));
        Ok(Self { address, _server: server })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, service.clone()));
                }
                Err(error) => {
                    // The usual cause is a lack of file descriptors, so an immediate retry would
                    // fail too.
                    tracing::warn!(%error, "demo upstream cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, service: Arc<Service>) {
    // Ignored, because this only affects latency.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request.into_parts().0).await) }
    });
    // No timer, so that idle connections stay open: closing one while a client reuses it would be a
    // fault that was not requested.
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "demo upstream lost a connection");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_call_ends_when_its_client_disconnects() {
        let options = Options { latency: Duration::from_hours(1), ..Options::default() };
        let service = Arc::new(Service::new(options).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(accept(listener, service.clone()));

        let mut client = TcpStream::connect(address).await.unwrap();
        // demo:demo
        let request =
            "GET /identities/ HTTP/1.1\r\nhost: demo\r\nauthorization: Basic ZGVtbzpkZW1v\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        service.wait_for_in_flight(1).await;
        drop(client);
        service.wait_for_in_flight(0).await;
    }
}
