//! Warnings of configurations that are valid, but may not be what was meant.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Config, PostgresTls, StoreUrl};

/// What an operator should know of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// Other machines can reach the public listener, which asks nobody to sign in.
    Open {
        /// The listener's address.
        address: SocketAddr,
    },
    /// Other machines send their credentials unencrypted.
    PlainCredentials {
        /// The setting of the listener.
        setting: &'static str,
        /// The listener's address.
        address: SocketAddr,
    },
    /// Records, and the password of the store, go to another machine unencrypted.
    PlainStore {
        /// The store's host.
        host: String,
    },
    /// A file of credentials without any entry.
    NoEntries {
        /// The setting of the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// What an operator should know of this configuration; at most one of each kind and setting.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let is_reachable = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        let mut warnings = Vec::new();
        let asks_certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.sign_in.is_empty() && !asks_certificates && is_reachable(&self.listen) {
            warnings.push(Warning::Open { address: self.listen });
        }
        if !self.sign_in.is_empty() {
            let public = self.tls.is_none().then_some(("listen", self.listen));
            let admin = self.admin.auth && !self.admin.tls;
            let admin = admin.then_some(("admin_listen", self.admin_listen));
            let plain = [public, admin].into_iter().flatten();
            let first = plain.into_iter().find(|(_, address)| is_reachable(address));
            warnings.extend(
                first.map(|(setting, address)| Warning::PlainCredentials { setting, address }),
            );
        }
        let users = self.sign_in.users.as_ref().filter(|file| file.content.iter().len() == 0);
        let tokens = self.sign_in.tokens.as_ref().filter(|file| file.content.as_slice().is_empty());
        let users = users.map(|file| ("auth.users_file", file.path.clone()));
        let tokens = tokens.map(|file| ("auth.tokens_file", file.path.clone()));
        let empty = [users, tokens].into_iter().flatten();
        warnings.extend(empty.map(|(setting, path)| Warning::NoEntries { setting, path }));
        if let StoreUrl::Postgres(postgres) = &self.store.url
            && postgres.tls == PostgresTls::Disabled
            && !postgres.is_local()
        {
            warnings.push(Warning::PlainStore { host: postgres.host.clone() });
        }
        warnings
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { address } => write!(
                f,
                "whoever can reach {address} can read every incident; set `auth`, or set `listen` \
                 to a loopback address, or put a proxy that authenticates its callers in front"
            ),
            Self::PlainCredentials { setting, address } => write!(
                f,
                "credentials come to {address} over plain HTTP, where others can read them; set \
                 {}, or set `{setting}` to a loopback address behind a proxy that speaks TLS",
                if *setting == "listen" { "`tls`" } else { "`tls` and `admin.tls`" }
            ),
            Self::PlainStore { host } => write!(
                f,
                "`store.url`: records go to {host} unencrypted, where others can read them; write \
                 `sslmode=verify-full` in place of `sslmode=disable`"
            ),
            Self::NoEntries { setting, path } => write!(
                f,
                "`{setting}`: {} has no entry, so that nobody can sign in by it",
                path.display()
            ),
        }
    }
}
