//! Clients of a gateway that speaks TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::{Authority, Identity};
use super::client::Client;

pub const H2: &[u8] = b"h2";
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// A TLS client that trusts this authority and offers these protocols.
pub fn client(
    trusted: &Authority,
    protocols: &[&[u8]],
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let key = PrivateKeyDer::Pkcs8(key.clone().into());
            builder.with_client_auth_cert(chain.clone(), key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// The same for TLS 1.2 and 1.3.
pub fn any_version(
    trusted: &Authority,
    protocols: &[&[u8]],
    identity: Option<&Identity>,
) -> Arc<ClientConfig> {
    client(trusted, protocols, identity, rustls::ALL_VERSIONS)
}

/// Connects and performs the handshake.
pub async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// An HTTP/1.1 client over TLS.
pub async fn http1(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    Ok(Client::over(connect(address, config).await?))
}

/// A response over HTTP/2 with its whole body.
#[derive(Clone, Debug)]
pub struct H2Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl H2Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An HTTP/2 connection over TLS. Clones share it.
#[derive(Clone)]
pub struct H2Client {
    pub requests: SendRequest<Bytes>,
}

impl H2Client {
    pub async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::with(address, config, &h2::client::Builder::new()).await
    }

    pub async fn with(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        builder: &h2::client::Builder,
    ) -> Self {
        let stream = connect(address, config).await.unwrap();
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    pub async fn get(&self, path: &str) -> Result<H2Answer, h2::Error> {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<H2Answer, h2::Error> {
        let mut request = Request::builder().method(method).uri(format!("https://test{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, _) = requests.send_request(request.body(()).unwrap(), true)?;
        let (parts, mut stream) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(bytes) = stream.data().await {
            let bytes = bytes?;
            stream.flow_control().release_capacity(bytes.len())?;
            body.extend_from_slice(&bytes);
        }
        Ok(H2Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Waits until all sources have been fetched.
    pub async fn wait_until_complete(&self) {
        let began = Instant::now();
        while self.get("/incidents").await.unwrap().header("incident-completeness") != "complete" {
            assert!(began.elapsed() < Duration::from_mins(1), "never complete");
            sleep(Duration::from_millis(40)).await;
        }
    }
}
