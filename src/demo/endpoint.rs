//! The demo upstream's endpoints: the upstream's eight, and those of the mapped sources.

use std::fmt;
use std::str::FromStr;

/// One of the endpoints; its name is that of the source in the gateway's configuration, except for
/// [`Endpoint::People`], which is the second identity table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    /// The table of IP addresses and their employees.
    Identities,
    /// Incidents that name the employee who reported them.
    Denial,
    /// Incidents that name an internal and a source address.
    Intrusion,
    /// Incidents that name a machine's address.
    Executable,
    /// Incidents that name the employee.
    Misuse,
    /// Incidents that name the employee.
    Unauthorized,
    /// Incidents that name an address.
    Probing,
    /// Incidents that name an employee or an address.
    Other,
    /// The table of people: e-mail address, host name and name of each employee.
    People,
    /// Sign-in events in pages, which name people by e-mail address.
    Signin,
    /// Alerts of a mail filter, which name people by e-mail address or host name.
    Mail,
}

impl Endpoint {
    /// Every endpoint: those of [`Endpoint::PLAIN`], then those of the mapped sources.
    pub const ALL: [Self; 11] = [
        Self::Identities,
        Self::Denial,
        Self::Intrusion,
        Self::Executable,
        Self::Misuse,
        Self::Unauthorized,
        Self::Probing,
        Self::Other,
        Self::People,
        Self::Signin,
        Self::Mail,
    ];

    /// The endpoints of the gateway's default configuration: identities, then the sources in their
    /// order.
    pub const PLAIN: [Self; 8] = [
        Self::Identities,
        Self::Denial,
        Self::Intrusion,
        Self::Executable,
        Self::Misuse,
        Self::Unauthorized,
        Self::Probing,
        Self::Other,
    ];

    /// The source's name, which is also the name of its fixture, `<name>.json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identities => "identities",
            Self::Denial => "denial",
            Self::Intrusion => "intrusion",
            Self::Executable => "executable",
            Self::Misuse => "misuse",
            Self::Unauthorized => "unauthorized",
            Self::Probing => "probing",
            Self::Other => "other",
            Self::People => "people",
            Self::Signin => "signin",
            Self::Mail => "mail",
        }
    }

    /// Its path, with the trailing slash if it has one.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Identities => "/identities/",
            Self::Denial => "/incidents/denial/",
            Self::Intrusion => "/incidents/intrusion/",
            Self::Executable => "/incidents/executable/",
            Self::Misuse => "/incidents/misuse/",
            Self::Unauthorized => "/incidents/unauthorized/",
            Self::Probing => "/incidents/probing/",
            Self::Other => "/incidents/other/",
            Self::People => "/people",
            Self::Signin => "/signin/events",
            Self::Mail => "/mail/alerts",
        }
    }

    /// Whether it is of the gateway's default configuration.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.index() < Self::PLAIN.len()
    }

    /// The endpoint with exactly this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    /// Its index in [`Endpoint::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = UnknownSource;

    fn from_str(name: &str) -> Result<Self, UnknownSource> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
            .ok_or_else(|| UnknownSource(name.to_owned()))
    }
}

/// The error for an unknown source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownSource(String);

impl fmt::Display for UnknownSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown source {:?}; the sources are {}",
            self.0,
            Endpoint::ALL.map(Endpoint::name).join(", ")
        )
    }
}

impl std::error::Error for UnknownSource {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, IDENTITIES, Origin};

    fn path(origin: &Origin) -> &str {
        match origin {
            Origin::Http(http) => &http.request.path,
            Origin::File(pattern) => pattern,
        }
    }

    #[test]
    fn names_paths_and_order_are_those_of_the_default_configuration() {
        let config = Config::default();
        let tables = config.identities.iter().map(|table| (IDENTITIES, &table.origin));
        let sources = config.sources.iter().map(|source| (source.name.as_str(), &source.origin));
        let expected = tables.chain(sources).map(|(name, origin)| (name, path(origin)));
        assert!(
            expected.eq(Endpoint::PLAIN.iter().map(|endpoint| (endpoint.name(), endpoint.path())))
        );
    }

    #[test]
    fn an_endpoint_is_found_by_its_name_and_an_unknown_name_lists_all() {
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint.name().parse(), Ok(endpoint));
            assert_eq!(endpoint.index(), index);
        }
        let error = "denail".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("\"denail\"") && error.contains("denial"), "{error}");
    }
}
