//! Whether records were deleted on request since this process read what is stored of a source.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fault::Fault;
use crate::store::StoreError;

/// The counter of such deletions, as this process has seen it for each source.
///
/// The first read after a start or after [`StoreError::Forgotten`] counts: a later one may be by
/// another task than the one that writes.
#[derive(Debug, Default)]
pub(super) struct Forgotten(Mutex<HashMap<String, i64>>);

impl Forgotten {
    /// Notes that the sequence of a source was read.
    pub(super) fn has_read(&self, source: &str, counter: i64) {
        let mut seen = self.seen();
        if !seen.contains_key(source) {
            seen.insert(source.to_owned(), counter);
        }
    }

    /// Fails once if records were deleted since. Everything must be read again then.
    pub(super) fn check(&self, source: &str, counter: i64) -> Result<(), Fault> {
        let mut seen = self.seen();
        if seen.get(source).is_none_or(|seen| *seen == counter) {
            return Ok(());
        }
        seen.clear();
        Err(StoreError::Forgotten.into())
    }

    /// Notes that a source was written.
    pub(super) fn wrote(&self, source: &str, counter: i64) {
        self.has_read(source, counter);
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
