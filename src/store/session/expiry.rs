//! Ends roles at their time, whatever an operation of the store is waiting for then.

use tokio::time::{Instant, sleep_until};

use crate::store::{Role, StoreHandle};

/// Detaches the process when its lease has run out, and when the store has not answered until
/// `wait_until`. Runs until it is dropped.
pub(super) async fn expire_roles(handle: &StoreHandle, wait_until: Instant) {
    let mut state = handle.subscribe();
    loop {
        let end = end_of(&state.borrow_and_update().role, wait_until);
        tokio::select! {
            // The handle has a sender.
            _ = state.changed() => continue,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {}
        }
        handle.update(|state| {
            // It may have changed at this very moment.
            if end_of(&state.role, wait_until).is_some_and(|end| end <= Instant::now()) {
                if let Role::Leader { epoch, .. } = state.role {
                    tracing::warn!(epoch = epoch.0, "the lease has run out");
                }
                state.enter(Role::Detached);
            }
        });
    }
}

/// When a role ends by itself.
fn end_of(role: &Role, wait_until: Instant) -> Option<Instant> {
    match role {
        Role::Waiting => Some(wait_until),
        Role::Leader { until, .. } => Some(*until),
        Role::Follower { .. } | Role::Detached => None,
    }
}
