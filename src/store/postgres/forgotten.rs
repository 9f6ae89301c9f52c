//! Whether this process knows which records [`forget`](crate::store::Store::forget) has deleted.

use std::sync::Mutex;

use crate::store::StoreError;

/// The counter of deletions, as it was when this process began to read what is stored.
///
/// The first value that was read counts: what is read later may know of more deletions, but what
/// was read together with the first does not.
#[derive(Debug, Default)]
pub(super) struct Forgotten(Mutex<Option<i64>>);

impl Forgotten {
    /// Notes the counter that was read before, or together with, something that is stored.
    pub(super) fn has_read(&self, counter: i64) {
        self.0.lock().expect("no thread panics with it").get_or_insert(counter);
    }

    /// The counter that was noted.
    pub(super) fn known(&self) -> Option<i64> {
        *self.0.lock().expect("no thread panics with it")
    }

    /// Fails if records were deleted that this process may take for stored. After that, everything
    /// is read anew.
    pub(super) fn check(&self, counter: i64) -> Result<(), StoreError> {
        let mut known = self.0.lock().expect("no thread panics with it");
        if known.is_none_or(|known| known == counter) {
            return Ok(());
        }
        *known = None;
        Err(StoreError::Forgotten)
    }

    /// From now on, everything is read anew.
    pub(super) fn reset(&self) {
        *self.0.lock().expect("no thread panics with it") = None;
    }
}
