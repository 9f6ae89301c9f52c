//! Whether the upstreams that are used can be called.

use std::collections::BTreeSet;

use super::{DEFAULT_UPSTREAM, Upstream};
use crate::config::source::Origin;
use crate::config::{Config, ConfigError, ConfigErrorKind, ConfigErrors, table_name};

impl Config {
    /// The names of the upstreams that a source or an identity table uses.
    #[must_use]
    pub fn used_upstreams(&self) -> BTreeSet<&str> {
        let tables = self.identities.iter().map(|table| &table.origin);
        let origins = self.sources.iter().map(|source| &source.origin).chain(tables);
        origins.filter_map(Origin::upstream).collect()
    }

    /// The names of the sources and tables that are fetched from this upstream, sources first.
    fn users_of(&self, upstream: &str) -> Vec<String> {
        let is_fetched = |origin: &Origin| origin.upstream() == Some(upstream);
        let sources = self.sources.iter().filter(|source| is_fetched(&source.origin));
        let tables = self.identities.iter().enumerate();
        let tables = tables.filter(|(_, table)| is_fetched(&table.origin));
        let tables = tables.map(|(index, _)| table_name(index));
        sources.map(|source| source.name.clone()).chain(tables).collect()
    }

    /// Checks that the credentials of every upstream that is used are known, so that it can be
    /// called.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::MissingCredentials`], which names both variables, for the default
    /// upstream; [`ConfigErrorKind::IncompleteCredentials`] for others;
    /// [`ConfigErrorKind::MaskedSecret`] for each masked secret of `auth`.
    pub fn require_credentials(&self) -> Result<(), ConfigErrors> {
        let used = self.used_upstreams();
        let default = used.contains(DEFAULT_UPSTREAM).then_some((None, &self.upstream));
        let named = self.upstreams.iter().filter(|upstream| used.contains(&*upstream.name));
        let named = named.map(|upstream| (Some(upstream.name.as_str()), &upstream.settings));
        let missing = default.into_iter().chain(named).filter_map(|(name, settings)| {
            let mut kind = missing_credentials(name, settings)?;
            if let ConfigErrorKind::MissingCredentials { used_by, .. } = &mut kind
                && !self.upstreams.is_empty()
            {
                *used_by = self.users_of(DEFAULT_UPSTREAM);
            }
            Some(ConfigError { location: None, setting: None, path: None, kind })
        });
        let errors: Vec<_> = missing.collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors { errors }) }
    }
}

/// What the credentials of an upstream lack; `name` is `None` for the default one.
fn missing_credentials(name: Option<&str>, settings: &Upstream) -> Option<ConfigErrorKind> {
    let path = |key: &str| match name {
        Some(name) => format!("upstreams.{name}.{key}"),
        None => format!("upstream.{key}"),
    };
    if let Some(auth) = &settings.auth {
        let secret = auth.masked_secret()?;
        return Some(ConfigErrorKind::MaskedSecret { path: path(&format!("auth.{secret}")) });
    }
    let (username, password) = (settings.username.is_some(), settings.password.is_some());
    match (name, username, password) {
        (_, true, true) | (Some(_), false, false) => None,
        (Some(_), username, _) => {
            let (given, missing) =
                if username { ("username", "password") } else { ("password", "username") };
            Some(ConfigErrorKind::IncompleteCredentials {
                given: path(given),
                missing: path(missing),
            })
        }
        (None, username, password) => Some(ConfigErrorKind::MissingCredentials {
            missing: match (username, password) {
                (true, _) => "a user, but no password",
                (_, true) => "a password, but no user",
                _ => "neither user nor password",
            },
            used_by: Vec::new(),
        }),
    }
}
