//! Fetches what is due, keeps last good data, and publishes snapshots: a task of its own, no
//! request's future.

mod batch;
mod debounce;
mod metrics;
mod origin;
mod publish;
mod schedule;
mod source_state;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use batch::Batch;
pub use metrics::RefreshMetrics;
pub use origin::{FetchedBatch, Origin, UpstreamOrigin};
pub use schedule::Schedule;

use self::debounce::Debounce;
use self::publish::Publication;
use self::source_state::SourceState;
use crate::background::run_cpu_bound;
use crate::cache::Cache;
use crate::clock::{FetchTime, WallClock};
use crate::join::join;
use crate::outcome::Outcome;
use crate::snapshot::{Freshness, Policy, Snapshot, SourceError, SourceStatus, View};
use crate::sources::{PerSource, SourceId};
use crate::trace_context::TraceContext;
use crate::upstream::{CallContext, OnRetry, UpstreamError};

/// What the refresh needs to know.
pub struct Settings {
    /// The sources' names.
    pub names: PerSource<Arc<str>>,
    /// The fields that the incident records are known to have.
    pub fields: Arc<[Arc<str>]>,
    /// The ages at which data changes its state.
    pub policy: Policy,
    /// Seeds the jitter and the trace ids.
    pub seed: u64,
    /// Whether to go on.
    pub repeat: Repeat,
    /// The wall clock that attempts and data are dated by.
    pub clock: WallClock,
}

/// How often the sources are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeat {
    /// Again and again, as long as the process runs.
    Always,
    /// Once each; then the refresh ends.
    Never,
}

/// The refresh, ready to run.
pub struct Refresh {
    origin: Arc<dyn Origin>,
    cache: Arc<Cache>,
    metrics: RefreshMetrics,
    schedule: Schedule,
    policy: Policy,
    repeat: Repeat,
    clock: WallClock,
    trace_ids: fastrand::Rng,
    /// Names of the incident sources.
    names: Arc<[Arc<str>]>,
    fields: Arc<[Arc<str>]>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    sources: PerSource<SourceState>,
    calls: FuturesUnordered<BoxFuture<'static, CallEnd>>,
    /// Failures after which a call is made again.
    retry_sender: mpsc::UnboundedSender<(SourceId, UpstreamError)>,
    retry_receiver: mpsc::UnboundedReceiver<(SourceId, UpstreamError)>,
    round: Round,
    /// Data that is in no view yet.
    unpublished: Debounce,
    publication: Option<Publication>,
    /// How long joining and rendering took last time.
    publish_cost: Duration,
    last_view_id: u64,
}

/// The calls that are in flight together: from the first that starts while there is no other, to
/// the end of the last.
struct Round {
    started: Instant,
    /// How long after `started` the next round starts.
    period: Duration,
    /// The trace that its calls belong to.
    trace: TraceContext,
}

/// How a call ended.
struct CallEnd {
    source: SourceId,
    started: Instant,
    started_wall: SystemTime,
    result: Result<FetchedBatch, UpstreamError>,
}

impl Refresh {
    /// A refresh that has not begun, and where its snapshots will be seen; the first, empty one is
    /// there already.
    #[must_use]
    pub fn new(
        origin: Arc<dyn Origin>,
        cache: Arc<Cache>,
        metrics: RefreshMetrics,
        settings: Settings,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Settings { names, fields, policy, seed, repeat, clock } = settings;
        let now = Instant::now();
        let incident_names: Arc<[Arc<str>]> = names.incidents().into();
        let batches: Box<[_]> = incident_names.iter().map(|_| None).collect();
        let index = join(None, &batches);
        let view = View::new(0, Arc::clone(&incident_names), batches, index)
            .with_fields(Arc::clone(&fields));
        let snapshot = Snapshot {
            view: Arc::new(view),
            sources: Arc::new(names.map(|_, name| SourceStatus::new(Arc::clone(name)))),
            policy,
        };
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let (retry_sender, retry_receiver) = mpsc::unbounded_channel();
        let mut trace_ids = fastrand::Rng::with_seed(seed);
        let refresh = Self {
            origin,
            cache,
            metrics,
            schedule: Schedule::new(policy.ttl, policy.stale_for, trace_ids.u64(..)),
            policy,
            repeat,
            clock,
            round: Round {
                started: now,
                period: policy.ttl,
                trace: TraceContext::new(trace_ids.u128(..)),
            },
            trace_ids,
            names: incident_names,
            fields,
            snapshots,
            sources: names.map(|_, name| SourceState::new(Arc::clone(name), now)),
            calls: FuturesUnordered::new(),
            retry_sender,
            retry_receiver,
            unpublished: Debounce::default(),
            publication: None,
            publish_cost: Duration::ZERO,
            last_view_id: 0,
        };
        (refresh, receiver)
    }

    /// Refreshes for as long as it is polled, unless it is to end when every source has been asked.
    pub async fn run(mut self) {
        while !self.is_done() {
            self.start_due_calls();
            self.expire();
            self.publish_when_due().await;
            let wake = self.next_wake();
            let joined = self.publication.as_mut().map(|publication| &mut publication.view);
            tokio::select! {
                // First, so that a call's failures are noted before its end.
                biased;
                Some((source, error)) = self.retry_receiver.recv() => {
                    self.note_retry(source, error);
                }
                Some(end) = self.calls.next() => self.finish(end).await,
                Some(view) = OptionFuture::from(joined) => {
                    self.publish(view.expect("joining does not panic")).await;
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        self.repeat == Repeat::Never
            && self.unpublished.is_empty()
            && self.publication.is_none()
            && self.sources.iter().all(|source| source.newest().settled)
    }

    /// Starts a call at every source that is due, the slowest first: it decides when the refresh
    /// ends.
    fn start_due_calls(&mut self) {
        let now = Instant::now();
        let is_due = |source: &SourceState| {
            // A source is not asked again before its data is published: three generations of it
            // would stand side by side.
            !source.in_flight
                && source.is_published()
                && source.due <= now
                && (self.repeat == Repeat::Always || !source.newest().settled)
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
        // Stable: sources that have taken equally long, or were never asked, keep their order,
        // identities first.
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
        let on_retry = OnRetry::new(move |error| {
            // The receiver is gone only when the refresh has ended.
            let _ = failures.send((source, error.clone()));
        });
        let context = CallContext { trace: Some(self.round.trace), on_retry };
        let call = self.origin.fetch(source, context);
        self.calls.push(Box::pin(async move {
            CallEnd { source, started, started_wall, result: call.await }
        }));
    }

    /// Notes that an attempt has failed, though it is made again: the data it should have renewed
    /// is no longer fresh.
    fn note_retry(&mut self, source: SourceId, error: UpstreamError) {
        let status = self.sources[source].newest_mut();
        status.consecutive_failures += 1;
        status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        self.publish_statuses();
    }

    /// Notes how a call ended.
    async fn finish(&mut self, end: CallEnd) {
        let CallEnd { source, started, started_wall, result } = end;
        self.sources[source].in_flight = false;
        match result {
            Ok(fetched) => self.take(source, started_wall, fetched).await,
            Err(error) => self.note_failure(source, started, started_wall, error),
        }
        if self.calls.is_empty() {
            self.metrics.record_refresh(self.round.started.elapsed());
        }
    }

    /// Takes a source's new data.
    async fn take(&mut self, source: SourceId, started_wall: SystemTime, fetched: FetchedBatch) {
        let FetchedBatch { batch, duration } = fetched;
        let now = Instant::now();
        let state = &mut self.sources[source];
        let is_same = match state.batch() {
            Some(last) => {
                let (last, new) = (last.body().clone(), batch.body().clone());
                // Comparing large bodies takes milliseconds.
                run_cpu_bound(move || last == new).await
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
        status.settled = true;
        status.next_attempt = Some(state.due);
        status.last_attempt = Some(started_wall);
        status.last_duration = Some(duration);
        status.last_success = Some(fetched_at.wall());
        status.fetched_at = Some(fetched_at);
        status.last_error = None;
        status.consecutive_failures = 0;
        if is_same {
            // The view, or the one that is being made, holds these very bytes: it stays, and the
            // new copy goes.
            *state.newest_mut() = status;
            self.publish_statuses();
            return;
        }
        status.records = batch.records();
        status.bytes = batch.body().len();
        let was_truncated = std::mem::replace(&mut status.truncated, batch.is_truncated());
        warn_of_losses(&status, was_truncated, &batch);
        let before = state.replace_batch(Some(batch), status);
        if source == SourceId::Identities {
            let before = before.as_ref().map_or(0, Batch::records);
            self.check_identities(before);
        }
        self.unpublished.note(now);
    }

    /// Tells of an identity table that has lost most of its addresses. It is taken all the same, as
    /// every answer that is whole: the gateway cannot know that the addresses were not given up.
    fn check_identities(&self, before: usize) {
        let now = self.sources[SourceId::Identities].newest().records;
        if now < before.div_ceil(2) {
            self.metrics.record_shrunk_identities();
            tracing::warn!(
                before,
                now,
                "the identity table has lost most of its addresses; incidents of the others will \
                 be in /unattributed as unknown_ip"
            );
        }
    }

    fn note_failure(
        &mut self,
        source: SourceId,
        started: Instant,
        started_wall: SystemTime,
        error: UpstreamError,
    ) {
        let now = Instant::now();
        let state = &mut self.sources[source];
        let status = state.newest_mut();
        status.settled = true;
        // A refusal by an open circuit is no attempt: what made the circuit open stays to be read.
        let attempted = error.kind != Outcome::CircuitOpen;
        if attempted {
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
            state = self.policy.freshness(status.fetched_at, failures, now).as_str(),
            "refresh of source failed"
        );
        if attempted || status.last_error.is_none() {
            status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        }
        state.due = due;
        self.publish_statuses();
    }

    /// Drops data that is too old to be served.
    fn expire(&mut self) {
        let now = Instant::now();
        for state in &mut self.sources {
            let fetched_at = state.newest().fetched_at;
            if fetched_at.is_none()
                || self.policy.freshness(fetched_at, 0, now) != Freshness::Missing
            {
                continue;
            }
            let status = state.newest().clone();
            tracing::warn!(
                source = &*status.name,
                "last good data is too old to stand in; source missing"
            );
            let status =
                SourceStatus { fetched_at: None, records: 0, bytes: 0, truncated: false, ..status };
            drop(state.replace_batch(None, status));
            self.unpublished.note(now);
        }
    }

    /// When there is something to do, should no call end before.
    fn next_wake(&self) -> Instant {
        let may_be_asked = |source: &&SourceState| !source.in_flight && source.is_published();
        let idle =
            self.sources.iter().filter(may_be_asked).filter(|_| self.repeat == Repeat::Always);
        let due = idle.map(|source| source.due);
        // A millisecond past the bound, since data is too old only beyond it.
        let expired_age = self.policy.stale_for.saturating_add(Duration::from_millis(1));
        let expiry = self
            .sources
            .iter()
            .filter_map(|source| source.newest().fetched_at?.instant_of_age(expired_age));
        let publish = self.publish_at().filter(|_| self.publication.is_none());
        due.chain(expiry).chain(publish).min().unwrap_or_else(|| Instant::now() + self.policy.ttl)
    }
}

/// Warns of new data that is less than what the source has, or that names employees in vain.
fn warn_of_losses(status: &SourceStatus, was_truncated: bool, batch: &Batch) {
    if status.truncated && !was_truncated {
        tracing::warn!(
            source = &*status.name,
            records = status.records,
            "the source says that it has more records than it sent; the others are missing"
        );
    }
    if let Batch::Identities(table) = batch
        && table.oversized_ids() > 0
    {
        tracing::warn!(
            source = &*status.name,
            entries = table.oversized_ids(),
            "employee ids of more than 256 bytes in the identity table are ignored"
        );
    }
}

#[cfg(test)]
mod tests;
