//! Fetches the sources that are due, keeps their last good data, and publishes snapshots. The
//! refresh is a task of its own, never part of a request.

mod batch;
mod calls;
mod debounce;
mod fetcher;
mod metrics;
mod missing_records;
mod publish;
mod reconfigure;
mod restore;
mod restored;
mod schedule;
mod settings;
mod source_state;
mod store_link;
mod stored_records;

use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use batch::Batch;
pub use fetcher::{
    Fetch, FetchMemory, FetchedBatch, Fetcher, HeldBatch, SourceFetcher, StoredContent,
};
pub use metrics::RefreshMetrics;
pub use reconfigure::{Reconfiguration, RefreshHandle};
pub use schedule::{Interval, Schedule};
pub use settings::{Repeat, RunOptions, Settings, SourceSettings};
pub use store_link::StoreLink;
pub use stored_records::StoredRecords;

use self::calls::{CallInFlight, Retry, Round};
use self::debounce::Debounce;
use self::publish::Publication;
use self::restore::RestoreInFlight;
use self::source_state::SourceState;
use self::store_link::StoreSide;
use crate::cache::Cache;
use crate::clock::WallClock;
use crate::join::join;
use crate::snapshot::{Freshness, Snapshot, View};
use crate::sources::{PerSource, SourceId};
use crate::trace_context::TraceContext;

/// The refresh; [`Refresh::run`] drives it.
pub struct Refresh {
    fetcher: Arc<dyn Fetcher>,
    cache: Arc<Cache>,
    metrics: RefreshMetrics,
    schedule: Schedule,
    ttl: Duration,
    repeat: Repeat,
    clock: WallClock,
    trace_ids: fastrand::Rng,
    /// The names of the incident sources.
    names: Arc<[Arc<str>]>,
    fields: Arc<[Arc<str>]>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    sources: PerSource<SourceState>,
    /// The number of the newest definition of a source.
    last_revision: u64,
    calls: FuturesUnordered<CallInFlight>,
    /// The number of the newest call.
    last_call: u64,
    /// Failed attempts that are retried.
    retry_sender: mpsc::UnboundedSender<Retry>,
    retry_receiver: mpsc::UnboundedReceiver<Retry>,
    round: Round,
    /// Decides when data that is in no view yet is published.
    unpublished: Debounce,
    publication: Option<Publication>,
    /// How long the last publication took to join and render.
    publish_cost: Duration,
    last_view_id: u64,
    handle: RefreshHandle,
    /// When the set of sources changed, until there is a view of the new set.
    reconfigured_at: Option<Instant>,
    /// Whether there was incident data before the last reconfiguration.
    had_data: bool,
    /// Where last good data is kept, if it is.
    store: Option<StoreSide>,
    /// How long sources are not called because the store may have their data.
    max_store_wait: Duration,
    restores: FuturesUnordered<RestoreInFlight>,
    /// The number of the newest restore.
    last_restore: u64,
    /// How long after a stored refresh the sources without an interval of their own are due.
    restored_period: Duration,
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
        options: RunOptions,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Settings { sources, fields, ttl, max_store_wait } = settings;
        let RunOptions { seed, repeat, clock } = options;
        let now = Instant::now();
        let names = sources.incidents().iter().map(|source| Arc::clone(&source.name));
        let incident_names: Arc<[Arc<str>]> = names.collect();
        let batches: Box<[_]> = incident_names.iter().map(|_| None).collect();
        let index = join(&[], &batches);
        let view = View::new(0, Arc::clone(&incident_names), batches, index)
            .with_fields(Arc::clone(&fields));
        let snapshot = Snapshot {
            view: Arc::new(view),
            sources: Arc::new(sources.map(|_, source| source.first_status())),
            had_data: false,
        };
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let (retry_sender, retry_receiver) = mpsc::unbounded_channel();
        let mut trace_ids = fastrand::Rng::with_seed(seed);
        let mut last_revision = 0;
        let sources = sources.map(|_, source| {
            last_revision += 1;
            SourceState::new(source, last_revision, now)
        });
        let refresh = Self {
            fetcher,
            cache,
            metrics,
            schedule: Schedule::new(ttl, trace_ids.u64(..)),
            ttl,
            repeat,
            clock,
            round: Round {
                started: now,
                period: ttl,
                trace: TraceContext::new(trace_ids.u128(..)),
                calls: 0,
            },
            trace_ids,
            names: incident_names,
            fields,
            snapshots,
            sources,
            last_revision,
            calls: FuturesUnordered::new(),
            last_call: 0,
            retry_sender,
            retry_receiver,
            unpublished: Debounce::default(),
            publication: None,
            publish_cost: Duration::ZERO,
            last_view_id: 0,
            handle: RefreshHandle::default(),
            reconfigured_at: None,
            had_data: false,
            store: None,
            max_store_wait,
            restores: FuturesUnordered::new(),
            last_restore: 0,
            restored_period: ttl,
        };
        (refresh, receiver)
    }

    /// Takes last good data from a store, and refreshes what its role there asks for.
    #[must_use]
    pub fn with_store(self, store: StoreLink) -> Self {
        let wait_until = Instant::now() + self.max_store_wait;
        Self { store: Some(StoreSide::new(store, wait_until)), ..self }
    }

    /// A handle to reconfigure the refresh while it runs.
    #[must_use]
    pub fn handle(&self) -> RefreshHandle {
        self.handle.clone()
    }

    /// Runs until it is dropped or, with [`Repeat::Never`], until each source was fetched once.
    pub async fn run(mut self) {
        self.fetcher.activate();
        self.note_store_state();
        let mut reconfigurations = self.handle.subscribe();
        while !self.is_done() {
            // A publication under way is of the present sources, so it ends first.
            if self.publication.is_none()
                && let Some(newest) = self.handle.take()
            {
                self.reconfigure(newest).await;
            }
            self.start_due_calls();
            self.end_waits();
            self.drop_expired_data();
            self.publish_when_due().await;
            let wake = self.next_wake();
            let is_publishing = self.publication.is_some();
            let publication = self.publication.as_mut().map(|publication| &mut publication.view);
            let store_change = self.store.as_mut().map(StoreSide::changed);
            tokio::select! {
                // In this order, so that a call's retries are handled before its end.
                biased;
                Some(retry) = self.retry_receiver.recv() => self.note_retry(retry),
                Ok(()) = reconfigurations.changed(), if !is_publishing => {}
                Some(end) = self.calls.next() => self.finish(end).await,
                Some(()) = OptionFuture::from(store_change) => self.note_store_state(),
                Some(end) = self.restores.next() => self.finish_restore(end),
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
            let status = state.newest();
            if status.fetched_at.is_none() || status.freshness(now) != Freshness::Missing {
                continue;
            }
            let status = status.clone();
            tracing::warn!(
                source = &*status.name,
                "last good data is too old to stand in; source missing"
            );
            let status = status.without_data();
            drop(state.replace_batch(None, status));
            self.unpublished.note(now);
        }
    }

    /// The next time at which there is something to do, unless a call ends earlier.
    fn next_wake(&self) -> Instant {
        let is_idle = |source: &SourceId| {
            let state = &self.sources[*source];
            state.call.is_none() && state.is_published()
        };
        let idle = self.sources.ids().filter(is_idle).filter(|_| self.repeat == Repeat::Always);
        let due = idle.filter_map(|source| self.call_due(source));
        let expiry = self.sources.iter().filter_map(|source| {
            let status = source.newest();
            // Data expires only when it is older than `stale_for`.
            let expired_age = status.policy.stale_for.saturating_add(Duration::from_millis(1));
            status.fetched_at?.instant_of_age(expired_age)
        });
        let publish = self.publish_at().filter(|_| self.publication.is_none());
        let restores = self.sources.iter().filter_map(|source| source.restore.as_ref());
        let waits = restores.map(|restore| restore.wait_until);
        let waits = waits.chain(self.store.as_ref().map(|store| store.wait_until));
        let waits = waits.filter(|until| *until > Instant::now());
        due.chain(expiry)
            .chain(publish)
            .chain(waits)
            .min()
            .unwrap_or_else(|| Instant::now() + self.ttl)
    }
}

#[cfg(test)]
mod tests;
