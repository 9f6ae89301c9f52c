//! The certificates of clients.

mod common_name;

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use self::common_name::common_name;
use super::AccessMetrics;
use crate::config::PemFile;

/// Identifies the configured authorities of client certificates: the SHA-256 digest of their file.
pub type AuthorityId = [u8; 32];

/// The id of the authorities in a file (`tls.client_ca_file`).
#[must_use]
pub fn authority_id(file: &PemFile) -> AuthorityId {
    let digest = digest(&SHA256, &file.pem);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A client's certificate, which was verified in the TLS handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The subject's last common name; `None` if it has none, or one that cannot be a principal.
    pub common_name: Option<Arc<str>>,
    /// The authorities against which it was verified.
    pub authority: AuthorityId,
}

impl ClientCertificate {
    /// Reads a certificate that was verified against `authority`.
    #[must_use]
    pub fn from_der(certificate: &CertificateDer<'_>, authority: AuthorityId) -> Self {
        let common_name = EndEntityCert::try_from(certificate)
            .ok()
            .and_then(|certificate| common_name(certificate.subject()));
        Self { common_name, authority }
    }
}

/// That a client needs a certificate.
#[derive(Clone, Debug)]
pub(super) struct RequiredCertificate {
    pub(super) authority: AuthorityId,
    pub(super) metrics: AccessMetrics,
}

impl RequiredCertificate {
    /// Whom a certificate names; `None` if it names nobody, or if other authorities have issued it:
    /// those of an earlier configuration.
    pub(super) fn holder<'a>(
        &self,
        certificate: Option<&'a ClientCertificate>,
    ) -> Option<&'a Arc<str>> {
        certificate.filter(|its| its.authority == self.authority)?.common_name.as_ref()
    }
}
