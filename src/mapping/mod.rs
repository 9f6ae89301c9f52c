//! How a source's records are read: which values are the id, priority, timestamp and identity, and
//! what they mean.
//!
//! The configuration builds these types, whose constructors refuse what cannot work; `decode`
//! compiles them once.

mod address;
mod error;
mod identity_kind;
mod priority;
mod strptime;
mod timestamp;
mod timestamp_text;
mod written_time;

pub use address::parse_address;
pub use error::MappingError;
pub use identity_kind::{IdentityKind, MAX_ID_BYTES, holds_nothing};
pub use priority::{Priority, PriorityMapping, PriorityRule};
pub use timestamp::{TimeUnit, TimestampMapping, TimestampRule};

use crate::json::Path;

/// The paths to a value, in order: the first that holds something is used.
pub type Paths = Vec<Path>;

/// One entry of a source's `identity`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityEntry {
    /// The paths to the value; at least one, and in a plain source the name of one member.
    pub at: Paths,
    /// How the value is looked up; `None` where `as` is not written, which means
    /// [`IdentityKind::Auto`] in a mapped source.
    pub kind: Option<IdentityKind>,
}
