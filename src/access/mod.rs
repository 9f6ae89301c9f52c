//! Who a caller is, and what they may see: decided from the credentials of a request and the
//! certificate of its connection.
//!
//! [`Access`] is made from one configuration and never changes; a reload makes another one, which
//! takes over the memory of failed attempts and the keys of the issuer.

mod attempts;
mod authorization;
mod certificate;
mod decision;
mod grant;
pub mod jwt;
mod keyed_hash;
mod known_tokens;
mod metrics;
mod password_checks;
mod passwords;
mod sign_in;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

pub use certificate::{AuthorityId, ClientCertificate, authority_id};
pub use decision::{Decision, Refusal, TokenError};
pub use grant::{Grant, Method};
pub use metrics::{AccessMetrics, Failure};

pub use crate::credentials::Scope;

use self::attempts::Address;
use self::authorization::Authorization;
use self::certificate::RequiredCertificate;
use self::grant::Credential;
use self::password_checks::PasswordChecks;
use self::sign_in::SignIn;
use crate::config::{Admin, Config};

/// Decides who may see what on a listener, by one configuration.
#[derive(Debug)]
pub struct Access {
    certificate: Option<RequiredCertificate>,
    sign_in: Option<Arc<SignIn>>,
    /// What everybody gets if neither is required.
    open: Arc<Grant>,
    /// Outlives a reload; none until a configuration has `auth`.
    checks: Option<Arc<PasswordChecks>>,
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
        let open = Arc::new(Grant::open());
        Arc::new(Self { certificate: None, sign_in: None, open, checks: None })
    }

    /// Access control of the public listener as configured: open without `auth` and client
    /// certificates. `previous` is that of the configuration before, on a reload. Must be called on
    /// the runtime that serves, for tasks that fetch keys.
    ///
    /// # Errors
    ///
    /// When the threads that check passwords, or the client that fetches keys, cannot be set up.
    pub fn new(
        config: &Config,
        previous: Option<&Self>,
        metrics: &AccessMetrics,
    ) -> Result<Arc<Self>, SetupError> {
        let authorities = config.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        let certificate = authorities.map(|file| RequiredCertificate {
            authority: authority_id(file),
            metrics: metrics.clone(),
        });
        let mut checks = previous.and_then(|previous| previous.checks.clone());
        let sign_in = if config.sign_in.is_empty() {
            None
        } else {
            let checks = match &mut checks {
                Some(checks) => checks,
                none => none.insert(Arc::new(PasswordChecks::new()?)),
            };
            let previous = previous.and_then(|previous| previous.sign_in.as_deref());
            Some(Arc::new(SignIn::new(config, previous, Arc::clone(checks), metrics)?))
        };
        Ok(Arc::new(Self { certificate, sign_in, open: Arc::new(Grant::open()), checks }))
    }

    /// Access control of the admin listener: the same, as far as `tls` and `auth` hold for it.
    #[must_use]
    pub fn of_admin_listener(&self, admin: Admin) -> Arc<Self> {
        Arc::new(Self {
            certificate: self.certificate.clone().filter(|_| admin.tls),
            sign_in: self.sign_in.clone().filter(|_| admin.auth),
            open: Arc::clone(&self.open),
            checks: self.checks.clone(),
        })
    }

    /// Whether everybody may see everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.certificate.is_none() && self.sign_in.is_none()
    }

    /// The values of `WWW-Authenticate` (RFC 9110, section 11.6.1), one for each scheme that is
    /// configured.
    #[must_use]
    pub fn challenges(&self, error: Option<TokenError>) -> Vec<HeaderValue> {
        self.sign_in.as_ref().map(|sign_in| sign_in.challenges(error)).unwrap_or_default()
    }

    /// Whether a certificate was verified against the authorities that this configuration has.
    #[must_use]
    pub fn trusts(&self, certificate: &ClientCertificate) -> bool {
        let required = self.certificate.as_ref();
        required.is_some_and(|required| required.authority == certificate.authority)
    }

    /// Decides who the sender of a request is. `peer` is the connection's address, `certificate`
    /// the one that its client has proved to own.
    #[must_use]
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        certificate: Option<&ClientCertificate>,
    ) -> Decision {
        if self.is_open() {
            return Decision::Ready(Ok(Arc::clone(&self.open)));
        }
        let authorization = Authorization::of(headers);
        if matches!(authorization, Authorization::Repeated) {
            return Decision::Ready(Err(Refusal::RepeatedAuthorization));
        }
        let holder = match &self.certificate {
            None => None,
            Some(required) => match required.holder(certificate) {
                None => {
                    required.metrics.record(Failure::Certificate);
                    return Decision::Ready(Err(Refusal::Unauthorized { has_token: false }));
                }
                holder => holder,
            },
        };
        match (&self.sign_in, holder) {
            (Some(sign_in), _) => {
                let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
                sign_in.check(authorization, Address::from(peer))
            }
            (None, Some(holder)) => {
                let holder = Arc::clone(holder);
                Decision::Ready(Ok(Arc::new(Grant::new(
                    holder,
                    Scope::All,
                    Credential::Certificate,
                ))))
            }
            (None, None) => Decision::Ready(Ok(Arc::clone(&self.open))),
        }
    }

    /// Whether a grant, which may be of an earlier configuration, still holds for the client with
    /// this certificate: the same credential would get the same principal and scope now, and has
    /// not expired.
    #[must_use]
    pub fn still_grants(&self, grant: &Grant, certificate: Option<&ClientCertificate>) -> bool {
        let has_certificate = match &self.certificate {
            None => true,
            Some(required) => required.holder(certificate).is_some(),
        };
        has_certificate
            && match (&self.sign_in, grant.credential()) {
                (Some(sign_in), _) => sign_in.still_grants(grant),
                (None, Credential::Certificate) => self.certificate.is_some(),
                (None, Credential::None) => self.is_open(),
                (None, _) => false,
            }
    }
}

#[cfg(test)]
mod tests;
