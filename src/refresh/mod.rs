//! Fetches what is due, keeps last good data, and publishes snapshots: a task of its own, no
//! request's future.

mod debounce;
mod metrics;
mod origin;
mod publish;
mod schedule;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use metrics::RefreshMetrics;
pub use origin::{Fetched, Origin, UpstreamOrigin, endpoints, fields};
pub use schedule::Schedule;

use self::debounce::Debounce;
use crate::background::run_cpu_bound;
use crate::cache::Cache;
use crate::outcome::Outcome;
use crate::snapshot::{Freshness, Policy, Snapshot, SourceError, SourceStatus, View};
use crate::upstream::{OnRetry, UpstreamError};

/// What the refresh needs to know.
pub struct Settings {
    /// The sources: identities first, then the incident sources in the configured order.
    pub names: Vec<Arc<str>>,
    /// The fields that the sources' records are known to have ([`fields`]).
    pub fields: Arc<[Arc<str>]>,
    /// The ages at which data changes its state.
    pub policy: Policy,
    /// Seeds the jitter.
    pub seed: u64,
    /// Whether to go on.
    pub repeat: Repeat,
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
    /// Names of the incident sources.
    names: Arc<[Arc<str>]>,
    fields: Arc<[Arc<str>]>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    sources: Vec<Source>,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Failures after which a call is made again, by source.
    retries: Retries,
    /// When the refresh under way began, and how long after that the next one does.
    round: (Instant, Duration),
    /// Data that is in no view yet.
    unpublished: Debounce,
    publishing: Option<JoinHandle<Arc<View>>>,
    /// How long joining and rendering took last time.
    publish_cost: Duration,
    publish_started: Instant,
    views: u64,
}

type Retries = (
    mpsc::UnboundedSender<(usize, UpstreamError)>,
    mpsc::UnboundedReceiver<(usize, UpstreamError)>,
);

/// A source's side of the refresh.
struct Source {
    /// As published: it describes the data in the published view.
    status: SourceStatus,
    /// As it will be published with the view that is being made, if that holds other data.
    publishing: Option<SourceStatus>,
    /// As it will be published with the view after that, which will hold the newest data.
    arrived: Option<SourceStatus>,
    in_flight: bool,
    due: Instant,
}

impl Source {
    fn new(name: Arc<str>, due: Instant) -> Self {
        Self {
            status: SourceStatus::new(name),
            publishing: None,
            arrived: None,
            in_flight: false,
            due,
        }
    }

    /// The newest status.
    fn newest(&self) -> &SourceStatus {
        self.arrived.as_ref().or(self.publishing.as_ref()).unwrap_or(&self.status)
    }

    /// Whether all that came from it is in the published view. It is not asked again before: three
    /// generations of its data would stand side by side.
    fn is_published(&self) -> bool {
        self.publishing.is_none() && self.arrived.is_none()
    }

    /// The newest status, to be changed.
    fn latest(&mut self) -> &mut SourceStatus {
        self.arrived.as_mut().or(self.publishing.as_mut()).unwrap_or(&mut self.status)
    }
}

/// A call that has ended.
struct Done {
    source: usize,
    started: Instant,
    started_wall: SystemTime,
    result: Result<Fetched, UpstreamError>,
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
        let Settings { names, fields, policy, seed, repeat } = settings;
        let now = Instant::now();
        let incident_names: Arc<[Arc<str>]> = names[1..].into();
        let batches = incident_names.iter().map(|_| None).collect();
        let sources: Vec<_> = names.into_iter().map(|name| Source::new(name, now)).collect();
        let snapshot = Snapshot {
            view: Arc::new(
                View::new(0, Arc::clone(&incident_names), None, batches)
                    .with_fields(Arc::clone(&fields)),
            ),
            sources: sources.iter().map(|source| source.status.clone()).collect(),
            policy,
        };
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let refresh = Self {
            origin,
            cache,
            metrics,
            schedule: Schedule::new(policy.ttl, policy.stale_for, seed),
            policy,
            repeat,
            names: incident_names,
            fields,
            snapshots,
            sources,
            calls: FuturesUnordered::new(),
            retries: mpsc::unbounded_channel(),
            round: (now, policy.ttl),
            unpublished: Debounce::default(),
            publishing: None,
            publish_cost: Duration::ZERO,
            publish_started: now,
            views: 0,
        };
        (refresh, receiver)
    }

    /// Refreshes for as long as it is polled, unless it is to end when every source has been asked.
    pub async fn run(mut self) {
        while !self.is_done() {
            self.start_due_calls();
            self.expire().await;
            self.publish_when_due().await;
            let wake = self.next_wake();
            tokio::select! {
                // First, so that a call's failures are noted before its end.
                biased;
                Some((source, error)) = self.retries.1.recv() => self.note_retry(source, error),
                Some(done) = self.calls.next() => self.finish(done).await,
                Some(view) = OptionFuture::from(self.publishing.as_mut()) => self.published(view).await,
                () = sleep_until(wake) => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        let published = self.unpublished.is_empty() && self.publishing.is_none();
        self.repeat == Repeat::Never
            && published
            && self.sources.iter().all(|source| source.status.settled)
    }

    /// Starts a call at every source that is due, the slowest first: it decides when the refresh
    /// ends.
    fn start_due_calls(&mut self) {
        let now = Instant::now();
        let once = self.repeat == Repeat::Never;
        let is_due = |source: &Source| {
            !source.in_flight
                && source.is_published()
                && source.due <= now
                && !(once && source.newest().settled)
        };
        let mut due: Vec<usize> =
            (0..self.sources.len()).filter(|&source| is_due(&self.sources[source])).collect();
        if due.is_empty() {
            return;
        }
        if self.calls.is_empty() {
            self.round = (now, self.schedule.period());
        }
        // Stable: sources that have taken equally long, or were never asked, keep their order,
        // identities first.
        due.sort_by_key(|&source| {
            std::cmp::Reverse(self.sources[source].latest().last_duration.unwrap_or_default())
        });
        for source in due {
            self.sources[source].in_flight = true;
            self.sources[source].latest().next_attempt = None;
            self.sources[source].status.next_attempt = None;
            let (started, started_wall) = (Instant::now(), SystemTime::now());
            self.sources[source].latest().last_attempt = Some(started_wall);
            self.sources[source].status.last_attempt = Some(started_wall);
            let failed = self.retries.0.clone();
            let on_retry = OnRetry::new(move |error| {
                // Nobody listens any more only when the refresh has ended.
                let _ = failed.send((source, error.clone()));
            });
            let call = self.origin.fetch(source, on_retry);
            self.calls.push(Box::pin(async move {
                Done { source, started, started_wall, result: call.await }
            }));
        }
        self.publish_status();
    }

    /// Notes that a try has failed, though the call goes on: the data it should have renewed is no
    /// longer fresh.
    fn note_retry(&mut self, source: usize, error: UpstreamError) {
        let status = self.sources[source].latest();
        status.consecutive_failures += 1;
        status.last_error = Some(SourceError { kind: error.kind, detail: error.detail });
        self.publish_status();
    }

    /// Notes how a call ended.
    async fn finish(&mut self, done: Done) {
        let Done { source: index, started, started_wall, result } = done;
        let now = Instant::now();
        let source = &mut self.sources[index];
        source.in_flight = false;
        let mut status = source.latest().clone();
        // A refusal by an open circuit is no attempt: what made the circuit open stays to be read.
        let attempted = !matches!(&result, Err(error) if error.kind == Outcome::CircuitOpen);
        if attempted {
            status.last_attempt = Some(started_wall);
        }
        status.settled = true;
        match result {
            Ok(Fetched { batch, duration }) => {
                source.due = self.schedule.after_success(self.round.0, self.round.1, now);
                status.next_attempt = Some(source.due);
                status.last_duration = Some(duration);
                status.fetched_at = Some(now);
                status.last_success = Some(SystemTime::now());
                if status.last_error.take().is_some() {
                    tracing::info!(
                        source = &*status.name,
                        failures = status.consecutive_failures,
                        "source recovered"
                    );
                }
                status.consecutive_failures = 0;
                status.records = batch.records();
                status.bytes = batch.body().len();
                let last = match self.cache.last_good(index).await {
                    Some(last) if is_same(last.body().clone(), batch.body().clone()).await => {
                        Some(last)
                    }
                    _ => None,
                };
                if let (Some(last), None, Some(_)) =
                    (last, &source.arrived, source.newest().fetched_at)
                {
                    // The view, or the one that is being made, holds these very bytes: it stays,
                    // and the new copy goes.
                    *source.latest() = status;
                    self.cache.keep(index, last).await;
                    self.publish_status();
                } else {
                    source.arrived = Some(status);
                    self.cache.keep(index, batch).await;
                    self.unpublished.note(now);
                }
            }
            Err(error) => {
                if attempted {
                    status.last_duration = Some(now.saturating_duration_since(started));
                    status.consecutive_failures += 1;
                }
                source.due = self.schedule.after_failure(
                    status.consecutive_failures,
                    error.retry_after,
                    now,
                );
                status.next_attempt = Some(source.due);
                let stands =
                    self.policy.freshness(status.fetched_at, status.consecutive_failures, now);
                tracing::warn!(
                    source = &*status.name,
                    outcome = error.kind.as_str(),
                    detail = error.detail,
                    failures = status.consecutive_failures,
                    state = stands.as_str(),
                    "refresh of source failed"
                );
                if attempted || status.last_error.is_none() {
                    status.last_error =
                        Some(SourceError { kind: error.kind, detail: error.detail });
                }
                *source.latest() = status;
                self.publish_status();
            }
        }
        if self.calls.is_empty() {
            self.metrics.record_refresh(now.saturating_duration_since(self.round.0));
        }
    }

    /// Lets go of data that is too old to stand in any longer.
    async fn expire(&mut self) {
        let now = Instant::now();
        for (index, source) in self.sources.iter_mut().enumerate() {
            let fetched_at = source.latest().fetched_at;
            if fetched_at.is_none()
                || self.policy.freshness(fetched_at, 0, now) != Freshness::Missing
            {
                continue;
            }
            tracing::warn!(
                source = &*source.status.name,
                "last good data is too old to stand in; source missing"
            );
            let status = source.latest().clone();
            source.arrived =
                Some(SourceStatus { fetched_at: None, records: 0, bytes: 0, ..status });
            self.cache.forget(index).await;
            self.unpublished.note(now);
        }
    }

    /// When there is something to do, should no call end before.
    fn next_wake(&self) -> Instant {
        let may_be_asked = |source: &&Source| !source.in_flight && source.is_published();
        let idle =
            self.sources.iter().filter(may_be_asked).filter(|_| self.repeat == Repeat::Always);
        let due = idle.map(|source| source.due);
        let expiry = self.sources.iter().filter_map(|source| {
            let status = source.newest();
            // A millisecond past the bound, since data is too old only beyond it.
            status
                .fetched_at
                .map(|fetched_at| fetched_at + self.policy.stale_for + Duration::from_millis(1))
        });
        let publish = self.publish_at().filter(|_| self.publishing.is_none());
        due.chain(expiry).chain(publish).min().unwrap_or_else(|| Instant::now() + self.policy.ttl)
    }
}

/// Whether two bodies are the same. Of large ones that takes milliseconds.
async fn is_same(a: Bytes, b: Bytes) -> bool {
    run_cpu_bound(move || a == b).await
}

#[cfg(test)]
mod tests;
