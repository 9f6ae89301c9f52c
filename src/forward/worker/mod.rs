//! The task of one forward.

mod boundaries;
mod commit;
mod lag;
mod page_reads;
mod pages;
mod progress;
mod replies;
mod status;
mod term;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::status::warn_of_deleted;
use self::term::{End, Term};
use super::metrics::MetricsOfForward;
use super::settings::Destination;
use super::status::Board;
use crate::config::Rate;
use crate::store::{Epoch, Role, StoreError, StoreHandle, StoredForward};

/// How long to wait before what is stored of a forward is read again.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The worker of one forward.
pub(super) struct Worker<D> {
    destination: Arc<D>,
    handle: StoreHandle,
    board: Board,
    metrics: MetricsOfForward,
    mode: Mode,
    pace: Pace,
    jitter: fastrand::Rng,
}

/// How long a worker goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Until the lease is about to be given back.
    Serve,
    /// Until nothing is due any more, or until it gives up.
    Once,
}

/// What a worker in [`Mode::Once`] has done.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) sent: u64,
    pub(super) dead_letters: u64,
    pub(super) gave_up: Option<String>,
}

impl<D: Destination> Worker<D> {
    pub(super) fn new(
        destination: Arc<D>,
        handle: StoreHandle,
        board: Board,
        mode: Mode,
        seed: u64,
    ) -> Self {
        let config = destination.config();
        let (pace, metrics) = (Pace::new(config.rate), board.metrics().of(&config.name));
        let jitter = fastrand::Rng::with_seed(seed);
        Self { destination, handle, board, metrics, mode, pace, jitter }
    }

    /// Sends whenever this process has the lease, until that is about to be given back.
    pub(super) async fn serve(mut self) {
        let mut lost = None;
        while let Some(epoch) = self.lease(lost).await {
            let Some(stored) = self.read_stored(epoch).await else { continue };
            match Term::new(&mut self, epoch, stored).run().await.end {
                End::Complete => return,
                // It may have been renewed during the term.
                End::LeaseLost => lost = self.held().filter(|(of, _)| *of == epoch),
                End::Outdated => sleep(READ_PAUSE).await,
                End::GaveUp(_) => unreachable!("only a worker that runs once gives up"),
            }
        }
    }

    /// Sends what is due.
    pub(super) async fn run_once(mut self, epoch: Epoch) -> Done {
        let stored = match self.stored().await {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                let detail = "the store has no position for it".to_owned();
                return Done { gave_up: Some(detail), ..Done::default() };
            }
            Err(error) => {
                return Done { gave_up: Some(store_failure(&error)), ..Done::default() };
            }
        };
        let before = stored.dead_letters;
        let ended = Term::new(&mut self, epoch, stored).run().await;
        // Some may have been deleted before they were sent.
        let after = match self.stored().await {
            Ok(Some(stored)) => stored.dead_letters,
            _ => ended.stored_dead_letters,
        };
        let forward = &self.destination.config().name;
        warn_of_deleted(forward, after.saturating_sub(ended.stored_dead_letters));
        let dead_letters = after.saturating_sub(before);
        let gave_up = match ended.end {
            End::Complete => None,
            End::LeaseLost => Some("another process has the lease of the store".to_owned()),
            End::Outdated => Some("another process has moved its position".to_owned()),
            End::GaveUp(detail) => Some(detail),
        };
        Done { sent: ended.sent, dead_letters, gave_up }
    }

    /// What is stored of the forward.
    async fn stored(&self) -> Result<Option<StoredForward>, StoreError> {
        let name = &self.destination.config().name;
        let stored = self.handle.store().forwards().await?;
        Ok(stored.into_iter().find(|stored| stored.name == *name))
    }

    /// The lease that this process holds as far as it knows, and until when.
    fn held(&self) -> Option<(Epoch, Instant)> {
        match self.handle.state().role {
            Role::Leader { epoch, until } => Some((epoch, until)),
            Role::Waiting | Role::Follower { .. } | Role::Detached => None,
        }
    }

    /// Waits for a lease that is none, or was renewed since it was `lost`; `None` if it is about to
    /// be given back.
    async fn lease(&self, lost: Option<(Epoch, Instant)>) -> Option<Epoch> {
        let mut state = self.handle.subscribe();
        loop {
            {
                let state = state.borrow_and_update();
                if state.is_leaving {
                    return None;
                }
                if let Role::Leader { epoch, until } = state.role
                    && Instant::now() < until
                    && lost != Some((epoch, until))
                {
                    return Some(epoch);
                }
            }
            // The handle has a sender.
            let _ = state.changed().await;
        }
    }

    /// What is stored of the forward, once that can be read; `None` if the lease ends before.
    async fn read_stored(&self, epoch: Epoch) -> Option<StoredForward> {
        let mut state = self.handle.subscribe();
        let read = async {
            loop {
                // It is not begun yet if a reload has just added it.
                if let Ok(Some(stored)) = self.stored().await {
                    return stored;
                }
                sleep(READ_PAUSE).await;
            }
        };
        let end = state
            .wait_for(|state| state.is_leaving || state.role.epoch(Instant::now()) != Some(epoch));
        tokio::select! {
            stored = read => Some(stored),
            _ = end => None,
        }
    }
}

/// Spaces requests evenly.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<Rate>) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| rate.per / rate.requests.max(1));
        Self { interval, next: Instant::now() }
    }

    /// Until when no request may be sent.
    fn waits_until(&self, now: Instant) -> Option<Instant> {
        Some(self.next).filter(|next| *next > now)
    }

    /// A request is sent.
    fn take(&mut self, now: Instant) {
        self.next = now + self.interval;
    }
}

/// A failure of the store, for the operator.
fn store_failure(error: &StoreError) -> String {
    format!("the store: {error}")
}
