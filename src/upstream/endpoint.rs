//! The upstream's endpoints, one for each configured source.

use std::sync::Arc;

use crate::config::{Config, Origin, Table, table_name};
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
        let path = |origin: &Origin| match origin {
            Origin::Http(http) => http.request.path.clone(),
            Origin::File(pattern) => pattern.clone(),
        };
        let table = |(index, table): (usize, &Table)| Self {
            name: table_name(index).into(),
            path: path(&table.origin),
        };
        let incidents = config
            .sources
            .iter()
            .map(|source| Self { name: source.name.as_str().into(), path: path(&source.origin) });
        PerSource::new(config.identities.iter().enumerate().map(table), incidents)
    }
}
