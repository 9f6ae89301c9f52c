//! What the refresh needs of the store.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::restore::TimedHead;
use crate::sources::Fingerprint;
use crate::store::{Epoch, Heads, Role, Store, StoreHandle, StoreState};

/// What is known of the store, and the store to read last good data from. The refresh writes
/// nothing; what it publishes is stored behind it.
#[derive(Clone)]
pub struct StoreLink {
    /// What is known of it: the role of this process, and what is stored of each source.
    pub state: watch::Receiver<StoreState>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Whether last good data is taken from it.
    restores: bool,
}

impl From<&StoreHandle> for StoreLink {
    fn from(handle: &StoreHandle) -> Self {
        Self { state: handle.subscribe(), store: Arc::clone(handle.store()), restores: true }
    }
}

impl StoreLink {
    /// The same for a refresh that fetches all sources, and takes nothing from the store.
    #[must_use]
    pub fn without_restoring(self) -> Self {
        Self { restores: false, ..self }
    }
}

/// What a process calls of a source, by its role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Duty {
    /// It calls the source whenever that is due.
    Always,
    /// It calls the source when the data from the store would show as stale, or is missing.
    OnceStale,
    /// It leaves the source to the leader or to the next one, or waits for the store.
    Never,
}

/// The store, as the refresh sees it.
pub(super) struct StoreSide {
    pub(super) link: StoreLink,
    /// What is stored, and when that was read.
    heads: Option<(Arc<Heads>, Instant)>,
    /// Until when the refresh waits for the first answer of the store.
    pub(super) wait_until: Instant,
    /// Whether nothing will change any more.
    has_ended: bool,
}

impl StoreSide {
    pub(super) fn new(link: StoreLink, wait_until: Instant) -> Self {
        Self { link, heads: None, wait_until, has_ended: false }
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&mut self) {
        if self.has_ended || self.link.state.changed().await.is_err() {
            self.has_ended = true;
            pending::<()>().await;
        }
    }

    /// The epoch of the lease that this process holds at `now`.
    pub(super) fn epoch(&self, now: Instant) -> Option<Epoch> {
        self.link.state.borrow().role.epoch(now)
    }

    /// What this process calls of a source. `is_readable` says whether it can use what is stored of
    /// it.
    pub(super) fn duty(
        &self,
        name: &str,
        fingerprint: Fingerprint,
        is_readable: bool,
        now: Instant,
    ) -> Duty {
        let state = self.link.state.borrow();
        match &state.role {
            // The next holder of the lease would repeat the call.
            _ if state.is_leaving => Duty::Never,
            Role::Waiting if now < self.wait_until => Duty::Never,
            role @ Role::Leader { .. } if role.epoch(now).is_some() => Duty::Always,
            Role::Follower { kept_up } if is_readable && kept_up.has(name, fingerprint) => {
                Duty::Never
            }
            Role::Waiting | Role::Leader { .. } | Role::Follower { .. } | Role::Detached => {
                Duty::OnceStale
            }
        }
    }

    /// Adopts what is known of the store now. Returns whether there are new heads.
    pub(super) fn update(&mut self) -> bool {
        let heads = self.link.state.borrow_and_update().heads.clone();
        let Some(heads) = heads.filter(|_| self.link.restores) else { return false };
        if self.heads.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, &heads)) {
            return false;
        }
        self.heads = Some((heads, Instant::now()));
        true
    }

    /// Whether the store can be read.
    pub(super) fn is_readable(&self) -> bool {
        matches!(self.link.state.borrow().role, Role::Leader { .. } | Role::Follower { .. })
    }

    /// What is stored of a source under this definition.
    pub(super) fn head(&self, name: &str, fingerprint: Fingerprint) -> Option<TimedHead> {
        let (heads, read_at) = self.heads.as_ref()?;
        let mut heads = heads.sources.iter();
        let head = heads.find(|head| head.name == name && head.fingerprint == fingerprint)?;
        Some(TimedHead::new(head.clone(), *read_at))
    }
}
