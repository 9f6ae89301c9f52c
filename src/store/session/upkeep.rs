//! What the leader does beside refreshing, and the count of records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{SessionSettings, bounded};
use crate::store::{
    Epoch, KeptUp, Operation, Role, StoreError, StoreFuture, StoreHandle, StoreState,
};

/// The most time for one operation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The most time for taking leave of all records of removed sources.
const RETAIN_TIMEOUT: Duration = Duration::from_mins(10);

/// After an operation that has failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How often expired records are looked for. `keep` is enforced each minute, or each `keep` if that
/// is shorter.
const MAX_EXPIRY_INTERVAL: Duration = Duration::from_secs(30);

/// Between two batches of expired records, so that other operations come in between.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// How often the concurrency limits are looked at. They are saved if they have changed.
const LIMITS_INTERVAL: Duration = Duration::from_secs(5);

/// How often records are counted if this process writes none.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// The least time between two counts.
const COUNT_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Upkeep {
    handle: StoreHandle,
    settings: watch::Receiver<SessionSettings>,
    keep: Duration,
}

impl Upkeep {
    pub(super) fn new(
        handle: StoreHandle,
        settings: watch::Receiver<SessionSettings>,
        keep: Duration,
    ) -> Self {
        Self { handle, settings, keep }
    }

    pub(super) async fn run(self) {
        tokio::join!(
            self.retain_sources(),
            self.delete_expired(),
            self.save_limits(),
            self.count()
        );
    }

    /// Makes the records of sources that are no longer configured not current: when a term begins,
    /// and after a reload.
    async fn retain_sources(&self) {
        let mut settings = self.settings.clone();
        let mut retained: Option<(Epoch, KeptUp)> = None;
        loop {
            let epoch = self.lease().await;
            let kept_up = settings.borrow_and_update().kept_up.clone();
            if retained.as_ref() != Some(&(epoch, kept_up.clone())) {
                let names: Vec<String> = kept_up.0.iter().map(|(name, _)| name.clone()).collect();
                let operation = self.handle.store().retain_sources(epoch, &names);
                if self.attempt("removed sources", RETAIN_TIMEOUT, operation).await.is_err() {
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
                retained = Some((epoch, kept_up));
            }
            tokio::select! {
                Ok(()) = settings.changed() => {}
                () = self.end_of(epoch) => {}
            }
        }
    }

    async fn delete_expired(&self) {
        let interval = MAX_EXPIRY_INTERVAL.min(self.keep / 2);
        loop {
            let epoch = self.lease().await;
            let started = Instant::now();
            let deletion = self.handle.claims().deleting().await;
            let store = self.handle.store();
            let operation = store.delete_expired(epoch, self.keep, &deletion.claims);
            let pause = match self.attempt("expired records", OPERATION_TIMEOUT, operation).await {
                Ok(0) => interval.saturating_sub(started.elapsed()),
                Ok(_) => BATCH_PAUSE,
                Err(_) => RETRY_PAUSE,
            };
            drop(deletion);
            sleep(pause).await;
        }
    }

    /// Saves the concurrency limits when they have changed.
    async fn save_limits(&self) {
        let mut saved: Option<(Epoch, BTreeMap<String, usize>)> = None;
        loop {
            let epoch = self.lease().await;
            if saved.as_ref().is_none_or(|(of, _)| *of != epoch) {
                let heads = self.handle.state().heads.unwrap_or_default();
                saved = Some((epoch, heads.limits.iter().cloned().collect()));
            }
            let limits = self.settings.borrow().upstreams.limits();
            let sorted: BTreeMap<String, usize> = limits.iter().cloned().collect();
            if saved.as_ref().is_some_and(|(_, saved)| *saved != sorted) {
                let operation = self.handle.store().save_limits(epoch, &limits);
                let what = "the concurrency limits";
                if self.attempt(what, OPERATION_TIMEOUT, operation).await.is_ok() {
                    saved = Some((epoch, sorted));
                }
            }
            sleep(LIMITS_INTERVAL).await;
        }
    }

    /// Counts the records after each write, at most once a second.
    async fn count(&self) {
        let mut state = self.handle.subscribe();
        let mut writes = self.handle.writes();
        loop {
            let heads = match state.wait_for(is_reached).await {
                Ok(state) => state.heads.clone(),
                Err(_) => unreachable!("the handle has a sender"),
            };
            let count = self.handle.store().count();
            match bounded("counting", OPERATION_TIMEOUT, count).await {
                Ok(records) if self.handle.state().records != Some(records) => {
                    self.handle.update(|state| state.records = Some(records));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the stored records cannot be counted"),
            }
            let have_others_written = |state: &StoreState| {
                matches!(state.role, Role::Follower { .. })
                    && state.heads.as_ref().map(Arc::as_ptr) != heads.as_ref().map(Arc::as_ptr)
            };
            tokio::select! {
                () = sleep(COUNT_INTERVAL) => {}
                Ok(()) = writes.changed() => {}
                _ = state.wait_for(have_others_written) => {}
            }
            sleep(COUNT_PAUSE).await;
        }
    }

    async fn attempt<T>(
        &self,
        what: &str,
        bound: Duration,
        operation: StoreFuture<'_, T>,
    ) -> Result<T, StoreError> {
        let result = bounded(what, bound, operation).await;
        self.handle.note(Operation::Upkeep, &result);
        result
    }

    /// Waits until this process has the lease, and is not about to give it back.
    async fn lease(&self) -> Epoch {
        let mut state = self.handle.subscribe();
        loop {
            let epoch = {
                let state = state.borrow_and_update();
                state.role.epoch(Instant::now()).filter(|_| !state.is_leaving)
            };
            if let Some(epoch) = epoch {
                return epoch;
            }
            // The handle has a sender.
            let _ = state.changed().await;
        }
    }

    /// Waits until this process does not have this lease any more.
    async fn end_of(&self, epoch: Epoch) {
        let mut state = self.handle.subscribe();
        let _ = state.wait_for(|state| state.role.epoch(Instant::now()) != Some(epoch)).await;
    }
}

fn is_reached(state: &StoreState) -> bool {
    matches!(state.role, Role::Leader { .. } | Role::Follower { .. })
}
