//! Which role the process has among those that share the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Beginnings, Departure, PAUSES, SessionSettings, bounded};
use crate::retry::Retry;
use crate::store::{
    Epoch, Heads, KeptUp, Lease, Operation, Role, SourceHead, StoreError, StoreHandle,
};

/// How often a leader renews its lease.
const RENEW_INTERVAL: Duration = Duration::from_millis(2500);

/// How often others look for a free lease, and for what the leader has stored.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// From a notification to the look at what is stored, so that one look sees all sources that were
/// written together.
const GATHER_PAUSE: Duration = Duration::from_millis(100);

/// The most time for the first preparation, which may migrate the schema.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(15);

/// The most time for each other operation. The three that begin a term fit into that of a lease.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The most time for giving the lease back.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long after the last answer a process without the lease regards the store as unreachable. A
/// connection that was cut is replaced within that time.
const DETACH_AFTER: Duration = Duration::from_secs(3);

/// The same if it can tell who has the lease, but not what is stored: reading many records may hold
/// that up.
const DETACH_WITHOUT_HEADS_AFTER: Duration = Duration::from_secs(15);

/// Takes and renews the lease, and publishes the role and what is stored.
pub(super) struct Membership {
    handle: StoreHandle,
    settings: watch::Receiver<SessionSettings>,
    departure: Departure,
    retry: Retry,
    /// Whether the store was ready at some time, and whether it still was at the last attempt.
    was_ready: bool,
    is_ready: bool,
    /// The newest lease that this process was given, whether or not its term has begun.
    epoch: Option<Epoch>,
    /// The forwards that were begun last, and under which lease.
    begun: Option<(Epoch, Beginnings)>,
    /// Whether the last attempt could tell who has the lease.
    saw_lease: bool,
    /// When an attempt last succeeded.
    answered_at: Instant,
}

impl Membership {
    pub(super) fn new(
        handle: StoreHandle,
        settings: watch::Receiver<SessionSettings>,
        departure: Departure,
        seed: u64,
    ) -> Self {
        Self {
            handle,
            settings,
            departure,
            retry: Retry::new(PAUSES, seed),
            was_ready: false,
            is_ready: false,
            epoch: None,
            begun: None,
            saw_lease: false,
            answered_at: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let started = Instant::now();
            let result = self.attempt().await;
            self.handle.note(Operation::Session, &result);
            let wake = match result {
                Ok(()) => {
                    self.answered_at = Instant::now();
                    self.retry.note_success();
                    started + if self.is_leader() { RENEW_INTERVAL } else { POLL_INTERVAL }
                }
                Err(_) => {
                    self.is_ready = false;
                    self.detach_if_unanswered();
                    self.retry.note_failure(Instant::now(), Duration::ZERO)
                }
            };
            let store = Arc::clone(self.handle.store());
            let (follows, has_left) = (self.is_follower(), self.has_left());
            let departure = self.departure.clone();
            tokio::select! {
                () = sleep_until(wake) => {}
                () = store.notified(), if follows => sleep(GATHER_PAUSE).await,
                Ok(()) = self.settings.changed() => {}
                () = departure.asked(), if !has_left => self.release().await,
            }
        }
    }

    /// Renews the lease, or looks whether it is free, and publishes the role that follows.
    async fn attempt(&mut self) -> Result<(), StoreError> {
        let store = Arc::clone(self.handle.store());
        self.saw_lease = false;
        if !self.is_ready {
            let bound = if self.was_ready { ANSWER_TIMEOUT } else { PREPARE_TIMEOUT };
            bounded("preparing the store", bound, store.prepare()).await?;
            self.was_ready = true;
            self.is_ready = true;
        }
        let SessionSettings { kept_up, forwards, .. } = self.settings.borrow_and_update().clone();
        let lease = if self.has_left() {
            // It goes on serving what others store, and counts on another to refresh.
            Lease::Other { kept_up }
        } else {
            bounded("the lease", ANSWER_TIMEOUT, store.acquire_or_renew(&kept_up)).await?
        };
        self.saw_lease = true;
        match lease {
            Lease::Held { epoch, until } => {
                self.epoch = Some(epoch);
                if self.renew(epoch, until) {
                    self.begin_forwards(epoch, forwards).await?;
                } else {
                    // What is stored is read first, so that the refresh restores before it calls.
                    let heads = bounded("the sources", ANSWER_TIMEOUT, store.heads()).await?;
                    // Before anything is written, which a forward is to send.
                    self.begin_forwards(epoch, forwards).await?;
                    self.begin_term(epoch, until, heads);
                }
            }
            Lease::Other { kept_up } => {
                self.epoch = None;
                let heads = bounded("the sources", ANSWER_TIMEOUT, store.heads()).await?;
                self.follow(kept_up, heads);
            }
        }
        Ok(())
    }

    /// Prolongs the term of this lease, if it has begun.
    fn renew(&self, epoch: Epoch, until: Instant) -> bool {
        let is_term = matches!(self.handle.state().role,
            Role::Leader { epoch: present, .. } if present == epoch);
        if is_term {
            self.handle.update(|state| state.enter(Role::Leader { epoch, until }));
        }
        is_term
    }

    /// Begins the positions of the forwards that have none, unless that was done under this lease.
    async fn begin_forwards(
        &mut self,
        epoch: Epoch,
        forwards: Beginnings,
    ) -> Result<(), StoreError> {
        let is_begun = |(of, begun): &(Epoch, Beginnings)| *of == epoch && *begun == forwards;
        if !forwards.is_empty() && !self.begun.as_ref().is_some_and(is_begun) {
            let operation = self.handle.store().begin_forwards(epoch, &forwards);
            bounded("the positions of the forwards", ANSWER_TIMEOUT, operation).await?;
            self.begun = Some((epoch, forwards));
        }
        Ok(())
    }

    fn begin_term(&self, epoch: Epoch, until: Instant, heads: Heads) {
        tracing::info!(epoch = epoch.0, "this process has the lease: it refreshes the sources");
        self.settings.borrow().upstreams.adopt_limits(&heads.limits);
        self.handle.update(|state| {
            state.heads = Some(Arc::new(heads));
            state.enter(Role::Leader { epoch, until });
        });
    }

    fn follow(&self, kept_up: KeptUp, heads: Heads) {
        let (was_follower, has_changed) = {
            let state = self.handle.state();
            if state.heads.is_none() {
                self.settings.borrow().upstreams.adopt_limits(&heads.limits);
            }
            let same_role = matches!(&state.role, Role::Follower { kept_up: of } if *of == kept_up);
            let same_heads = state.heads.is_some_and(|known| are_same(&known, &heads));
            (matches!(state.role, Role::Follower { .. }), !same_role || !same_heads)
        };
        if !was_follower {
            tracing::info!("another process has the lease: it refreshes the sources");
        }
        if has_changed {
            self.handle.update(|state| {
                state.heads = Some(Arc::new(heads));
                state.enter(Role::Follower { kept_up });
            });
        }
    }

    /// A lease ends at its own time, and the wait for the first answer too.
    fn detach_if_unanswered(&self) {
        // If this process has the lease, nobody refreshes until its term begins.
        let another_leads = self.saw_lease && self.epoch.is_none();
        let most = if another_leads { DETACH_WITHOUT_HEADS_AFTER } else { DETACH_AFTER };
        if self.is_follower() && self.answered_at.elapsed() >= most {
            self.handle.update(|state| state.enter(Role::Detached));
        }
    }

    /// Gives the lease back. From now on the process only follows.
    async fn release(&mut self) {
        let kept_up = self.settings.borrow().kept_up.clone();
        self.handle.update(|state| {
            state.enter(Role::Follower { kept_up });
            state.is_leaving = false;
        });
        if let Some(epoch) = self.epoch.take() {
            let store = Arc::clone(self.handle.store());
            match bounded("giving the lease back", RELEASE_TIMEOUT, store.release(epoch)).await {
                Ok(()) => tracing::info!(epoch = epoch.0, "the lease was given back"),
                Err(error) => tracing::warn!(
                    epoch = epoch.0,
                    %error,
                    "the lease could not be given back; it runs out by itself"
                ),
            }
        }
        self.departure.complete();
    }

    fn has_left(&self) -> bool {
        self.departure.is_complete()
    }

    fn is_leader(&self) -> bool {
        matches!(self.handle.state().role, Role::Leader { .. })
    }

    fn is_follower(&self) -> bool {
        matches!(self.handle.state().role, Role::Follower { .. })
    }
}

/// Whether the same is stored of the sources. Their ages differ each time that they are read.
fn are_same(known: &Heads, read: &Heads) -> bool {
    let is_same = |(known, read): (&SourceHead, &SourceHead)| {
        let SourceHead { name, fingerprint, revision, age: _, fetched_at, report } = known;
        (name, fingerprint, revision, fetched_at, report)
            == (&read.name, &read.fingerprint, &read.revision, &read.fetched_at, &read.report)
    };
    known.limits == read.limits
        && known.sources.len() == read.sources.len()
        && known.sources.iter().zip(&read.sources).all(is_same)
}
