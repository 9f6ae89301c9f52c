//! Stores how a forward has gone on.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::retry::Retry;
use crate::store::{Advance, Epoch, Operation, StoreError, StoreHandle, StoredForward};

/// What came of storing an advance.
#[derive(Debug)]
pub(super) enum Committed {
    /// It is stored.
    Stored,
    /// What is stored is not what the advance was based on.
    Outdated,
    /// Another process has the lease.
    LeaseLost,
    /// The store has failed too often.
    GaveUp(StoreError),
}

/// Stores an advance, and tries again while the store is not available, at most so often. Whether
/// one took effect that has failed, the stored position tells.
pub(super) async fn commit(
    handle: StoreHandle,
    epoch: Epoch,
    advance: Advance,
    max_failures: Option<u32>,
    mut retry: Retry,
) -> Committed {
    let store = handle.store();
    loop {
        let is_stored = match store.advance(epoch, advance.clone()).await {
            Ok(()) => Ok(true),
            Err(StoreError::Outdated | StoreError::Forgotten) => {
                store.forwards().await.map(|stored| has_taken_effect(&advance, &stored))
            }
            Err(error) => Err(error),
        };
        let error = match is_stored {
            Ok(is_stored) => {
                if retry.failures() > 0 {
                    handle.note(Operation::Upkeep, &Ok(()));
                }
                return if is_stored { Committed::Stored } else { Committed::Outdated };
            }
            Err(StoreError::LeaseLost) => return Committed::LeaseLost,
            Err(error) => {
                handle.note::<()>(Operation::Upkeep, &Err(error.clone()));
                error
            }
        };
        let at = retry.note_failure(Instant::now(), Duration::ZERO);
        if max_failures.is_some_and(|most| retry.failures() >= most) {
            return Committed::GaveUp(error);
        }
        sleep_until(at).await;
    }
}

/// Whether the advance took effect. Nobody else moves the position under this lease.
fn has_taken_effect(advance: &Advance, stored: &[StoredForward]) -> bool {
    let stored = stored.iter().find(|stored| stored.name == advance.name);
    advance.from < advance.to && stored.is_some_and(|stored| stored.position == advance.to)
}
