//! The certificates of clients.

use std::sync::Arc;

/// Identifies the configured authorities of client certificates: the SHA-256 digest of their file.
pub type AuthorityId = [u8; 32];

/// A client's certificate, which was verified in the TLS handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The subject's common name; `None` if it has none.
    pub common_name: Option<Arc<str>>,
    /// The authorities against which it was verified.
    pub authority: AuthorityId,
}
