//! What a walk through a document found, besides records.

use crate::json::{Captures, JsonError};

/// What a walk found, besides records.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) captures: Captures,
    /// How many records there are.
    pub(super) records: usize,
    /// Set where the path to the list did not lead to a list.
    pub(super) list_fault: Option<JsonError>,
    /// Where the list's elements start, if paths lead to single ones.
    pub(super) element_starts: Vec<usize>,
}

impl Walked {
    /// Where an element of the list starts; a negative index counts from the end.
    pub(super) fn element(&self, index: i64) -> Option<usize> {
        let from_start = if index < 0 {
            self.element_starts.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok()?
        };
        self.element_starts.get(from_start).copied()
    }
}
