//! One limit on the calls in flight, shared by all sources of an upstream: fixed, or found by
//! measuring.
//!
//! This file counts: who is in flight, how many were on average while a call ran, and who was
//! turned away. What the figures mean for the limit is decided in [`search`].

mod search;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};

use self::search::Search;
use super::call::Attempt;
use super::metrics::ConcurrencyMetrics;
use super::{UpstreamError, lock};
use crate::config::Concurrency;
use crate::outcome::Outcome;

/// Where [`Concurrency::Auto`] starts: low, since the upstream slows when pressed.
const START: usize = 3;

/// A window ends when nothing is in flight (a refresh is over) or, where that never happens, after
/// so many calls.
const WINDOW: usize = 64;

/// How many calls are in flight, and how many may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that may be in flight at once. For a moment after it was lowered, more may be.
    pub limit: usize,
}

/// What a finished call says of the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signal {
    /// It was answered: how long that took is a measurement.
    Answered,
    /// The upstream said that it has too much to do.
    PushedBack,
    /// It was not answered in time.
    TimedOut,
    /// It failed in a way that says nothing of the load, or was given up.
    Nothing,
}

impl Signal {
    fn of<T>(result: &Result<T, UpstreamError>, probe: bool) -> Self {
        const BUSY: [Option<StatusCode>; 2] =
            [Some(StatusCode::TOO_MANY_REQUESTS), Some(StatusCode::SERVICE_UNAVAILABLE)];
        match result {
            Ok(_) => Self::Answered,
            Err(error) if error.kind == Outcome::Timeout => Self::TimedOut,
            // A source whose circuit is not closed is ill by itself; what it says is not about the
            // load.
            Err(error) if BUSY.contains(&error.status) && !probe => Self::PushedBack,
            Err(_) => Self::Nothing,
        }
    }
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits that were taken off the limit while they were in use; they end with their calls.
    debt: usize,
    in_flight: usize,
    /// The integral of `in_flight` over time in seconds, up to `since`.
    area: f64,
    since: Instant,
    /// When the limit was last reached.
    full: Option<Instant>,
    /// Counts the limit's changes: a call that began under another limit measures neither of the
    /// two.
    epoch: u64,
    /// Calls that ended in this window.
    ended: usize,
    /// Whether a call had to wait in this window.
    waited: bool,
    /// Whether the limit was lowered in this window; once is enough until it shows what that has
    /// done.
    backed_off: bool,
    /// The sources that were answered, pushed back, timed out in this window under this limit.
    answered: BTreeSet<usize>,
    pushed_back: BTreeSet<usize>,
    timed_out: BTreeSet<usize>,
    search: Option<Search>,
}

impl State {
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "in_flight is small")]
        let in_flight = self.in_flight as f64;
        self.area += in_flight * now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.note_full();
        now
    }

    fn note_full(&mut self) {
        if self.in_flight >= self.limit {
            self.full = Some(self.since);
        }
    }

    /// Takes what a call says, which ran with `in_flight` calls on average, itself included.
    fn learn(&mut self, permit: &Permit, in_flight: f64, latency: f64) {
        #[expect(clippy::cast_precision_loss, reason = "limits are small")]
        let limit = self.limit as f64;
        // Where the limit was never reached, lowering it cannot have helped.
        let pressed = self.full.is_some_and(|full| full >= permit.began);
        match permit.signal {
            Signal::Answered => {
                self.answered.insert(permit.source);
                // Below that, a lower limit would have given the same figure.
                if in_flight > limit - 1.0
                    && let Some(search) = &mut self.search
                {
                    search.measured(permit.source, in_flight, latency);
                }
                return;
            }
            Signal::PushedBack if pressed => drop(self.pushed_back.insert(permit.source)),
            Signal::TimedOut if pressed => drop(self.timed_out.insert(permit.source)),
            Signal::PushedBack | Signal::TimedOut | Signal::Nothing => return,
        }
        let load = self.is_load();
        if let Some(search) = &mut self.search
            && !self.backed_off
            && (load || search.blames_step(permit.source))
        {
            search.congested();
            self.backed_off = true;
        }
    }

    fn forget_sources(&mut self) {
        self.answered.clear();
        self.pushed_back.clear();
        self.timed_out.clear();
    }

    /// Whether the failures of this window are a sign of load rather than of one ill source.
    ///
    /// Being pushed back is explicit, so two sources are enough. A timeout is not: where most
    /// sources answer, those that do not have a trouble of their own, and fewer calls at once would
    /// only make the others wait behind them.
    fn is_load(&self) -> bool {
        self.pushed_back.len() >= 2
            || (self.timed_out.len() >= 2 && self.timed_out.len() >= self.answered.len())
    }
}

/// The limit and its state. One for all sources of an upstream: their calls slow each other down.
#[derive(Debug)]
pub(super) struct Limiter {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    metrics: ConcurrencyMetrics,
}

impl Limiter {
    /// `most` bounds what `Auto` may reach.
    pub(super) fn new(concurrency: Concurrency, most: usize, metrics: ConcurrencyMetrics) -> Self {
        let (limit, search) = match concurrency {
            Concurrency::Fixed(limit) => (limit.max(1), None),
            Concurrency::Auto => {
                let limit = START.min(most.max(1));
                (limit, Some(Search::new(limit, most.max(1))))
            }
        };
        metrics.set(0, limit);
        let state = State {
            limit,
            debt: 0,
            in_flight: 0,
            area: 0.0,
            since: Instant::now(),
            full: None,
            epoch: 0,
            ended: 0,
            waited: false,
            backed_off: false,
            answered: BTreeSet::new(),
            pushed_back: BTreeSet::new(),
            timed_out: BTreeSet::new(),
            search,
        };
        Self { permits: Arc::new(Semaphore::new(limit)), state: Mutex::new(state), metrics }
    }

    pub(super) fn load(&self) -> Load {
        let state = lock(&self.state);
        Load { in_flight: state.in_flight, limit: state.limit }
    }

    async fn enter(self: &Arc<Self>, source: usize) -> Permit {
        let slot = if let Ok(slot) = Arc::clone(&self.permits).try_acquire_owned() {
            slot
        } else {
            lock(&self.state).waited = true;
            // In the order of arrival: the refresh calls the slowest source first, and means it.
            Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
        };
        let mut state = lock(&self.state);
        let began = state.advance();
        state.in_flight += 1;
        state.note_full();
        self.metrics.set(state.in_flight, state.limit);
        Permit {
            limiter: Arc::clone(self),
            slot: Some(slot),
            source,
            began,
            area: state.area,
            epoch: state.epoch,
            signal: Signal::Nothing,
        }
    }

    fn leave(&self, permit: &mut Permit) {
        let mut state = lock(&self.state);
        let now = state.advance();
        state.in_flight -= 1;
        state.ended += 1;
        if state.debt > 0 {
            state.debt -= 1;
            permit.slot.take().into_iter().for_each(OwnedSemaphorePermit::forget);
        } else {
            permit.slot = None;
        }
        let latency = now.duration_since(permit.began).as_secs_f64();
        if permit.epoch == state.epoch && latency > 0.0 {
            let in_flight = (state.area - permit.area) / latency;
            state.learn(permit, in_flight, latency);
        }
        let idle = state.in_flight == 0 && self.permits.available_permits() >= state.limit;
        if idle || state.ended >= WINDOW {
            let (waited, backed_off) = (state.waited, state.backed_off);
            if let Some(search) = &mut state.search
                && !backed_off
            {
                search.end_window(waited);
            }
            state.forget_sources();
            (state.ended, state.waited, state.backed_off) = (0, false, false);
        }
        self.follow_search(&mut state);
        self.metrics.set(state.in_flight, state.limit);
    }

    fn follow_search(&self, state: &mut State) {
        let Some(limit) =
            state.search.as_ref().map(Search::limit).filter(|limit| *limit != state.limit)
        else {
            return;
        };
        if let Some(more) = limit.checked_sub(state.limit) {
            let kept = more.min(state.debt);
            state.debt -= kept;
            self.permits.add_permits(more - kept);
        } else {
            let fewer = state.limit - limit;
            state.debt += fewer - self.permits.forget_permits(fewer);
        }
        tracing::debug!(from = state.limit, to = limit, "upstream concurrency limit changed");
        state.limit = limit;
        state.epoch += 1;
        state.forget_sources();
    }
}

/// The right to have one call in flight; given back on drop, so that a call that is given up gives
/// it back too.
#[derive(Debug)]
struct Permit {
    limiter: Arc<Limiter>,
    slot: Option<OwnedSemaphorePermit>,
    source: usize,
    began: Instant,
    area: f64,
    epoch: u64,
    signal: Signal,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let limiter = Arc::clone(&self.limiter);
        limiter.leave(self);
    }
}

/// Puts the limit in front of a service. Calls wait their turn inside the call, not in
/// `poll_ready`, so that a retry holds no permit while it backs off.
#[derive(Clone, Debug)]
pub(super) struct LimiterService<S> {
    pub(super) inner: S,
    pub(super) limiter: Arc<Limiter>,
}

impl<S> Service<Attempt> for LimiterService<S>
where
    S: Service<Attempt, Error = UpstreamError> + Clone + Send + 'static,
    S::Response: Send,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<S::Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (inner, limiter) = (self.inner.clone(), Arc::clone(&self.limiter));
        Box::pin(async move {
            let mut permit = limiter.enter(attempt.endpoint).await;
            let probe = attempt.is_probe;
            let result = inner.oneshot(attempt).await;
            permit.signal = Signal::of(&result, probe);
            result
        })
    }
}

#[cfg(test)]
mod tests;
