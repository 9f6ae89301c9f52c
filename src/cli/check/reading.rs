//! How a source or table was read.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::identity::TableSlot;
use crate::mapping::IdentityKind;
use crate::outcome::Outcome;

/// A page as it came.
pub(super) struct Page {
    pub(super) body: Bytes,
    /// None for a saved body or a file.
    pub(super) headers: Option<HeaderMap>,
}

/// Why a source could not be read.
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    /// The status of the answer, if its head came.
    pub(super) status: Option<StatusCode>,
    pub(super) detail: String,
    /// The body of an answer with a bad status.
    pub(super) refusal: Option<String>,
}

/// How a source or table was read.
pub(super) struct Reading<T> {
    pub(super) name: String,
    /// Such as `upstream okta`.
    pub(super) origin: String,
    /// The first request, or the file.
    pub(super) asked: String,
    /// Whether `asked` is a file.
    pub(super) is_file: bool,
    /// The pages that came, also when a later one failed; empty for files.
    pub(super) pages: Vec<Page>,
    /// How many pages or files came.
    pub(super) page_count: usize,
    /// Whether the list ended because the address or cursor of its next page was used before.
    pub(super) is_repeated: bool,
    pub(super) duration: Option<Duration>,
    pub(super) result: Result<T, Failure>,
}

impl<T> Reading<T> {
    /// The same reading of data of another type.
    pub(super) fn map<U>(self, data: impl FnOnce(T) -> U) -> Reading<U> {
        let Self { name, origin, asked, is_file, pages, page_count, is_repeated, duration, result } =
            self;
        let result = result.map(data);
        Reading { name, origin, asked, is_file, pages, page_count, is_repeated, duration, result }
    }
}

/// The tables that a source's identities are looked up in.
pub(super) struct Tables {
    pub(super) slots: Vec<TableSlot>,
    pub(super) names: Vec<String>,
    /// What is wrong with each.
    pub(super) faults: Vec<Vec<TableFault>>,
}

/// Why nobody is found in a table.
pub(super) struct TableFault {
    /// The kind of keys that it has none of; `None` if nobody is found at all.
    pub(super) kind: Option<IdentityKind>,
    pub(super) detail: String,
}
