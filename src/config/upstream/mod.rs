//! Upstreams: how they are called, and with which credentials.

mod auth;
mod credentials;
mod draft;
mod overlay;
mod print;
mod values;

pub use auth::{Auth, AuthHeader, ClientAuth, OAuth2};
pub(super) use draft::Draft;
pub(super) use overlay::{overlay, variable_part};
pub(super) use print::show_all;
pub(super) use values::{
    authorities, chain, concurrency, key, password, password_file, proxy, rate, show_concurrency,
    show_rate, username,
};

use std::time::Duration;

use crate::config::{ConfigErrorKind, PemFile, Secret};

/// Printed instead of a secret. It is loaded as a secret that is not known, so that the output of
/// `check` can be used as a configuration file.
pub(super) const MASK: &str = "********";

/// How the upstream is called, and how heavily it may be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Scheme, host, port and an optional path prefix; `http` or `https`, without user information,
    /// query or fragment.
    pub base_url: reqwest::Url,
    /// The Basic auth user name, where `auth` is `None`. The default upstream must have one, or
    /// `auth`, if it is called.
    pub username: Option<String>,
    /// The Basic auth password, where `auth` is `None`; never printed.
    pub password: Option<Secret>,
    /// How requests are authenticated; excludes `username` and `password`.
    pub auth: Option<Auth>,
    /// Certificates that are trusted beside the system's.
    pub ca: Option<PemFile>,
    /// The certificate and the key that this client presents.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy, `http` or `https`; never taken from the environment.
    pub proxy: Option<reqwest::Url>,
    /// The most requests in a time, evenly spaced.
    pub rate: Option<Rate>,
    /// The deadline of one call: connecting, headers and the whole body.
    pub timeout: Duration,
    /// The deadline of connecting alone.
    pub connect_timeout: Duration,
    /// How many calls may be in flight at once.
    pub concurrency: Concurrency,
    /// The most that [`Concurrency::Auto`] may reach.
    pub max_concurrency: usize,
    /// How often a failed call is retried within a refresh.
    pub retries: usize,
    /// The largest body accepted, in bytes after decompression.
    pub max_body: u64,
}

/// The number of upstream calls in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Concurrency {
    /// Adapted to the upstream's measured throughput.
    Auto,
    /// Always this many; at least 1.
    Fixed(usize),
}

/// The name of the default upstream; no other may have it.
pub const DEFAULT_UPSTREAM: &str = "default";

/// An upstream beside the default one.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedUpstream {
    /// Its name, by which sources refer to it; written like a source's.
    pub name: String,
    /// How it is called.
    pub settings: Upstream,
}

impl Upstream {
    /// The defaults of every setting but `base_url`, which has none.
    pub(super) fn with_base_url(base_url: reqwest::Url) -> Self {
        Self {
            base_url,
            username: None,
            password: None,
            auth: None,
            ca: None,
            client_certificate: None,
            proxy: None,
            rate: None,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            concurrency: Concurrency::Auto,
            max_concurrency: 8,
            retries: 2,
            max_body: 64 << 20,
        }
    }
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// The certificate chain.
    pub certificate: PemFile,
    /// The private key.
    pub key: PemFile,
}

impl ClientCertificate {
    /// The files of `client_cert_file` and `client_key_file`, which need each other; the error
    /// comes with its key. A file may be missing beside the other because it is wrong, which is
    /// reported already: then `are_both_set`.
    pub(super) fn pair(
        certificate: Option<PemFile>,
        key: Option<PemFile>,
        are_both_set: bool,
    ) -> Result<Option<Self>, (&'static str, ConfigErrorKind)> {
        let alone = |given, missing| {
            let detail = format!("needs `{missing}` beside it");
            Err((given, ConfigErrorKind::Detail(detail)))
        };
        match (certificate, key) {
            (None, None) => Ok(None),
            (None, _) | (_, None) if are_both_set => Ok(None),
            (Some(_), None) => alone("client_cert_file", "client_key_file"),
            (None, Some(_)) => alone("client_key_file", "client_cert_file"),
            (Some(certificate), Some(key)) => {
                certificate.check_key(&key).map_err(|kind| ("client_key_file", kind))?;
                Ok(Some(Self { certificate, key }))
            }
        }
    }
}

/// At most `requests` in each `per`, evenly spaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// At least 1.
    pub requests: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}
