//! Sources and identity tables: where their records come from, and how these are read.

mod mapping;
mod next;
mod origin;
mod print;
mod read;
mod request;
mod tables;

pub(super) use mapping::priority_name;
pub(super) use print::{show, show_tables};
pub use print::{written_source, written_table};
pub(crate) use read::is_name;
pub(super) use read::{check_name, check_upstreams, items, read};
pub(super) use tables::{addresses_path, read_tables};
#[cfg(test)]
pub(super) use {read::KEYS, tables::KEYS as TABLE_KEYS};

use std::time::Duration;

use super::DEFAULT_UPSTREAM;
use crate::json::Path;
use crate::mapping::{IdentityEntry, IdentityKind, Paths, PriorityMapping, TimestampMapping};
use crate::request::{NextPage, RequestTemplate};

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
#[expect(clippy::large_enum_variant, reason = "there is one for each source, and most are `Http`")]
pub enum Origin {
    /// An endpoint of an upstream.
    Http(HttpOrigin),
    /// Files: a path or a glob, relative to the working directory.
    File(String),
}

impl Origin {
    /// The name of the upstream; files have none.
    #[must_use]
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Http(http) => Some(&http.upstream),
            Self::File(_) => None,
        }
    }
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

impl Table {
    /// The path of the default table.
    pub const DEFAULT_PATH: &str = "/identities/";

    /// An endpoint of the default upstream with one object that maps addresses to employee ids.
    #[must_use]
    pub fn addresses(path: &str) -> Self {
        Self { origin: Origin::Http(HttpOrigin::endpoint(path)), every: None, rows: None }
    }
}

/// How the rows of a table are read.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRows {
    /// The path to the list of rows; `None` means `/results`, or the whole file.
    pub records: Option<Path>,
    /// The paths to the employee's id; at least one.
    pub employee: Paths,
    /// The identities by which rows are looked up, at least one, and the paths to each.
    pub keys: Vec<(IdentityKind, Paths)>,
    /// The paths to the person's name; none if rows have no name.
    pub name: Paths,
}

/// Asks only for what is new (`incremental`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Incremental {
    /// How long before the last successful fetch `{since}` is.
    pub overlap: Duration,
    /// How often everything in the window is asked for again.
    pub full_every: Duration,
}

impl Default for Incremental {
    fn default() -> Self {
        Self { overlap: Duration::from_mins(10), full_every: Duration::from_hours(24) }
    }
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
        let entry = |name: &&str| IdentityEntry { at: vec![Path::name(name)], kind: None };
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
        self.identity.iter().flat_map(|entry| &entry.at).map(|at| at.as_str().to_owned()).collect()
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

#[cfg(test)]
mod tests;
