//! Reads JSON where it stands: a strict scanner, and paths to values.
//!
//! Values are found as spans of a body; nothing of it is copied or built.

mod dead_end;
mod find;
mod found;
mod members;
mod parse_path;
mod path;
mod scanner;
mod selection;
pub(crate) mod swar;
mod unescape;
pub(crate) mod window;

use std::fmt;

pub use dead_end::{DeadEnd, Standing};
pub(crate) use find::{canonical_index, find};
pub use found::Found;
pub(crate) use found::elements;
pub use members::members;
pub(crate) use members::object_members;
pub use path::{Path, PathError, Step};
pub use scanner::{MAX_DEPTH, ValueKind};
pub(crate) use scanner::{Scanner, Value};
pub(crate) use selection::{Captures, NodeId, Selection};
pub use unescape::unescape;

/// Why a text is not JSON, or not of the expected shape. It quotes nothing from the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonError {
    /// The offset of the byte at which the fault was detected.
    pub offset: usize,
    /// What is wrong there.
    pub fault: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault, self.offset)
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests;
