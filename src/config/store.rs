//! The section `store`.

use std::path::PathBuf;
use std::time::Duration;

use super::{PemFile, Secret};

/// Where history and last good data are kept, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Where; nowhere by default.
    pub url: StoreUrl,
    /// How long records are kept that are no longer current; at least a second.
    pub keep: Duration,
}

/// Where history and last good data are kept.
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
    /// The host name, the IP address, or the directory of a Unix socket (which begins with `/`).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password of `store.password_file`.
    pub password: Option<Secret>,
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
    /// TLS whose certificate is checked, its name included: `sslmode=verify-full`, and the default
    /// elsewhere.
    Verified {
        /// The authorities of `sslrootcert`; those of the system without it.
        authorities: Option<PemFile>,
    },
}

impl Default for Store {
    fn default() -> Self {
        Self { url: StoreUrl::None, keep: Duration::from_hours(24 * 90) }
    }
}
