//! Fetches the sources that are due, keeps their last good data, and publishes snapshots. The
//! refresh is a task of its own, never part of a request.

mod batch;
mod calls;
mod debounce;
mod fetcher;
mod metrics;
mod missing_records;
mod publish;
mod schedule;
mod source_state;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use batch::Batch;
pub use fetcher::{FetchedBatch, Fetcher, UpstreamFetcher};
pub use metrics::RefreshMetrics;
pub use schedule::Schedule;

use self::calls::{CallEnd, Round};
use self::debounce::Debounce;
use self::publish::Publication;
use self::source_state::SourceState;
use crate::cache::Cache;
use crate::clock::WallClock;
use crate::identity::KeyKinds;
use crate::join::join;
use crate::snapshot::{Freshness, Policy, Snapshot, SourceStatus, View};
use crate::sources::{PerSource, SourceId};
use crate::trace_context::TraceContext;
use crate::upstream::UpstreamError;

/// The settings of a refresh.
pub struct Settings {
    /// The sources' names.
    pub names: PerSource<Arc<str>>,
    /// The kinds of keys of each identity table.
    pub table_kinds: Box<[KeyKinds]>,
    /// The fields that the incident records are known to have.
    pub fields: Arc<[Arc<str>]>,
    /// The ages at which data changes its state.
    pub policy: Policy,
    /// Seeds the jitter and the trace ids.
    pub seed: u64,
    /// Whether sources are fetched again.
    pub repeat: Repeat,
    /// The wall clock that dates attempts and data.
    pub clock: WallClock,
}

/// Whether sources are fetched again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeat {
    /// Each whenever it is due, until the refresh is dropped.
    Always,
    /// Each is fetched once; then the refresh ends.
    Never,
}

/// The refresh; [`Refresh::run`] drives it.
pub struct Refresh {
    fetcher: Arc<dyn Fetcher>,
    cache: Arc<Cache>,
    metrics: RefreshMetrics,
    schedule: Schedule,
    policy: Policy,
    repeat: Repeat,
    clock: WallClock,
    trace_ids: fastrand::Rng,
    /// The names of the incident sources.
    names: Arc<[Arc<str>]>,
    table_kinds: Box<[KeyKinds]>,
    fields: Arc<[Arc<str>]>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    sources: PerSource<SourceState>,
    calls: FuturesUnordered<BoxFuture<'static, CallEnd>>,
    /// Failed attempts that are retried.
    retry_sender: mpsc::UnboundedSender<(SourceId, UpstreamError)>,
    retry_receiver: mpsc::UnboundedReceiver<(SourceId, UpstreamError)>,
    round: Round,
    /// Decides when data that is in no view yet is published.
    unpublished: Debounce,
    publication: Option<Publication>,
    /// How long the last publication took to join and render.
    publish_cost: Duration,
    last_view_id: u64,
}

impl Refresh {
    /// A refresh that is not running yet, and the channel of its snapshots, which holds an empty
    /// one.
    #[must_use]
    pub fn new(
        fetcher: Arc<dyn Fetcher>,
        cache: Arc<Cache>,
        metrics: RefreshMetrics,
        settings: Settings,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Settings { names, table_kinds, fields, policy, seed, repeat, clock } = settings;
        let now = Instant::now();
        let incident_names: Arc<[Arc<str>]> = names.incidents().into();
        let batches: Box<[_]> = incident_names.iter().map(|_| None).collect();
        let index = join(&[], &batches);
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
            fetcher,
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
            table_kinds,
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

    /// Runs until it is dropped or, with [`Repeat::Never`], until each source was fetched once.
    pub async fn run(mut self) {
        while !self.is_done() {
            self.start_due_calls();
            self.drop_expired_data();
            self.publish_when_due().await;
            let wake = self.next_wake();
            let publication = self.publication.as_mut().map(|publication| &mut publication.view);
            tokio::select! {
                // In this order, so that a call's retries are handled before its end.
                biased;
                Some((source, error)) = self.retry_receiver.recv() => {
                    self.note_retry(source, error);
                }
                Some(end) = self.calls.next() => self.finish(end).await,
                Some(view) = OptionFuture::from(publication) => {
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
            && self.sources.iter().all(|source| source.newest().was_attempted)
    }

    /// Drops data that is too old to be served.
    fn drop_expired_data(&mut self) {
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

    /// The next time at which there is something to do, unless a call ends earlier.
    fn next_wake(&self) -> Instant {
        let may_be_called = |source: &&SourceState| !source.in_flight && source.is_published();
        let idle =
            self.sources.iter().filter(may_be_called).filter(|_| self.repeat == Repeat::Always);
        let due = idle.map(|source| source.due);
        // Data expires only when it is older than `stale_for`.
        let expired_age = self.policy.stale_for.saturating_add(Duration::from_millis(1));
        let expiry = self
            .sources
            .iter()
            .filter_map(|source| source.newest().fetched_at?.instant_of_age(expired_age));
        let publish = self.publish_at().filter(|_| self.publication.is_none());
        due.chain(expiry).chain(publish).min().unwrap_or_else(|| Instant::now() + self.policy.ttl)
    }
}

#[cfg(test)]
mod tests;
