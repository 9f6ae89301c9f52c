//! The configuration: every setting, its type and its default.
//!
//! A [`Config`] is built by [`load`] alone, which validates it; the rest of the program never sees
//! an invalid one.

mod environment;
mod error;
mod files;
mod load;
mod nearest;
mod print;
mod settings;
mod sources;
mod suggest;
mod value;
mod yaml;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrorKind, ConfigErrors, Excerpt, Location};
pub use load::{Overrides, admin_listen, from_yaml, load};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use secrecy::SecretString;

use crate::json::Path;
use crate::mapping::{IdentityEntry, IdentityKind, Paths, PriorityMapping, TimestampMapping};
use crate::request::{NextPage, RequestTemplate};

/// The whole configuration, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the public listener binds.
    pub listen: SocketAddr,
    /// Where the admin listener (`/metrics`, `/healthz`, `/readyz`) binds.
    pub admin_listen: SocketAddr,
    /// How long `/incidents` may take, whatever the upstream does.
    pub response_budget: Duration,
    /// The default upstream, named [`DEFAULT_UPSTREAM`].
    pub upstream: Upstream,
    /// The other upstreams, in the configured order.
    pub upstreams: Vec<NamedUpstream>,
    /// The tables that map identities to employees, in the order in which they are looked up.
    pub identities: Vec<Table>,
    /// The incident sources, in the order that breaks ties between equal timestamps.
    pub sources: Vec<Source>,
    /// How long data is fresh, how long stale data is served, and the size of the cache.
    pub cache: Cache,
    /// Limits on clients.
    pub limits: Limits,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// The format of the log; `None` means text on a terminal, JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// Export of traces over OTLP; off without an endpoint.
    pub otlp: Otlp,
}

/// How the upstream is called, and how heavily it may be loaded.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Scheme, host, port and an optional path prefix; `http` or `https`, without user information,
    /// query or fragment.
    pub base_url: reqwest::Url,
    /// The Basic auth user name, where `auth` is `None`. The default upstream must have one, or
    /// `auth`, if it is called.
    pub username: Option<String>,
    /// The Basic auth password, where `auth` is `None`; never printed.
    pub password: Option<SecretString>,
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
#[derive(Clone, Debug)]
pub struct NamedUpstream {
    /// Its name, by which sources refer to it; written like a source's.
    pub name: String,
    /// How it is called.
    pub settings: Upstream,
}

/// How requests are authenticated. Secrets are never printed.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all.
    None,
    /// Basic (RFC 7617).
    Basic {
        /// Without a colon.
        username: String,
        /// May be empty.
        password: SecretString,
    },
    /// A fixed token (RFC 6750).
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// Headers of any name.
    Headers(Vec<AuthHeader>),
    /// Tokens by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4).
    OAuth2(OAuth2),
}

/// A header that authenticates requests.
#[derive(Clone, Debug)]
pub struct AuthHeader {
    /// The header's name.
    pub name: HeaderName,
    /// The whole value, with the configured prefix.
    pub value: SecretString,
    /// The configured prefix, which is no secret.
    pub prefix: String,
}

/// The OAuth 2.0 client credentials grant.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// The token endpoint; no other host gets the secret.
    pub token_url: reqwest::Url,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// The scope that is asked for.
    pub scope: Option<String>,
    /// The audience that is asked for.
    pub audience: Option<String>,
    /// How the client authenticates at the token endpoint.
    pub client_auth: ClientAuth,
}

/// How a client authenticates at a token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// In the form (`client_secret_post`).
    #[default]
    Body,
    /// By Basic auth (`client_secret_basic`).
    Basic,
}

/// A PEM file, which was read and checked when the configuration was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PemFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its content.
    pub pem: Bytes,
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate chain.
    pub certificate: PemFile,
    /// The private key; never printed.
    pub key: PemFile,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate", &self.certificate.path)
            .field("key", &self.key.path)
            .finish()
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

/// The name of the first identity table among the sources; the others are `identities-2` and so
/// on. No incident source may take these names.
pub const IDENTITIES: &str = "identities";

/// The name of the identity table at this index, among the sources.
#[must_use]
pub fn table_name(index: usize) -> String {
    if index == 0 { IDENTITIES.to_owned() } else { format!("{IDENTITIES}-{}", index + 1) }
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// An endpoint of an upstream.
    Http(HttpOrigin),
    /// Files: a path or a glob, relative to the working directory.
    File(String),
}

/// An endpoint of an upstream, and how its list is read to the end.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpOrigin {
    /// The upstream's name.
    pub upstream: String,
    /// The request for the first page.
    pub request: RequestTemplate,
    /// How far back `{since}` goes; `None` where it is not set.
    pub window: Option<Duration>,
    /// How the next page is asked for; `None` if there is but one.
    pub next: Option<NextPage>,
    /// The most pages; a longer list fails.
    pub max_pages: usize,
    /// An answer with something at one of these paths has failed.
    pub fail_if: Vec<Path>,
}

impl HttpOrigin {
    /// `window` where it is not set.
    pub const DEFAULT_WINDOW: Duration = Duration::from_hours(30 * 24);
    /// `max_pages` where it is not set.
    pub const DEFAULT_MAX_PAGES: usize = 1000;

    /// An endpoint of the default upstream with a list of one page.
    #[must_use]
    pub fn endpoint(path: &str) -> Self {
        Self {
            upstream: DEFAULT_UPSTREAM.to_owned(),
            request: RequestTemplate { path: path.to_owned(), ..RequestTemplate::default() },
            window: None,
            next: None,
            max_pages: Self::DEFAULT_MAX_PAGES,
            fail_if: Vec::new(),
        }
    }
}

/// A table that maps identities to employees.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Where it comes from.
    pub origin: Origin,
    /// How often it is asked; `None` means `cache.ttl`.
    pub every: Option<Duration>,
    /// How rows are read; `None` for one object that maps addresses to employee ids.
    pub rows: Option<TableRows>,
}

/// How the rows of a table are read.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRows {
    /// The path to the list of rows; `None` means `/results`, or the whole file.
    pub records: Option<Path>,
    /// The path to the employee's id.
    pub employee: Path,
    /// The paths to the identities by which rows are looked up; at least one.
    pub keys: Vec<(IdentityKind, Path)>,
    /// The path to the person's name.
    pub name: Option<Path>,
}

/// Asks only for what is new (`incremental`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Incremental {
    /// How much is asked for again.
    pub overlap: Duration,
    /// How often everything in the window is asked for again.
    pub full_every: Duration,
}

/// One incident source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The `type` of its records: a lower-case letter, then lower-case letters, digits, `_` or
    /// `-`; unique.
    pub name: String,
    /// Where its records come from.
    pub origin: Origin,
    /// How often it is asked; `None` means `cache.ttl`.
    pub every: Option<Duration>,
    /// Whether only new records are asked for.
    pub incremental: Option<Incremental>,
    /// The path to the list of records; `None` means `/results`, or the whole file.
    pub records: Option<Path>,
    /// The paths to the parts of a record's id; none if records have no id.
    pub id: Paths,
    /// How a record's priority is found; `None` means its member `priority`, one of the four names.
    pub priority: Option<PriorityMapping>,
    /// How a record's time is found; `None` means its member `timestamp`, in seconds.
    pub timestamp: Option<TimestampMapping>,
    /// The values that may name the employee, in order of precedence; at least one.
    pub identity: Vec<IdentityEntry>,
    /// The paths to a record's title.
    pub title: Paths,
    /// The paths to a record's address for people.
    pub url: Paths,
}

impl Source {
    /// An endpoint of the default upstream whose records have these identity fields.
    #[must_use]
    pub fn plain(name: &str, path: &str, identity: &[&str]) -> Self {
        let entry = |name: &&str| IdentityEntry { at: Path::name(name), kind: None };
        Self {
            name: name.to_owned(),
            origin: Origin::Http(HttpOrigin::endpoint(path)),
            every: None,
            incremental: None,
            records: None,
            id: Vec::new(),
            priority: None,
            timestamp: None,
            identity: identity.iter().map(entry).collect(),
            title: Vec::new(),
            url: Vec::new(),
        }
    }

    /// The names of a plain source's identity fields, in order of precedence.
    #[must_use]
    pub fn identity_fields(&self) -> Vec<String> {
        self.identity.iter().map(|entry| entry.at.as_str().to_owned()).collect()
    }

    /// Whether its records are mapped, and so answered in an envelope.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.records.is_some()
            || !self.id.is_empty()
            || self.priority.is_some()
            || self.timestamp.is_some()
            || !self.title.is_empty()
            || !self.url.is_empty()
            || self.identity.iter().any(|entry| entry.kind.is_some())
            || matches!(self.origin, Origin::File(_))
    }
}

/// How long data is fresh, how long stale data is served, and the size of the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cache {
    /// The age at which data is refreshed.
    pub ttl: Duration,
    /// The age up to which a failing source's last good data is served; at least `ttl`.
    pub stale_for: Duration,
    /// The total size in bytes of rendered answers that are cached or still being sent, their keys
    /// included. The whole documents of the present data are not counted.
    pub max_bytes: u64,
}

/// Limits on clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most open connections on the public listener.
    pub max_connections: usize,
    /// The most requests in flight on the public listener; others are answered 503 `overloaded` at
    /// once.
    pub max_requests: usize,
    /// The most answers that are rendered at once; `None` means two for each core.
    pub max_renders: Option<usize>,
    /// The most open `/events` streams. A single client address may have an eighth of them.
    pub max_events: usize,
    /// How long a client may take to send a request's headers, from their first byte on.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a client may leave sent bytes unacknowledged before its connection is dropped.
    pub write_timeout: Duration,
    /// The least rate, in bytes a second, at which a client must read a response, after a grace of
    /// 30 s; 0 turns it off.
    pub min_send_rate: u64,
}

/// How the server stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shutdown {
    /// How long the listener keeps accepting after the first signal, while `/readyz` answers 503.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that delay.
    pub timeout: Duration,
}

/// The format of the log on stderr.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}

/// Export of traces over OTLP (HTTP, protobuf).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Otlp {
    /// The collector's URL, such as `http://localhost:4318/v1/traces`; off when absent.
    pub endpoint: Option<reqwest::Url>,
}

impl Config {
    /// The known fields of incident records, without `priority`, `timestamp` and `employee_id`. With
    /// plain sources: their distinct identity fields in the configured order, and `source_ip`; with
    /// mapped ones: the members of the envelope.
    #[must_use]
    pub fn known_fields(&self) -> Arc<[Arc<str>]> {
        let (mapped, plain): (Vec<_>, Vec<_>) =
            self.sources.iter().partition(|source| source.is_mapped());
        let mut names: Vec<&str> = Vec::new();
        if !plain.is_empty() {
            let identity = plain.iter().flat_map(|source| &source.identity);
            names.extend(identity.map(|entry| entry.at.as_str()));
            names.push("source_ip");
        }
        if !mapped.is_empty() {
            names.extend(["id", "title", "url", "record"]);
        }
        let mut fields: Vec<Arc<str>> = Vec::new();
        for field in names.into_iter().filter(|field| *field != "employee_id") {
            if !fields.iter().any(|known| **known == *field) {
                fields.push(field.into());
            }
        }
        fields.into()
    }

    /// Checks that both credentials are set, so that the upstream can be called.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::MissingCredentials`], which names both variables.
    pub fn require_credentials(&self) -> Result<(), ConfigErrors> {
        let missing = match (&self.upstream.username, &self.upstream.password) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "neither user nor password",
            (None, Some(_)) => "a password, but no user",
            (Some(_), None) => "a user, but no password",
        };
        let kind = ConfigErrorKind::MissingCredentials { missing };
        Err(ConfigErrors {
            errors: vec![ConfigError { location: None, setting: None, path: None, kind }],
        })
    }
}

impl Default for Config {
    /// The defaults of every setting, as documented in the README. Credentials have none.
    fn default() -> Self {
        let any_ipv4 = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let source = |name: &str, identity: &str| {
            Source::plain(name, &format!("/incidents/{name}/"), &[identity])
        };
        Self {
            listen: any_ipv4(9000),
            admin_listen: any_ipv4(9001),
            response_budget: Duration::from_millis(1900),
            upstream: Upstream {
                base_url: reqwest::Url::parse("https://incident-api.use1stag.elevatesecurity.io")
                    .expect("the default base URL is valid"),
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
            },
            upstreams: Vec::new(),
            identities: vec![Table {
                origin: Origin::Http(HttpOrigin::endpoint("/identities/")),
                every: None,
                rows: None,
            }],
            sources: vec![
                source("denial", "reported_by"),
                source("intrusion", "internal_ip"),
                source("executable", "machine_ip"),
                source("misuse", "employee_id"),
                source("unauthorized", "employee_id"),
                source("probing", "ip"),
                source("other", "identifier"),
            ],
            cache: Cache {
                ttl: Duration::from_secs(30),
                stale_for: Duration::from_hours(1),
                max_bytes: 64 << 20,
            },
            limits: Limits {
                max_connections: 4096,
                max_requests: 1024,
                max_renders: None,
                max_events: 256,
                header_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(75),
                write_timeout: Duration::from_secs(30),
                min_send_rate: 16 << 10,
            },
            shutdown: Shutdown { drain_delay: Duration::ZERO, timeout: Duration::from_secs(30) },
            log_format: None,
            otlp: Otlp::default(),
        }
    }
}
