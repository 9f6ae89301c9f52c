//! How the pages of a list follow each other.

use super::JsonPointer;
use crate::json::Path;

/// How the next page of a list is asked for (`next`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextPage {
    /// By the header `Link` with `rel="next"` (RFC 8288).
    Link,
    /// By an address in the body, absolute or relative to the page's.
    Url(Path),
    /// By a value of the body, which the next request repeats.
    Cursor {
        /// The path to the value.
        at: Path,
        /// Where it goes in the next request.
        to: Target,
    },
    /// By how many records came before.
    Offset {
        /// Where the offset goes.
        at: Target,
        /// How many records a page has.
        size: u64,
        /// Where offset + size goes, if anywhere.
        end: Option<Target>,
        /// The path to a value that is false on the last page.
        more: Option<Path>,
    },
    /// By the page's number.
    Number {
        /// Where the number goes.
        at: Target,
        /// The number of the first page.
        first: u64,
        /// How many records a page has; `None` if that is not known.
        size: Option<u64>,
        /// The path to a value that is false on the last page.
        more: Option<Path>,
    },
}

/// A place in a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A member of the query, by its name.
    Query(String),
    /// A field of the form, by its name.
    Form(String),
    /// A place in the JSON body.
    Body(JsonPointer),
}
