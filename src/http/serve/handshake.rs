//! The TLS handshake of a connection.

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::EXTRA_CONNECTION_IDLE_TIMEOUT;
use super::end::EndSignals;
use crate::access::ClientCertificate;
use crate::config::Limits;
use crate::http::connection::{Client, Transport};
use crate::http::tls::{ALPN_HTTP_2, ServerTls};

/// A connection after its handshake.
pub(super) struct Secured<T> {
    pub(super) stream: TlsStream<T>,
    pub(super) client: Client,
    /// The client's certificate and those with it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) is_http2: bool,
}

/// Performs the handshake within `limits.header_timeout`, and gives the client the certificate that
/// it has proved to own. `None` if it fails, which is logged at the lowest level only: a port scan
/// must not fill the log.
pub(super) async fn handshake<T: Transport>(
    stream: T,
    tls: &ServerTls,
    client: Client,
    limits: &Limits,
    end: &EndSignals,
) -> Option<Secured<T>> {
    let most = if client.is_beyond_limit {
        EXTRA_CONNECTION_IDLE_TIMEOUT.min(limits.header_timeout)
    } else {
        limits.header_timeout
    };
    let accepted = tokio::select! {
        biased;
        accepted = timeout(most, tls.acceptor().accept(stream)) => accepted,
        () = end.closed() => return None,
    };
    let peer = client.address;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "a TLS handshake took too long");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(ALPN_HTTP_2);
    let certificates = session.peer_certificates().unwrap_or_default();
    let chain: Vec<_> = certificates.iter().map(|its| its.clone().into_owned()).collect();
    let certificate = match (tls.authority(), chain.first()) {
        (Some(authority), Some(first)) => Some(ClientCertificate::from_der(first, authority)),
        _ => None,
    };
    Some(Secured { stream, client: client.with_certificate(certificate), chain, is_http2 })
}
