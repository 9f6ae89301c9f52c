//! The certificate of the servers over TLS, and a client that trusts it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use incident_gateway::config::{PemFile, Tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The address that the certificate is for.
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

const PROTOCOL: &[u8] = b"http/1.1";

/// A connection of a client, with or without TLS.
pub(crate) type Connection = Box<dyn Io>;

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

/// A folder with a certificate and its key, for the servers' processes too.
pub(crate) struct Certificate(PathBuf);

impl Certificate {
    /// Makes one in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![LOOPBACK.to_string()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        Self::at(folder)
    }

    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn folder(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn file(&self, name: &str) -> PemFile {
        let path = self.0.join(name);
        PemFile { pem: std::fs::read(&path).unwrap().into(), path }
    }

    pub(crate) fn of_gateway(&self) -> Tls {
        Tls { certificate: self.file("tls.crt"), key: self.file("tls.key"), client_ca: None }
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let file = self.file("tls.crt");
        CertificateDer::pem_slice_iter(&file.pem).collect::<Result<_, _>>().unwrap()
    }

    /// The TLS of a bare server.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(&self.file("tls.key").pem).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain(), key)
            .unwrap();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Arc::new(config).into()
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(self.chain());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Arc::new(config).into()
    }
}

/// TLS over this connection, if there is a connector.
pub(crate) async fn secured(stream: TcpStream, connector: Option<&TlsConnector>) -> Connection {
    match connector {
        None => Box::new(stream),
        Some(connector) => {
            Box::new(connector.connect(ServerName::from(LOOPBACK), stream).await.unwrap())
        }
    }
}
