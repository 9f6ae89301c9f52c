//! A fixed or adaptive limit on the concurrent calls to an upstream, shared by all its sources.
//!
//! This file enforces the limit and collects measurements: how many calls were in flight on average
//! while a call ran, and which failures are signs of overload. [`search`] decides from these which
//! limit to try next.

mod search;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::search::Search;
use super::metrics::ConcurrencyMetrics;
use super::{UpstreamError, lock};
use crate::config::Concurrency;
use crate::outcome::Outcome;

/// The limit that [`Concurrency::Auto`] starts with. It is low because concurrent calls slow each
/// other down.
const INITIAL_LIMIT: usize = 3;

/// A window of measurements ends after this many calls, or when no call is in flight because a
/// refresh has ended.
const MAX_WINDOW_CALLS: usize = 64;

/// How many calls are in flight, and how many may be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Calls in flight.
    pub in_flight: usize,
    /// The most calls in flight. When the limit is lowered, calls beyond it may still run.
    pub limit: usize,
}

/// What the result of a call tells about the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signal {
    /// It was answered: its latency is a measurement.
    Answered,
    /// The upstream said that it is overloaded (429, 503).
    PushedBack,
    /// It was not answered in time.
    TimedOut,
    /// It failed in a way that tells nothing about the load, or was dropped.
    Uninformative,
}

impl Signal {
    fn of<T>(result: &Result<T, UpstreamError>, is_probe: bool) -> Self {
        const BUSY: [Option<StatusCode>; 2] =
            [Some(StatusCode::TOO_MANY_REQUESTS), Some(StatusCode::SERVICE_UNAVAILABLE)];
        match result {
            Ok(_) => Self::Answered,
            Err(error) if error.kind == Outcome::Timeout => Self::TimedOut,
            // A source with an open circuit has a fault of its own, so a failed probe tells nothing
            // about the load.
            Err(error) if BUSY.contains(&error.status) && !is_probe => Self::PushedBack,
            Err(_) => Self::Uninformative,
        }
    }
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits beyond the limit, which was lowered while they were in use. Each is removed when its
    /// call ends.
    excess_permits: usize,
    in_flight: usize,
    /// The integral of `in_flight` over time in seconds, up to `updated_at`.
    in_flight_seconds: f64,
    updated_at: Instant,
    /// When the limit was last reached.
    limit_reached_at: Option<Instant>,
    /// Counts the changes of the limit. A call that spans a change is no measurement of either
    /// limit.
    limit_version: u64,
    /// Calls that ended in this window.
    ended_calls: usize,
    /// Whether a call had to wait for a permit in this window.
    has_waited: bool,
    /// Whether the limit was lowered in this window. It is lowered once in a window, so that the
    /// effect is measured before it is lowered again.
    has_backed_off: bool,
    /// The sources that were answered, pushed back or timed out in this window under this limit.
    answered: BTreeSet<usize>,
    pushed_back: BTreeSet<usize>,
    timed_out: BTreeSet<usize>,
    search: Option<Search>,
}

impl State {
    /// Brings `in_flight_seconds` up to now.
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "in_flight is small")]
        let in_flight = self.in_flight as f64;
        self.in_flight_seconds += in_flight * now.duration_since(self.updated_at).as_secs_f64();
        self.updated_at = now;
        self.note_limit_reached();
        now
    }

    fn note_limit_reached(&mut self) {
        if self.in_flight >= self.limit {
            self.limit_reached_at = Some(self.updated_at);
        }
    }

    /// Records the result of a call during which `in_flight` calls ran on average, itself included.
    fn record(&mut self, permit: &Permit, in_flight: f64, latency: f64) {
        #[expect(clippy::cast_precision_loss, reason = "limits are small")]
        let limit = self.limit as f64;
        // If the limit was not reached during the call, a lower one would not have helped.
        let was_limit_reached =
            self.limit_reached_at.is_some_and(|reached| reached >= permit.started);
        match permit.signal {
            Signal::Answered => {
                self.answered.insert(permit.source);
                // With fewer calls in flight, a lower limit would have given the same latency.
                if in_flight > limit - 1.0
                    && let Some(search) = &mut self.search
                {
                    search.record(permit.source, in_flight, latency);
                }
                return;
            }
            Signal::PushedBack if was_limit_reached => drop(self.pushed_back.insert(permit.source)),
            Signal::TimedOut if was_limit_reached => drop(self.timed_out.insert(permit.source)),
            Signal::PushedBack | Signal::TimedOut | Signal::Uninformative => return,
        }
        let is_overload = self.is_overload();
        if let Some(search) = &mut self.search
            && !self.has_backed_off
            && (is_overload || search.step_may_have_caused(permit.source))
        {
            search.back_off();
            self.has_backed_off = true;
        }
    }

    fn clear_sources(&mut self) {
        self.answered.clear();
        self.pushed_back.clear();
        self.timed_out.clear();
    }

    /// Whether the failures of this window are a sign of overload rather than of faulty sources.
    ///
    /// Pushback is explicit, so two sources are enough. A timeout is not: if most sources answer,
    /// those that time out have a fault of their own, and a lower limit would only make the others
    /// wait behind them.
    fn is_overload(&self) -> bool {
        self.pushed_back.len() >= 2
            || (self.timed_out.len() >= 2 && self.timed_out.len() >= self.answered.len())
    }
}

/// The limiter of an upstream, shared by all its sources because their calls slow each other down.
#[derive(Debug)]
pub(super) struct Limiter {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    metrics: ConcurrencyMetrics,
}

impl Limiter {
    /// A limiter at its initial limit; `max_limit` bounds [`Concurrency::Auto`].
    pub(super) fn new(
        concurrency: Concurrency,
        max_limit: usize,
        metrics: ConcurrencyMetrics,
    ) -> Self {
        let (limit, search) = match concurrency {
            Concurrency::Fixed(limit) => (limit.max(1), None),
            Concurrency::Auto => {
                let limit = INITIAL_LIMIT.min(max_limit.max(1));
                (limit, Some(Search::new(limit, max_limit.max(1))))
            }
        };
        let state = State {
            limit,
            excess_permits: 0,
            in_flight: 0,
            in_flight_seconds: 0.0,
            updated_at: Instant::now(),
            limit_reached_at: None,
            limit_version: 0,
            ended_calls: 0,
            has_waited: false,
            has_backed_off: false,
            answered: BTreeSet::new(),
            pushed_back: BTreeSet::new(),
            timed_out: BTreeSet::new(),
            search,
        };
        Self { permits: Arc::new(Semaphore::new(limit)), state: Mutex::new(state), metrics }
    }

    /// Shows its limit from now on.
    pub(super) fn activate(&self) {
        let state = lock(&self.state);
        self.metrics.set(state.in_flight, state.limit);
    }

    pub(super) fn load(&self) -> Load {
        let state = lock(&self.state);
        Load { in_flight: state.in_flight, limit: state.limit }
    }

    /// The limit that was found, unless it is fixed.
    pub(super) fn found(&self) -> Option<usize> {
        let state = lock(&self.state);
        state.search.as_ref().map(|_| state.limit)
    }

    /// Searches on from a limit that was found earlier, unless the limit is fixed.
    pub(super) fn adopt(&self, limit: usize) {
        let mut state = lock(&self.state);
        let known = state.limit;
        let Some(search) = state.search.as_mut().filter(|_| limit != known) else { return };
        search.adopt(limit);
        self.apply_search(&mut state);
        self.metrics.set(state.in_flight, state.limit);
    }

    /// Waits for the permission to make a call of the source with this index.
    pub(super) async fn acquire(self: &Arc<Self>, source: usize) -> Permit {
        let semaphore_slot = if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permit
        } else {
            lock(&self.state).has_waited = true;
            // The semaphore is fair: the refresh calls the slowest source first, to end sooner.
            Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
        };
        let mut state = lock(&self.state);
        let started = state.advance();
        state.in_flight += 1;
        state.note_limit_reached();
        self.metrics.set(state.in_flight, state.limit);
        Permit {
            limiter: Arc::clone(self),
            semaphore_slot: Some(semaphore_slot),
            source,
            started,
            in_flight_seconds: state.in_flight_seconds,
            limit_version: state.limit_version,
            signal: Signal::Uninformative,
        }
    }

    fn release(&self, permit: &mut Permit) {
        let mut state = lock(&self.state);
        let now = state.advance();
        state.in_flight -= 1;
        state.ended_calls += 1;
        if state.excess_permits > 0 {
            state.excess_permits -= 1;
            permit.semaphore_slot.take().into_iter().for_each(OwnedSemaphorePermit::forget);
        } else {
            permit.semaphore_slot = None;
        }
        let latency = now.duration_since(permit.started).as_secs_f64();
        if permit.limit_version == state.limit_version && latency > 0.0 {
            let in_flight = (state.in_flight_seconds - permit.in_flight_seconds) / latency;
            state.record(permit, in_flight, latency);
        }
        let is_idle = state.in_flight == 0 && self.permits.available_permits() >= state.limit;
        if is_idle || state.ended_calls >= MAX_WINDOW_CALLS {
            let (has_waited, has_backed_off) = (state.has_waited, state.has_backed_off);
            if let Some(search) = &mut state.search
                && !has_backed_off
            {
                search.end_window(has_waited);
            }
            state.clear_sources();
            (state.ended_calls, state.has_waited, state.has_backed_off) = (0, false, false);
        }
        self.apply_search(&mut state);
        self.metrics.set(state.in_flight, state.limit);
    }

    /// Adopts the limit that the search has chosen.
    fn apply_search(&self, state: &mut State) {
        let Some(limit) =
            state.search.as_ref().map(Search::limit).filter(|limit| *limit != state.limit)
        else {
            return;
        };
        if let Some(more) = limit.checked_sub(state.limit) {
            let kept = more.min(state.excess_permits);
            state.excess_permits -= kept;
            self.permits.add_permits(more - kept);
        } else {
            let fewer = state.limit - limit;
            state.excess_permits += fewer - self.permits.forget_permits(fewer);
        }
        tracing::debug!(from = state.limit, to = limit, "upstream concurrency limit changed");
        state.limit = limit;
        state.limit_version += 1;
        state.clear_sources();
    }
}

/// The permission to have one call in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    /// `None` once it was returned to the semaphore, or removed from it.
    semaphore_slot: Option<OwnedSemaphorePermit>,
    source: usize,
    started: Instant,
    /// The values of [`State`] at the start of the call.
    in_flight_seconds: f64,
    limit_version: u64,
    signal: Signal,
}

impl Permit {
    /// Learns from the result of the call.
    pub(super) fn observe<T>(&mut self, result: &Result<T, UpstreamError>, is_probe: bool) {
        self.signal = Signal::of(result, is_probe);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let limiter = Arc::clone(&self.limiter);
        limiter.release(self);
    }
}

#[cfg(test)]
mod tests;
