//! The task that keeps the [`StoreState`](super::StoreState) up to date: it prepares the store,
//! takes and renews the lease, begins the positions of forwards, reads what other processes have
//! stored, and deletes what is too old.

mod departure;
mod expiry;
mod first_answer;
mod membership;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use self::departure::Departure;
pub use self::first_answer::first_answer;
use self::membership::Membership;
use self::upkeep::Upkeep;
use super::{KeptUp, StoreError, StoreFuture, StoreHandle};
use crate::config::ForwardFrom;
use crate::retry::Pauses;
use crate::upstream::Upstreams;

/// Between attempts that fail: the store is used soon after it is back, and a lease is renewed
/// before it runs out.
const PAUSES: Pauses =
    Pauses { first: Duration::from_millis(200), longest: Duration::from_secs(2) };

/// The names of forwards, and where each begins.
pub type Beginnings = Arc<[(String, ForwardFrom)]>;

/// What a session does its work for. A reload may change it.
#[derive(Clone)]
pub struct SessionSettings {
    /// What this process refreshes as the leader.
    pub kept_up: KeptUp,
    /// Their concurrency limits are kept.
    pub upstreams: Arc<Upstreams>,
    /// The forwards, of which the session begins those that have no position.
    pub forwards: Beginnings,
}

/// What stays the same as long as a session runs.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// How long records are kept that are no longer current.
    pub keep: Duration,
    /// Until when the refresh waits for the store's first answer.
    pub wait_until: Instant,
    /// Determines the jitter.
    pub seed: u64,
}

/// The session of a store; [`Session::run`] drives it.
pub struct Session {
    membership: Membership,
    upkeep: Upkeep,
    handle: StoreHandle,
    wait_until: Instant,
}

/// Directs a session that runs.
pub struct SessionHandle {
    settings: watch::Sender<SessionSettings>,
    departure: Departure,
}

impl Session {
    /// A session that is not running yet, and what directs it.
    #[must_use]
    pub fn new(
        handle: StoreHandle,
        settings: SessionSettings,
        options: SessionOptions,
    ) -> (Self, SessionHandle) {
        let SessionOptions { keep, wait_until, seed } = options;
        let (settings, for_membership) = watch::channel(settings);
        let departure = Departure::default();
        let upkeep = Upkeep::new(handle.clone(), for_membership.clone(), keep);
        let membership = Membership::new(handle.clone(), for_membership, departure.clone(), seed);
        (Self { membership, upkeep, handle, wait_until }, SessionHandle { settings, departure })
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let Self { membership, upkeep, handle, wait_until } = self;
        tokio::join!(membership.run(), upkeep.run(), expiry::expire_roles(&handle, wait_until));
    }
}

impl SessionHandle {
    /// Sets what the session does its work for from now on.
    pub fn set(&self, settings: SessionSettings) {
        self.settings.send_replace(settings);
    }

    /// Gives the lease back, and never takes it again. Returns once that has succeeded or failed;
    /// callers bound it.
    pub async fn leave(&self) {
        self.departure.ask();
        self.departure.completed().await;
    }
}

/// Waits for an operation at most this long.
async fn bounded<T>(
    what: &str,
    bound: Duration,
    operation: StoreFuture<'_, T>,
) -> Result<T, StoreError> {
    let result = timeout(bound, operation).await;
    result.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("{what}: no answer within {} s", bound.as_secs())))
    })
}

#[cfg(test)]
mod tests;
