//! The upstream's endpoints, one for each configured source.

use std::sync::Arc;

use crate::config::{Config, IDENTITIES};
use crate::sources::PerSource;

/// One endpoint of the upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The source's name, in logs and metrics.
    pub name: Arc<str>,
    /// Its path below `upstream.base_url`; begins with `/`.
    pub path: String,
}

impl Endpoint {
    /// The endpoint of each configured source.
    #[must_use]
    pub fn all(config: &Config) -> PerSource<Self> {
        let identities = Self { name: IDENTITIES.into(), path: config.identities.path.clone() };
        let incidents = config
            .sources
            .iter()
            .map(|source| Self { name: source.name.as_str().into(), path: source.path.clone() });
        PerSource::new(identities, incidents)
    }
}
