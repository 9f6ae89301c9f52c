//! What the refresh needs of the store.

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::{Store, StoreHandle, StoreState};

/// What is known of the store, and the store to read last good data from. The refresh writes
/// nothing; what it publishes is stored behind it.
#[derive(Clone)]
pub struct StoreLink {
    /// What is known of it: the role of this process, and what is stored of each source.
    pub state: watch::Receiver<StoreState>,
    /// The store.
    pub store: Arc<dyn Store>,
}

impl From<&StoreHandle> for StoreLink {
    fn from(handle: &StoreHandle) -> Self {
        Self { state: handle.subscribe(), store: Arc::clone(handle.store()) }
    }
}
