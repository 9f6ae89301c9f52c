//! Who may read: TLS, sign-in and hosts (sections `tls`, `auth` and `admin`, and `allowed_hosts`).

mod draft;
mod hosts;
mod values;
mod warnings;

use std::path::PathBuf;
use std::sync::Arc;

pub(super) use draft::{Draft, Files};
pub(super) use hosts::{read as read_hosts, show as show_hosts};
pub(super) use values::{
    audience, ca_file, cert_file, client_ca_file, employee_claim, issuer, jwks_url, key_file,
    proxy, scope_claim, tokens_file, users_file,
};

pub use warnings::Warning;

use super::PemFile;
use crate::credentials::{Tokens, Users};

/// The TLS of a listener (`tls`). The files were read and checked when the configuration was
/// loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PemFile,
    /// Its private key.
    pub key: PemFile,
    /// The authorities of client certificates; without them none is asked for.
    pub client_ca: Option<PemFile>,
}

/// How callers sign in (`auth`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignIn {
    /// By HTTP Basic.
    pub users: Option<CredentialFile<Users>>,
    /// By Bearer tokens.
    pub tokens: Option<CredentialFile<Tokens>>,
    /// By JSON Web Tokens.
    pub jwt: Option<Jwt>,
}

impl SignIn {
    /// Whether nobody needs to sign in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A file of credentials, with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialFile<T> {
    /// Where it was read.
    pub path: PathBuf,
    /// What it contains.
    pub content: Arc<T>,
}

/// JSON Web Tokens of an `OpenID` provider (RFC 7519, RFC 9068).
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// The issuer: the value of `iss`, compared byte for byte, and where discovery begins.
    pub issuer: String,
    /// The audience that `aud` must name.
    pub audience: String,
    /// Where the keys are, in place of discovery.
    pub jwks_url: Option<reqwest::Url>,
    /// Certificates that are trusted beside the system's when keys are fetched.
    pub ca: Option<PemFile>,
    /// The proxy of these calls.
    pub proxy: Option<reqwest::Url>,
    /// The claim with the employee's id.
    pub employee_claim: String,
    /// The claim with the scopes.
    pub scope_claim: String,
}

impl Jwt {
    /// `employee_claim` where it is not set.
    pub const DEFAULT_EMPLOYEE_CLAIM: &str = "employee_id";
    /// `scope_claim` where it is not set.
    pub const DEFAULT_SCOPE_CLAIM: &str = "scope";

    /// Whether nobody can replace the keys on their way from this URL: they come over `https`, or
    /// do not leave this machine, not even to a proxy.
    #[must_use]
    pub fn has_safe_way_to(&self, url: &reqwest::Url) -> bool {
        let is_local = || values::is_loopback(url) && self.proxy.iter().all(values::is_loopback);
        url.scheme() == "https" || is_local()
    }

    /// Whether this holds for the URL where the keys, or the issuer's configuration, are fetched.
    fn has_safe_way(&self) -> bool {
        match &self.jwks_url {
            Some(url) => self.has_safe_way_to(url),
            None => self.issuer.parse().is_ok_and(|issuer| self.has_safe_way_to(&issuer)),
        }
    }
}

/// Whether `tls` and `auth` hold for the admin listener too (`admin`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Admin {
    /// Whether the admin listener speaks TLS.
    pub tls: bool,
    /// Whether the admin listener asks for credentials.
    pub auth: bool,
}
