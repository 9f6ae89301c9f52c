//! The section `store`.

mod draft;
mod postgres_url;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use draft::{Draft, keep, password_file, url};

use super::{PemFile, Secret};

/// Where history and last good data are kept, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Where; nowhere by default.
    pub url: StoreUrl,
    /// How long records are kept that are no longer current; at least a second.
    pub keep: Duration,
}

/// Where history and last good data are kept. It is displayed as it was configured; there is no
/// secret in it.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreUrl {
    /// Nowhere.
    None,
    /// In this SQLite file, whose path is absolute.
    Sqlite(PathBuf),
    /// In a PostgreSQL database.
    Postgres(Box<Postgres>),
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct Postgres {
    /// The URL as it was configured, which has no password in it.
    pub url: String,
    /// The host name, the IP address, or the directory of a Unix socket (which begins with `/`).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password of `store.password_file`.
    pub password: Option<Secret>,
    /// Where the password was read.
    pub password_file: Option<PathBuf>,
    /// The name of the database.
    pub database: String,
    /// How the connection is encrypted.
    pub tls: PostgresTls,
}

/// How a connection to PostgreSQL is encrypted.
#[derive(Clone, Debug, PartialEq)]
pub enum PostgresTls {
    /// Not at all: `sslmode=disable`, and the default for sockets and loopback addresses.
    Disabled,
    /// TLS whose certificate is checked, its name included: every other `sslmode`, and the default
    /// elsewhere.
    Verified {
        /// The authorities of `sslrootcert`; those of the system without it.
        authorities: Option<PemFile>,
    },
}

impl Postgres {
    /// Whether the connection does not leave this machine: a Unix socket or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_socket(&self.host) || is_loopback(&self.host)
    }
}

fn is_socket(host: &str) -> bool {
    host.starts_with('/')
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(postgres) => f.write_str(&postgres.url),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: StoreUrl::None, keep: Duration::from_hours(24 * 90) }
    }
}

#[cfg(test)]
mod tests;
