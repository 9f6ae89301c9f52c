//! Certificates of servers and clients.

use std::sync::Arc;

use incident_gateway::config::{PemFile, Tls};
use rcgen::{Certificate, CertificateParams, CertifiedIssuer, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// An authority that nobody trusts but who is told to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(Self::params(name), key).unwrap() }
    }

    /// An authority that this one has certified.
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        Self { issuer: CertifiedIssuer::signed_by(Self::params(name), key, issuer).unwrap() }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
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

    /// The identity of a client whose certificate has no common name but by `change`.
    pub fn identity(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let change = |params: &mut CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            change(params);
        };
        let (certificate, key) = self.certificate(&[], change);
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// The identity of a client with this common name.
    pub fn named(&self, common_name: &str) -> Identity {
        self.identity(|params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        })
    }

    /// The `tls` of a gateway with a certificate for 127.0.0.1, for clients of this authority if
    /// there is one.
    pub fn gateway(&self, client_ca: Option<&Self>) -> Tls {
        let (certificate, key) = self.certificate(&["127.0.0.1"], |_| {});
        let file = |name: &str, pem: String| PemFile { path: name.into(), pem: pem.into() };
        Tls {
            certificate: file("tls.crt", certificate.pem()),
            key: file("tls.key", key.serialize_pem()),
            client_ca: client_ca.map(|authority| file("ca.crt", authority.pem())),
        }
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

/// A certificate with its chain, and its key in PKCS#8.
#[derive(Clone, Debug)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Vec<u8>,
}
