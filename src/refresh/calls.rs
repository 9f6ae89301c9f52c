//! Starts the calls of a refresh, and applies their results to the state of the sources.

use std::cmp::Reverse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::fetcher::{Fetch, FetchedBatch};
use super::schedule::LastFetch;
use super::{Interval, Refresh, Repeat, Schedule, missing_records};
use crate::background::run_cpu_bound;
use crate::clock::FetchTime;
use crate::outcome::Outcome;
use crate::snapshot::{DataOrigin, SourceError};
use crate::sources::SourceId;
use crate::store::Epoch;
use crate::trace_context::TraceContext;
use crate::upstream::{CallContext, OnRetry, UpstreamError};

/// A round of calls to the sources without an interval of their own. It starts with a call while no
/// other of them is in flight, and ends when none is in flight any more.
pub(super) struct Round {
    pub(super) started: Instant,
    /// How long after `started` the next round starts.
    pub(super) period: Duration,
    /// The trace that its calls belong to.
    pub(super) trace: TraceContext,
    /// How many of its calls are in flight.
    pub(super) calls: usize,
}

/// A failed attempt that is retried.
pub(super) struct Retry {
    /// The number of its call.
    call: u64,
    error: UpstreamError,
    next_attempt: Instant,
}

/// A wait before a retry that is shown as the time of the next attempt. During a shorter one the
/// source counts as being fetched.
const MIN_SHOWN_WAIT: Duration = Duration::from_secs(5);

/// How a fetch ended.
pub(super) struct CallEnd {
    pub(super) call: Call,
    pub(super) result: Result<FetchedBatch, UpstreamError>,
}

/// A fetch that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) source: SourceId,
    pub(super) started: Instant,
    pub(super) started_wall: SystemTime,
    /// Whether it belongs to a round.
    pub(super) is_in_round: bool,
    /// When the refresh that it belongs to was started: its round, or itself.
    pub(super) refresh_started: Instant,
    /// How long after `refresh_started` the next fetch is due.
    pub(super) period: Duration,
    /// The lease of the store that this process held when it began.
    pub(super) lease: Option<Epoch>,
}

/// A call in flight; dropping it cancels it.
pub(super) struct CallInFlight {
    pub(super) call: Call,
    fetch: BoxFuture<'static, Result<FetchedBatch, UpstreamError>>,
}

impl Future for CallInFlight {
    type Output = CallEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CallEnd> {
        let result = ready!(self.fetch.poll_unpin(context));
        Poll::Ready(CallEnd { call: self.call, result })
    }
}

impl Refresh {
    /// Calls every source that is due; the slowest first, because it determines when the round
    /// ends.
    pub(super) fn start_due_calls(&mut self) {
        let now = Instant::now();
        let is_due = |id: &SourceId| {
            let source = &self.sources[*id];
            // A source is not called again before its data is published, so that memory holds at
            // most two generations of its data.
            source.call.is_none()
                && source.is_published()
                && self.call_due(*id).is_some_and(|due| due <= now)
                && (self.repeat == Repeat::Always || !source.newest().was_attempted)
        };
        let mut due: Vec<SourceId> = self.sources.ids().filter(is_due).collect();
        if due.is_empty() {
            return;
        }
        due.retain(|&source| !self.postpone(source, now));
        let is_in_round = |source: &SourceId| self.sources[*source].interval == Interval::Ttl;
        if self.round.calls == 0 && due.iter().any(is_in_round) {
            self.round = Round {
                started: now,
                period: self.schedule.period(Interval::Ttl),
                trace: TraceContext::new(self.trace_ids.u128(..)),
                calls: 0,
            };
        }
        // The sort is stable: sources that took equally long, or were never called, keep their
        // order, identities first.
        due.sort_by_key(|&source| {
            Reverse(self.sources[source].newest().last_duration.unwrap_or_default())
        });
        for source in due {
            self.start_call(source);
        }
        self.publish_statuses();
    }

    /// Puts off the call of a source whose upstream asked for a wait until the wait ends. False if
    /// there is none.
    fn postpone(&mut self, source: SourceId, now: Instant) -> bool {
        let Some(until) = self.fetcher.waits_until(source).filter(|until| *until > now) else {
            return false;
        };
        let state = &mut self.sources[source];
        state.due = until;
        let status = state.newest_mut();
        status.next_attempt = Some(until);
        // The wait may take an hour; callers must not be held up until it ends.
        status.was_attempted = true;
        if status.fetched_at.is_none() && status.last_error.is_none() {
            let detail = "not called yet, because the upstream asked for a wait".to_owned();
            status.last_error = Some(SourceError { kind: Outcome::RateLimited, detail });
        }
        true
    }

    fn start_call(&mut self, source: SourceId) {
        let (started, started_wall) = (Instant::now(), self.clock.now());
        self.last_call += 1;
        let number = self.last_call;
        let state = &mut self.sources[source];
        state.call = Some(number);
        let is_in_round = state.interval == Interval::Ttl;
        let (trace, refresh_started, period) = match state.interval {
            Interval::Ttl => {
                self.round.calls += 1;
                (self.round.trace, self.round.started, self.round.period)
            }
            interval @ Interval::Every(_) => {
                let trace = TraceContext::new(self.trace_ids.u128(..));
                (trace, started, self.schedule.period(interval))
            }
        };
        let status = state.newest_mut();
        status.next_attempt = None;
        status.last_attempt = Some(started_wall);
        let retries = self.retry_sender.clone();
        let on_retry = OnRetry::new(move |error, next_attempt| {
            // The receiver is gone only when the refresh has ended.
            let _ = retries.send(Retry { call: number, error: error.clone(), next_attempt });
        });
        let context = CallContext { trace: Some(trace), on_retry, ..CallContext::default() };
        let held = state.held();
        let fetch = self.fetcher.fetch(Fetch { source, started: started_wall, held, context });
        let lease = self.epoch();
        let call =
            Call { source, started, started_wall, is_in_round, refresh_started, period, lease };
        self.calls.push(CallInFlight { call, fetch });
    }

    /// Records a failed attempt that is retried. The source's data is no longer fresh from now on.
    pub(super) fn note_retry(&mut self, retry: Retry) {
        let Retry { call, error, next_attempt } = retry;
        // A call that was cancelled is of no source any more.
        let mut sources = self.sources.ids();
        let Some(source) = sources.find(|id| self.sources[*id].call == Some(call)) else { return };
        if self.is_left_to_the_store(source) {
            return;
        }
        let status = self.sources[source].newest_mut();
        status.consecutive_failures += 1;
        if next_attempt.saturating_duration_since(Instant::now()) > MIN_SHOWN_WAIT {
            status.next_attempt = Some(next_attempt);
        }
        status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        self.publish_statuses();
    }

    /// Applies the result of a call.
    pub(super) async fn finish(&mut self, end: CallEnd) {
        let CallEnd { call, result } = end;
        self.sources[call.source].call = None;
        if call.is_in_round {
            self.round.calls -= 1;
        }
        let is_refresh_done = !call.is_in_round || self.round.calls == 0;
        let refresh_started = call.refresh_started;
        match result {
            _ if self.is_superseded(&call) => {
                // Sets also when the next attempt is.
                self.take_head(call.source);
                self.publish_statuses();
            }
            Ok(fetched) => self.apply_success(call, fetched).await,
            Err(error) => self.apply_failure(&call, error),
        }
        if is_refresh_done {
            self.metrics.record_refresh(refresh_started.elapsed());
        }
    }

    /// The lease under which a call was made, if this process has held it all the while.
    fn lease_of(&self, call: &Call) -> Option<Epoch> {
        call.lease.filter(|lease| self.epoch() == Some(*lease))
    }

    /// Whether another process has brought the source's data through the store while this one
    /// called without the lease. All processes answer alike, so that data stays.
    fn is_superseded(&self, call: &Call) -> bool {
        self.lease_of(call).is_none() && self.is_left_to_the_store(call.source)
    }

    /// Replaces a source's data with newly fetched data.
    async fn apply_success(&mut self, call: Call, fetched: FetchedBatch) {
        let FetchedBatch { batch, pages, duration, memory } = fetched;
        let now = Instant::now();
        let lease = self.lease_of(&call);
        let state = &mut self.sources[call.source];
        let is_unchanged = match state.batch() {
            // Equal bytes may be other records now.
            Some(_) if state.is_outdated() => false,
            Some(last) => {
                let (last, new) = (last.clone(), batch.clone());
                // Comparing large bodies takes milliseconds.
                run_cpu_bound(move || last.is_same_as(&new)).await
            }
            None => false,
        };
        state.due =
            self.schedule.after_success(state.interval, call.refresh_started, call.period, now);
        state.last_fetch =
            Some(LastFetch::Succeeded { refresh_started: call.refresh_started, ended: now });
        let resume = memory.resume();
        state.set_memory(memory);
        state.is_unleased = lease.is_none();
        let fingerprint = state.definition().fingerprint();
        let mut status = state.newest().clone();
        if status.last_error.is_some() {
            let failures = status.consecutive_failures;
            tracing::info!(source = &*status.name, failures, "source recovered");
        }
        let fetched_at = FetchTime::now(&self.clock);
        status.was_attempted = true;
        status.next_attempt = Some(state.due);
        status.last_attempt = Some(call.started_wall);
        status.last_duration = Some(duration);
        status.last_success = Some(fetched_at.wall());
        status.fetched_at = Some(fetched_at);
        status.origin = Some(DataOrigin { fingerprint, lease: lease.map(|epoch| epoch.0) });
        status.resume = resume;
        status.last_error = None;
        status.consecutive_failures = 0;
        status.records = batch.records();
        status.bytes = batch.size_bytes();
        status.pages = pages;
        status.duplicates = batch.duplicates();
        status.unmapped = batch.unmapped().into();
        status.conflicts = batch.conflicts();
        status.truncated = batch.is_truncated();
        if is_unchanged {
            // The present or the next view already has these bytes, so the new copy is dropped.
            *state.newest_mut() = status;
            self.publish_statuses();
            return;
        }
        missing_records::warn(state, &status, &batch, &self.metrics);
        drop(state.replace_batch(Some(batch), status));
        self.unpublished.note(now);
    }

    /// Records that a call failed, retries included.
    fn apply_failure(&mut self, call: &Call, error: UpstreamError) {
        let now = Instant::now();
        let state = &mut self.sources[call.source];
        if error.kind == Outcome::TooLarge {
            // An incremental source may have gathered too much; its next fetch is a full one.
            state.set_memory(Arc::default());
            state.newest_mut().resume = None;
        }
        let interval = state.interval;
        let status = state.newest_mut();
        status.was_attempted = true;
        // A refusal, such as by an open circuit, is not an attempt, so the error that led to it is
        // kept.
        let is_attempt = !error.is_refusal();
        if is_attempt {
            status.last_attempt = Some(call.started_wall);
            status.last_duration = Some(now.saturating_duration_since(call.started));
            status.consecutive_failures += 1;
        }
        let failures = status.consecutive_failures;
        let due = self.schedule.after_failure(interval, failures, error.retry_after, now);
        status.next_attempt = Some(due);
        tracing::warn!(
            source = &*status.name,
            outcome = error.kind.as_str(),
            detail = error.detail,
            failures,
            state = status.freshness(now).as_str(),
            "refresh of source failed"
        );
        if is_attempt || status.last_error.is_none() {
            status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        }
        state.due = due;
        let not_before = Schedule::not_before(error.retry_after, now);
        state.last_fetch = Some(LastFetch::Failed { not_before });
        self.publish_statuses();
    }
}
