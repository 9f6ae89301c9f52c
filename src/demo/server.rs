//! Connections of the demo upstream.

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

/// A demo upstream that serves until it is dropped, which also ends its connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    /// Aborted on drop.
    _server: JoinSet<()>,
}

impl Upstream {
    /// Binds, reads or makes the data, and serves on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if an option is out of range or a file of
    /// [`super::Data::Directory`] cannot be read, naming it; else what binding gave, naming the
    /// address.
    pub async fn start(options: Options) -> io::Result<Self> {
        let wanted = options.listen;
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {wanted}: {error}"))
        };
        // Before the data, which can be large: a port in use is told at once.
        let listener = TcpListener::bind(wanted).await.map_err(named)?;
        let address = listener.local_addr().map_err(named)?;
        let service = tokio::task::spawn_blocking(|| Service::new(options))
            .await
            .map_err(io::Error::other)??;
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::new(service)));
        Ok(Self { address, _server: server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine, without a slash at its end.
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
                    // Out of file descriptors, most likely; trying again at once would only burn
                    // the CPU.
                    tracing::warn!(%error, "demo upstream cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, service: Arc<Service>) {
    // Small answers must not wait for an acknowledgement; without the option they still come.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request.into_parts().0).await) }
    });
    // No timer: an idle connection stays open, since closing one just as a client uses it again
    // would be a fault that nobody asked for.
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "demo upstream lost a connection");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_that_hangs_up_gives_its_place_up() {
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
