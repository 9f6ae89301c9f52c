//! The store of this process, with what is known of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::state::Fault;
use super::{Claims, Store, StoreError, StoreState};

/// The store of this process, and the state of it that all parts share. Clones are handles of the
/// same store.
#[derive(Clone)]
pub struct StoreHandle {
    store: Arc<dyn Store>,
    state: watch::Sender<StoreState>,
    writes: watch::Sender<()>,
    claims: Arc<Claims>,
}

/// Which operation succeeded or failed. The store counts as up while the last of each succeeded:
/// on a full disk, reading goes on while writing fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Preparing it, the lease, or reading what is stored of the sources.
    Session,
    /// Writing what a refresh has brought.
    Write,
    /// Deleting what is too old, and other writes that no refresh has caused.
    Upkeep,
}

impl StoreHandle {
    /// A store of which nothing is known yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let state = watch::Sender::new(StoreState::default());
        Self { store, state, writes: watch::Sender::new(()), claims: Arc::default() }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What is known of the store, from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    /// What is known of the store now.
    #[must_use]
    pub fn state(&self) -> StoreState {
        self.state.borrow().clone()
    }

    /// Changes what is known of the store.
    pub fn update(&self, change: impl FnOnce(&mut StoreState)) {
        self.state.send_modify(change);
    }

    /// Changes each time that this process has written.
    #[must_use]
    pub fn writes(&self) -> watch::Receiver<()> {
        self.writes.subscribe()
    }

    /// What forwards are sending.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Notes the result of an operation, and logs when the store goes down or comes back. The loss
    /// of the lease, and records that were forgotten, are no faults of the store.
    pub fn note<T>(&self, operation: Operation, result: &Result<T, StoreError>) {
        let fault: Option<Fault> = match result {
            Ok(_) => None,
            Err(StoreError::Unavailable(detail) | StoreError::Unusable(detail)) => {
                Some(detail.as_str().into())
            }
            Err(
                StoreError::Overloaded
                | StoreError::LeaseLost
                | StoreError::Forgotten
                | StoreError::Outdated,
            ) => return,
        };
        if operation != Operation::Session && fault.is_none() {
            self.writes.send_replace(());
        }
        let store = self.store.kind();
        self.state.send_if_modified(|state| {
            if fault.is_some() && state.is_past(operation) {
                return false;
            }
            let (was_up, had_fault) = (state.is_up(), state.last_error().is_some());
            let before = state.replace_fault(operation, fault.clone());
            match &fault {
                Some(detail) if !had_fault => {
                    tracing::warn!(store, %detail, "the store is down; answers go on without it");
                }
                Some(detail) if before != fault => {
                    tracing::warn!(store, %detail, "the store is still down");
                }
                None if !was_up && state.is_up() => tracing::info!(store, "the store is up"),
                _ => {}
            }
            before != fault || was_up != state.is_up()
        });
    }
}
