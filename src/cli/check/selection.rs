//! Which sources and tables are read, and which are reported on.

use crate::config::{Config, nearest, table_name};
use crate::identity::KeyKinds;
use crate::mapping::IdentityKind;
use crate::sources::SourceId;

/// The sources and tables that are reported on, and the tables that they need.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// In the configured order, tables first.
    pub(super) reported: Vec<SourceId>,
    /// The tables whose data is needed, whether they are reported on or not.
    pub(super) tables: Vec<usize>,
}

impl Selection {
    /// All sources and tables, or the one with this name.
    ///
    /// # Errors
    ///
    /// When there is none with this name.
    pub(super) fn new(config: &Config, name: Option<&str>) -> Result<Self, String> {
        let tables = 0..config.identities.len();
        let sources = 0..config.sources.len();
        let Some(name) = name else {
            let reported = tables.clone().map(SourceId::Table);
            let reported = reported.chain(sources.map(SourceId::Incidents)).collect();
            return Ok(Self { reported, tables: tables.collect() });
        };
        if let Some(index) = tables.clone().find(|index| table_name(*index) == name) {
            return Ok(Self { reported: vec![SourceId::Table(index)], tables: vec![index] });
        }
        if let Some(index) = config.sources.iter().position(|source| source.name == name) {
            let kinds = lookup_kinds(config, index);
            let is_needed = |table: &usize| {
                let has = KeyKinds::of(&config.identities[*table]);
                kinds.iter().any(|kind| has.contains(*kind))
            };
            let tables = tables.filter(is_needed).collect();
            return Ok(Self { reported: vec![SourceId::Incidents(index)], tables });
        }
        let mut names: Vec<String> = tables.map(table_name).collect();
        names.extend(config.sources.iter().map(|source| source.name.clone()));
        let known = names.iter().map(String::as_str);
        let hint = match nearest(name, known.clone()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("there are {}", super::shown::names(known, 30)),
        };
        let name = super::shown::shown(name, 60);
        Err(format!("--source: there is no source `{name}`; {hint}"))
    }

    /// The source or table with which the selection was made, if it is one.
    pub(super) fn single(&self) -> Option<SourceId> {
        match self.reported[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    /// Whether its data is needed.
    pub(super) fn is_read(&self, id: SourceId) -> bool {
        self.reported.contains(&id)
            || matches!(id, SourceId::Table(table) if self.tables.contains(&table))
    }

    /// The configuration of what is read, to ask whether its credentials are complete.
    pub(super) fn restrict(&self, config: &Config) -> Config {
        let mut restricted = config.clone();
        let mut index = 0;
        restricted.identities.retain(|_| {
            index += 1;
            self.is_read(SourceId::Table(index - 1))
        });
        index = 0;
        restricted.sources.retain(|_| {
            index += 1;
            self.is_read(SourceId::Incidents(index - 1))
        });
        restricted
    }
}

/// The kinds of keys by which the identities of a source are looked up.
fn lookup_kinds(config: &Config, source: usize) -> Vec<IdentityKind> {
    let entries = config.sources[source].identity.iter();
    entries
        .map(|entry| match entry.kind {
            None | Some(IdentityKind::Auto) => IdentityKind::Ip,
            Some(kind) => kind,
        })
        .collect()
}
