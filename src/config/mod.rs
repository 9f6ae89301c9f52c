//! The configuration: every setting, its type and its default.
//!
//! A [`Config`] is built by [`load`] alone, which validates it; the rest of the program never sees
//! an invalid one.

mod access;
mod environment;
mod error;
mod files;
mod forward;
mod load;
mod nearest;
mod pem;
mod print;
mod reader;
mod secret;
mod settings;
mod source;
mod store;
mod suggest;
mod upstream;
mod value;
mod written;
mod yaml;

pub use access::{Admin, CredentialFile, Jwt, SignIn, Tls, Warning};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrorKind, ConfigErrors, Excerpt, Location};
pub use forward::{Batch, Forward, ForwardFormat, ForwardFrom, Selection};
pub use load::{
    AdminEndpoint, Loaded, Overrides, admin_endpoint, from_yaml, load, load_again,
    load_for_forward, load_for_store, load_without_secrets, load_without_serving,
};
pub(crate) use nearest::nearest;
pub use pem::PemFile;
pub use secret::Secret;
pub(crate) use source::is_name;
pub use source::{
    HttpOrigin, IDENTITIES, Incremental, Origin, Source, Table, TableRows, table_name,
    written_source, written_table,
};
pub use store::{Postgres, PostgresTls, Store, StoreUrl};
pub use upstream::{
    Auth, AuthHeader, ClientAuth, ClientCertificate, Concurrency, DEFAULT_UPSTREAM, NamedUpstream,
    OAuth2, Rate, Upstream,
};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::json::Path;

/// The whole configuration, validated.
#[derive(Clone, Debug, PartialEq)]
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
    /// Where history and last good data are kept.
    pub store: Store,
    /// Receivers to which new records are sent; they need a store.
    pub forward: Vec<Forward>,
    /// Where people reach the gateway, for links in what is sent; its path is `/`, or
    /// ends without a slash.
    pub public_url: Option<reqwest::Url>,
    /// Limits on clients.
    pub limits: Limits,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// The TLS of the public listener, and with `admin.tls` of the admin listener; plain HTTP
    /// without it.
    pub tls: Option<Tls>,
    /// How callers sign in (`auth`); without it everybody may read.
    pub sign_in: SignIn,
    /// Whether `tls` and `auth` hold for the admin listener too.
    pub admin: Admin,
    /// The hosts that requests to the public listener may name, in lower case; any without it.
    pub allowed_hosts: Option<Arc<[String]>>,
    /// The format of the log; `None` means text on a terminal, JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// Export of traces over OTLP; off without an endpoint.
    pub otlp: Otlp,
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
    /// The known fields of incident records, without `priority`, `timestamp` and `employee_id`.
    /// With plain sources: their distinct identity fields in the configured order, and `source_ip`;
    /// with mapped ones: the members of the envelope.
    #[must_use]
    pub fn known_fields(&self) -> Arc<[Arc<str>]> {
        let (mapped, plain): (Vec<_>, Vec<_>) =
            self.sources.iter().partition(|source| source.is_mapped());
        let mut names: Vec<&str> = Vec::new();
        if !plain.is_empty() {
            let identity = plain.iter().flat_map(|source| &source.identity);
            names.extend(identity.flat_map(|entry| &entry.at).map(Path::as_str));
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
            upstream: Upstream::with_base_url(
                reqwest::Url::parse("https://incident-api.use1stag.elevatesecurity.io")
                    .expect("the default base URL is valid"),
            ),
            upstreams: Vec::new(),
            identities: vec![Table::addresses(Table::DEFAULT_PATH)],
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
            store: Store::default(),
            forward: Vec::new(),
            public_url: None,
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
            tls: None,
            sign_in: SignIn::default(),
            admin: Admin::default(),
            allowed_hosts: None,
            log_format: None,
            otlp: Otlp::default(),
        }
    }
}
