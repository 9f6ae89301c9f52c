//! Why an operation of a store failed.

use std::fmt;

/// Why an operation failed. Texts are for the operator; they have no secrets and no records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// It cannot be reached, is busy, full, or did not answer in time. Trying again may help.
    Unavailable(String),
    /// It cannot be right before the operator does something: not a database, corrupt, a newer
    /// schema, a directory that is missing. At start the process exits.
    Unusable(String),
    /// Too many operations of this kind are under way.
    Overloaded,
    /// The lease under which the operation was to write is not held any more.
    LeaseLost,
    /// Records were deleted by [`forget`](super::Store::forget) since this process last read what
    /// is stored. It must read it again before it writes.
    Forgotten,
    /// The source has another revision than the one on which the write is based, as after a write
    /// whose outcome was unknown. What is stored must be read again.
    Outdated,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(detail) | Self::Unusable(detail) => f.write_str(detail),
            Self::Overloaded => f.write_str("too many operations on the store are under way"),
            Self::LeaseLost => f.write_str("another process holds the lease"),
            Self::Forgotten => f.write_str("records were deleted by `forget`"),
            Self::Outdated => f.write_str("the source has changed since it was read"),
        }
    }
}

impl std::error::Error for StoreError {}
