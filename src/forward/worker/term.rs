//! A forward while the process has one lease.

use std::future::pending;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::boundaries::Boundaries;
use super::commit::{Committed, commit};
use super::lag::{Lag, Reading};
use super::pages::Pages;
use super::progress::{Progress, records};
use super::wakes::Wakes;
use super::{Mode, Worker, store_failure};
use crate::forward::Reply;
use crate::forward::settings::Destination;
use crate::retry::{Pauses, Retry};
use crate::store::{DuePage, Epoch, StoreError, StoreState, StoredForward};

/// Between failures of the receiver, or of the store.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

/// After so many failures in a row a worker that runs once gives up.
pub(super) const MAX_FAILURES: u32 = 5;

/// The longest time for which a worker that runs once lets its receiver be alone.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How long records are kept in memory before they are sent. Those that `forget` deletes meanwhile
/// are sent nevertheless.
const MAX_WAITING: Duration = Duration::from_secs(5);

/// Sends while the process has one lease. One future of each kind is under way at most: a request,
/// an advance of what was sent before, the next page, and a count.
pub(super) struct Term<'a, D> {
    pub(super) worker: &'a mut Worker<D>,
    epoch: Epoch,
    state: watch::Receiver<StoreState>,
    writes: watch::Receiver<()>,
    pub(super) progress: Progress,
    pub(super) pages: Pages,
    pub(super) boundaries: Boundaries,
    pub(super) lag: Lag,
    pub(super) request: Option<BoxFuture<'static, Reply>>,
    advance: Option<BoxFuture<'static, Committed>>,
    pub(super) page: Option<BoxFuture<'static, Result<DuePage, StoreError>>>,
    pub(super) reading: Option<BoxFuture<'static, Result<Reading, StoreError>>>,
    /// The failures of the receiver.
    pub(super) retry: Retry,
    /// How many requests in a row got no answer, since a batch was divided because of that.
    pub(super) unanswered: u32,
    /// The failures of reading.
    pub(super) page_retry: Retry,
    /// Whether there was nothing behind the records that were read.
    pub(super) is_at_end: bool,
    /// When that was read last.
    pub(super) read_at: Instant,
    /// Records up to this number wait for no others any more.
    pub(super) waited_through: i64,
    /// Whether what is claimed is to be given back once all is stored that was sent.
    pub(super) gives_claim_back: bool,
    /// Why no more is sent, if it gives up.
    pub(super) gave_up: Option<String>,
    sent: u64,
}

/// How a term has ended, and what was sent.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) sent: u64,
    /// How many dead letters were stored, as far as is known.
    pub(super) stored_dead_letters: u64,
}

/// Why a term has ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing is to be done any more.
    Complete,
    /// This process has the lease no more.
    LeaseLost,
    /// What is stored is not what was expected.
    Outdated,
    /// The receiver or the store has failed too often.
    GaveUp(String),
}

/// What is done and not stored will be sent again.
impl<D> Drop for Term<'_, D> {
    fn drop(&mut self) {
        self.worker.handle.claims().set_done(&self.progress.stored.name, Vec::new());
    }
}

impl<'a, D: Destination> Term<'a, D> {
    pub(super) fn new(worker: &'a mut Worker<D>, epoch: Epoch, stored: StoredForward) -> Self {
        let now = Instant::now();
        let config = worker.destination.config();
        let claims = worker.handle.claims();
        claims.claim(&config.name, 0);
        claims.set_done(&config.name, Vec::new());
        Self {
            epoch,
            state: worker.handle.subscribe(),
            writes: worker.handle.writes(),
            pages: Pages::new(config.batch, stored.position),
            progress: Progress::new(stored),
            boundaries: Boundaries::default(),
            lag: Lag::new(now),
            request: None,
            advance: None,
            page: None,
            reading: None,
            retry: Retry::new(PAUSES, worker.jitter.u64(..)),
            unanswered: 0,
            page_retry: Retry::new(PAUSES, worker.jitter.u64(..)),
            is_at_end: false,
            read_at: now,
            waited_through: 0,
            gives_claim_back: false,
            gave_up: None,
            sent: 0,
            worker,
        }
    }

    /// Sends until the term ends.
    pub(super) async fn run(mut self) -> Ended {
        let end = loop {
            let wake = match self.go_on() {
                Ok(wake) => wake,
                Err(end) => break end,
            };
            let sleep = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => pending().await,
                }
            };
            let end = tokio::select! {
                biased;
                // The handle has a sender.
                _ = self.state.changed() => None,
                reply = of(&mut self.request) => {
                    self.note_reply(reply);
                    None
                }
                committed = of(&mut self.advance) => self.note_committed(committed),
                page = of(&mut self.page) => {
                    self.note_page(page);
                    None
                }
                reading = of(&mut self.reading) => {
                    self.note_reading(reading);
                    None
                }
                // Here, too.
                _ = self.writes.changed() => {
                    self.note_write();
                    None
                }
                () = sleep => None,
            };
            if let Some(end) = end {
                break end;
            }
        };
        Ended { end, sent: self.sent, stored_dead_letters: self.progress.stored.dead_letters }
    }

    /// Starts what can be started; returns when there may be more to start if nothing happens.
    fn go_on(&mut self) -> Result<Option<Instant>, End> {
        let now = Instant::now();
        let is_leaving = {
            let state = self.state.borrow_and_update();
            if state.role.epoch(now) != Some(self.epoch) {
                return Err(End::LeaseLost);
            }
            state.is_leaving
        };
        let is_stopping = is_leaving || self.gave_up.is_some();
        let mut wakes = Wakes::new(now);
        // The next request does not wait until the one before is stored.
        self.store_progress();
        if !is_stopping {
            self.read_page(&mut wakes);
            self.send(&mut wakes);
            self.store_progress();
            self.read_lag(&mut wakes);
        }
        self.publish();
        if self.is_complete(is_stopping) {
            return Err(self.gave_up.take().map_or(End::Complete, End::GaveUp));
        }
        Ok(wakes.earliest())
    }

    fn is_complete(&self, is_stopping: bool) -> bool {
        let is_done = self.worker.mode == Mode::Once
            && self.has_read_all()
            && self.pages.len() == 0
            && !self.progress.has_gaps();
        let is_idle = self.request.is_none() && self.progress.is_stored();
        is_idle && (is_stopping || is_done)
    }

    /// Sends the next batch, if it is its time.
    fn send(&mut self, wakes: &mut Wakes) {
        if self.request.is_some() || self.progress.is_ready() {
            return;
        }
        let passed = self.pages.passed();
        self.boundaries.pass(passed);
        self.progress.pass(passed);
        if self.progress.is_ready() || !self.is_batch_due(wakes) {
            return;
        }
        let waits_until = self.worker.pace.waits_until(wakes.now);
        if wakes.until(self.retry.waits_until(wakes.now).max(waits_until)) {
            return;
        }
        let read_at = self.pages.read_at();
        let rows = self.pages.leading(self.boundaries.next());
        if read_at.is_none_or(|read_at| wakes.now - read_at > MAX_WAITING) {
            let last = rows.last().map_or(0, |row| row.number);
            self.waited_through = self.waited_through.max(last);
            self.read_again();
            return self.read_page(wakes);
        }
        let destination = self.worker.destination.clone();
        let batch = destination.encode(rows, SystemTime::now());
        let ids = rows[..batch.records].iter().map(|row| row.id).collect();
        self.pages.send(batch.records);
        self.worker.pace.take(wakes.now);
        self.request = Some(async move { destination.send(batch, ids).await }.boxed());
        self.read_page(wakes);
    }

    /// Whether the records that wait are to be sent, rather than to wait for more of them.
    fn is_batch_due(&self, wakes: &mut Wakes) -> bool {
        let (Some(next), Some(read_at)) = (self.pages.next(), self.pages.read_at()) else {
            return false;
        };
        if self.boundaries.next().is_some()
            || self.pages.is_batch_full()
            || next <= self.waited_through
        {
            return true;
        }
        match self.worker.mode {
            Mode::Serve => {
                let max_wait = self.worker.destination.config().batch.max_wait;
                !wakes.until(Some(read_at + max_wait).filter(|until| *until > wakes.now))
            }
            Mode::Once => self.page.is_none(),
        }
    }

    fn store_progress(&mut self) {
        if let Some(advance) = self.progress.store_next() {
            let max_failures = (self.worker.mode == Mode::Once).then_some(MAX_FAILURES);
            let retry = Retry::new(PAUSES, self.worker.jitter.u64(..));
            let handle = self.worker.handle.clone();
            self.advance = Some(commit(handle, self.epoch, advance, max_failures, retry).boxed());
        }
        if self.gives_claim_back && self.progress.is_stored() {
            self.gives_claim_back = false;
            self.worker.handle.claims().claim(&self.progress.stored.name, 0);
        }
    }

    fn note_committed(&mut self, committed: Committed) -> Option<End> {
        match committed {
            Committed::Stored => {}
            Committed::Outdated => return Some(End::Outdated),
            Committed::LeaseLost => return Some(End::LeaseLost),
            Committed::GaveUp(error) => return Some(End::GaveUp(store_failure(&error))),
        }
        let advance = self.progress.note_stored();
        self.lag.reduce(records(&advance));
        let dead_letters = advance.dead_letters.len() as u64;
        self.sent += advance.sent;
        self.worker.metrics.sent.inc_by(advance.sent);
        self.worker.metrics.dead_letters.inc_by(dead_letters);
        for letter in advance.dead_letters {
            tracing::warn!(
                forward = %self.progress.stored.name,
                id = %letter.id,
                status = letter.status,
                answer = %letter.answer,
                "the receiver refuses a record: it becomes a dead letter and is not sent again"
            );
        }
        None
    }

    fn note_write(&mut self) {
        self.is_at_end = false;
        self.lag.note_write();
    }

    /// A worker that runs once gives up after so many failures in a row.
    pub(super) fn give_up_after(&mut self, failures: u32, why: impl FnOnce() -> String) {
        if self.worker.mode == Mode::Once && failures >= MAX_FAILURES {
            self.gave_up = Some(why());
        }
    }
}

/// The result of the future that is under way, if there is one.
async fn of<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    let result = match slot {
        Some(future) => future.await,
        None => pending().await,
    };
    *slot = None;
    result
}
