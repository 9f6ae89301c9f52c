//! Certificates for upstreams over TLS.

use std::sync::Arc;

use rcgen::{Certificate, CertificateParams, CertifiedIssuer, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// An authority that nobody trusts but who is told to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its certificate, as a file of trusted ones holds it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server of this protocol (ALPN), with a certificate for these names.
    pub fn server(
        &self,
        protocol: &[u8],
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<rustls::ServerConfig> {
        self.server_with(WebPkiClientVerifier::no_client_auth(), protocol, names, change)
    }

    /// The same for clients with a certificate of another authority alone.
    pub fn server_for_clients_of(
        &self,
        clients: &Self,
        protocol: &[u8],
        names: &[&str],
    ) -> Arc<rustls::ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(clients.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        self.server_with(verifier, protocol, names, |_| {})
    }

    fn server_with(
        &self,
        clients: Arc<dyn ClientCertVerifier>,
        protocol: &[u8],
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<rustls::ServerConfig> {
        let (certificate, key) = self.certificate(names, change);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// A certificate for a client, and its key, as PEM.
    pub fn client(&self) -> (String, String) {
        let (certificate, key) = self.certificate(&["client.test"], |_| {});
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        (params.signed_by(&key, issuer).unwrap(), key)
    }
}
