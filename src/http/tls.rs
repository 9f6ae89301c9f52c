//! The TLS of a listener.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use crate::access::{AuthorityId, authority_id};
use crate::config::{PemFile, Tls};

/// HTTP/2 in ALPN (RFC 9113, section 3.2).
pub(super) const ALPN_HTTP_2: &[u8] = b"h2";

/// HTTP/1.1 in ALPN (RFC 7301, section 6).
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// What a listener needs for TLS handshakes, made from one configuration. It never changes: a
/// reload makes another one, with session storage of its own.
pub struct ServerTls {
    acceptor: TlsAcceptor,
    client_ca: Option<ClientCa>,
}

/// The authorities of client certificates.
struct ClientCa {
    id: AuthorityId,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why TLS cannot be set up, although each file is valid by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsError {
    setting: &'static str,
    file: String,
    reason: String,
}

impl TlsError {
    fn new(setting: &'static str, file: &PemFile, reason: impl fmt::Display) -> Self {
        Self { setting, file: file.path.display().to_string(), reason: reason.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {} cannot be used: {}", self.setting, self.file, self.reason)
    }
}

impl std::error::Error for TlsError {}

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate. With `client_ca` clients are asked for a certificate,
    /// but may go on without one.
    ///
    /// # Errors
    ///
    /// When a file is not what the setting asks for, or the key does not belong to the certificate.
    pub fn new(tls: &Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain: Vec<CertificateDer<'static>> = certificates("tls.cert_file", &tls.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&tls.key.pem)
            .map_err(|_| TlsError::new("tls.key_file", &tls.key, "it has no private key in PEM"))?;
        let client_ca = match &tls.client_ca {
            None => None,
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("tls.client_ca_file", file)? {
                    roots
                        .add(certificate)
                        .map_err(|error| TlsError::new("tls.client_ca_file", file, error))?;
                }
                // Whoever has no certificate is refused per request, so that probes are open.
                let provider = Arc::clone(&provider);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| TlsError::new("tls.client_ca_file", file, error))?;
                Some(ClientCa { id: authority_id(file), verifier })
            }
        };
        let clients = match &client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(ClientCa { verifier, .. }) => Arc::clone(verifier),
        };
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has cipher suites of both versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::new("tls.key_file", &tls.key, error))?;
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec(), ALPN_HTTP_1_1.to_vec()];
        if client_ca.is_some() {
            // A resumed session keeps the certificate of its first handshake unchecked, whether it
            // has expired since or not.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), client_ca })
    }

    /// Performs the server's side of handshakes.
    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// The authorities against which client certificates are verified; `None` if none are asked
    /// for.
    #[must_use]
    pub fn authority(&self) -> Option<AuthorityId> {
        self.client_ca.as_ref().map(|client_ca| client_ca.id)
    }

    /// The authorities of client certificates, if a certificate that others have verified, with
    /// those that came with it, is valid under them too. Its owner has proved to have the key.
    pub(super) fn verify_again(&self, chain: &[CertificateDer<'_>]) -> Option<AuthorityId> {
        let ClientCa { id, verifier } = self.client_ca.as_ref()?;
        let (certificate, intermediates) = chain.split_first()?;
        verifier.verify_client_cert(certificate, intermediates, UnixTime::now()).ok()?;
        Some(*id)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn certificates(
    setting: &'static str,
    file: &PemFile,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match CertificateDer::pem_slice_iter(&file.pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::new(setting, file, "it has no certificates in PEM")),
    }
}
