//! Starts the calls of a refresh, and applies their results to the state of the sources.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::fetcher::FetchedBatch;
use super::source_state::SourceState;
use super::{Refresh, Repeat, missing_records};
use crate::background::run_cpu_bound;
use crate::clock::FetchTime;
use crate::snapshot::SourceError;
use crate::sources::SourceId;
use crate::trace_context::TraceContext;
use crate::upstream::{CallContext, OnRetry, UpstreamError};

/// A round of calls. It starts with a call while no other is in flight, and ends when none is in
/// flight any more.
pub(super) struct Round {
    pub(super) started: Instant,
    /// How long after `started` the next round starts.
    pub(super) period: Duration,
    /// The trace that its calls belong to.
    pub(super) trace: TraceContext,
}

/// How a call ended.
pub(super) struct CallEnd {
    pub(super) source: SourceId,
    pub(super) started: Instant,
    pub(super) started_wall: SystemTime,
    pub(super) result: Result<FetchedBatch, UpstreamError>,
}

impl Refresh {
    /// Calls every source that is due; the slowest first, because it determines when the round
    /// ends.
    pub(super) fn start_due_calls(&mut self) {
        let now = Instant::now();
        let is_due = |source: &SourceState| {
            // A source is not called again before its data is published, so that memory holds at
            // most two generations of its data.
            !source.in_flight
                && source.is_published()
                && source.due <= now
                && (self.repeat == Repeat::Always || !source.newest().was_attempted)
        };
        let mut due: Vec<SourceId> =
            self.sources.ids().filter(|&source| is_due(&self.sources[source])).collect();
        if due.is_empty() {
            return;
        }
        if self.calls.is_empty() {
            self.round = Round {
                started: now,
                period: self.schedule.period(),
                trace: TraceContext::new(self.trace_ids.u128(..)),
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

    fn start_call(&mut self, source: SourceId) {
        let (started, started_wall) = (Instant::now(), self.clock.now());
        let state = &mut self.sources[source];
        state.in_flight = true;
        let status = state.newest_mut();
        status.next_attempt = None;
        status.last_attempt = Some(started_wall);
        let failures = self.retry_sender.clone();
        let on_retry = OnRetry::new(move |error, _| {
            // The receiver is gone only when the refresh has ended.
            let _ = failures.send((source, error.clone()));
        });
        let context =
            CallContext { trace: Some(self.round.trace), on_retry, ..CallContext::default() };
        let call = self.fetcher.fetch(source, context);
        self.calls.push(Box::pin(async move {
            CallEnd { source, started, started_wall, result: call.await }
        }));
    }

    /// Records a failed attempt that is retried. The source's data is no longer fresh from now on.
    pub(super) fn note_retry(&mut self, source: SourceId, error: UpstreamError) {
        let status = self.sources[source].newest_mut();
        status.consecutive_failures += 1;
        status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        self.publish_statuses();
    }

    /// Applies the result of a call.
    pub(super) async fn finish(&mut self, end: CallEnd) {
        let CallEnd { source, started, started_wall, result } = end;
        self.sources[source].in_flight = false;
        match result {
            Ok(fetched) => self.apply_success(source, started_wall, fetched).await,
            Err(error) => self.apply_failure(source, started, started_wall, error),
        }
        if self.calls.is_empty() {
            self.metrics.record_refresh(self.round.started.elapsed());
        }
    }

    /// Replaces a source's data with newly fetched data.
    async fn apply_success(
        &mut self,
        source: SourceId,
        started_wall: SystemTime,
        fetched: FetchedBatch,
    ) {
        let FetchedBatch { batch, duration } = fetched;
        let now = Instant::now();
        let state = &mut self.sources[source];
        let is_unchanged = match state.batch() {
            Some(last) => {
                let (last, new) = (last.clone(), batch.clone());
                // Comparing large bodies takes milliseconds.
                run_cpu_bound(move || last.is_same_as(&new)).await
            }
            None => false,
        };
        state.due = self.schedule.after_success(self.round.started, self.round.period, now);
        let mut status = state.newest().clone();
        if status.last_error.is_some() {
            let failures = status.consecutive_failures;
            tracing::info!(source = &*status.name, failures, "source recovered");
        }
        let fetched_at = FetchTime::now(&self.clock);
        status.was_attempted = true;
        status.next_attempt = Some(state.due);
        status.last_attempt = Some(started_wall);
        status.last_duration = Some(duration);
        status.last_success = Some(fetched_at.wall());
        status.fetched_at = Some(fetched_at);
        status.last_error = None;
        status.consecutive_failures = 0;
        if is_unchanged {
            // The present or the next view already has these bytes, so the new copy is dropped.
            *state.newest_mut() = status;
            self.publish_statuses();
            return;
        }
        status.records = batch.records();
        status.bytes = batch.size_bytes();
        status.truncated = batch.is_truncated();
        missing_records::warn(state, &status, &batch, &self.metrics);
        drop(state.replace_batch(Some(batch), status));
        self.unpublished.note(now);
    }

    /// Records that a call failed, retries included.
    fn apply_failure(
        &mut self,
        source: SourceId,
        started: Instant,
        started_wall: SystemTime,
        error: UpstreamError,
    ) {
        let now = Instant::now();
        let state = &mut self.sources[source];
        let status = state.newest_mut();
        status.was_attempted = true;
        // A refusal, such as by an open circuit, is not an attempt, so the error that led to it is
        // kept.
        let is_attempt = !error.is_refusal();
        if is_attempt {
            status.last_attempt = Some(started_wall);
            status.last_duration = Some(now.saturating_duration_since(started));
            status.consecutive_failures += 1;
        }
        let failures = status.consecutive_failures;
        let due = self.schedule.after_failure(failures, error.retry_after, now);
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
        self.publish_statuses();
    }
}
