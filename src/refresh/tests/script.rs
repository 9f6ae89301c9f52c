//! A scripted fetcher, and a refresh from it.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::super::*;
use crate::config::Config;
use crate::metrics::Registry;
use crate::outcome::Outcome;
use crate::sources::{SourceId, definitions};
use crate::store::SourceReport;
use crate::trace_context::TraceContext;
use crate::upstream::UpstreamError;
use bytes::Bytes;

use crate::decode::{Incidents, SourceFields};
use crate::identity::{IdentityTable, KeyKinds};
use crate::render::{self, Filter};
use crate::snapshot::{Completeness, Policy};

pub(super) const TTL: Duration = Duration::from_secs(30);
pub(super) const STALE_FOR: Duration = Duration::from_mins(10);
pub(super) const DENIAL: SourceId = SourceId::Incidents(0);
pub(super) const PROBING: SourceId = SourceId::Incidents(1);

pub(super) fn names() -> PerSource<Arc<str>> {
    PerSource::new(["identities".into()], ["denial".into(), "probing".into()])
}

/// What a source answers: after how long, and what.
#[derive(Clone)]
pub(super) enum Answer {
    Body(Duration, String),
    Fail(Duration, Outcome, Option<Duration>),
    /// Fails at once, and is made again with this result.
    Retried(Duration, String),
}

/// Answers each source's calls from its script, the last entry again and again, and notes when each
/// was made.
pub(super) struct Script {
    answers: [Mutex<VecDeque<Answer>>; 3],
    pub(super) calls: Mutex<Vec<(SourceId, Duration, TraceContext)>>,
    /// Until when the upstream asks not to be called.
    pub(super) wait: Mutex<Option<Instant>>,
    started: Instant,
}

impl Script {
    pub(super) fn calls_of(&self, source: SourceId) -> Vec<Duration> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(called, ..)| *called == source)
            .map(|(_, at, _)| *at)
            .collect()
    }
}

impl Fetcher for Script {
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let Fetch { source, context, .. } = fetch;
        let trace = context.trace.unwrap();
        self.calls.lock().unwrap().push((source, self.started.elapsed(), trace));
        let mut answers = self.answers[names().position(source)].lock().unwrap();
        let answer =
            if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap();
        async move {
            if matches!(answer, Answer::Retried(..)) {
                let error = UpstreamError::new(Outcome::Status, "scripted");
                context.on_retry.notify(&error, Instant::now());
            }
            match answer {
                Answer::Body(after, body) | Answer::Retried(after, body) => {
                    sleep(after).await;
                    Ok(fetched(source, body, after))
                }
                Answer::Fail(after, kind, retry_after) => {
                    sleep(after).await;
                    Err(UpstreamError { retry_after, ..UpstreamError::new(kind, "scripted") })
                }
            }
        }
        .boxed()
    }

    fn restore(
        &self,
        source: SourceId,
        content: &StoredContent,
        _: &SourceReport,
    ) -> Result<FetchedBatch, String> {
        match content {
            StoredContent::Table(bytes) => {
                let table = IdentityTable::from_bytes(bytes, 1 << 20);
                let table = table.map_err(|error| error.to_string())?;
                let batch = Batch::Identities(Arc::new(table));
                Ok(FetchedBatch::new(batch, Duration::ZERO))
            }
            StoredContent::Records(records) => {
                let records: Vec<_> = records.iter().map(String::from_utf8_lossy).collect();
                let body = format!(r#"{{"results":[{}]}}"#, records.join(","));
                serde_json::from_str::<serde::de::IgnoredAny>(&body)
                    .map_err(|error| error.to_string())?;
                Ok(fetched(source, body, Duration::ZERO))
            }
        }
    }

    fn waits_until(&self, _: SourceId) -> Option<Instant> {
        self.wait.lock().unwrap().filter(|until| *until > Instant::now())
    }
}

pub(super) fn fetched(source: SourceId, body: String, duration: Duration) -> FetchedBatch {
    let body = Bytes::from(body);
    let batch = if matches!(source, SourceId::Table(_)) {
        Batch::Identities(Arc::new(IdentityTable::decode(body).unwrap()))
    } else {
        let fields = SourceFields::new(&["who".to_owned()]);
        Batch::Incidents(Arc::new(Incidents::decode(body, &fields).unwrap()))
    };
    FetchedBatch::new(batch, duration)
}

/// Answers nothing for an hour.
pub(super) fn never() -> Arc<Script> {
    let answers = [(); 3].map(|()| Mutex::new([fail(3600, Outcome::Timeout)].into()));
    Arc::new(Script {
        answers,
        calls: Mutex::default(),
        wait: Mutex::default(),
        started: Instant::now(),
    })
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn table(after: u64, body: &str) -> Answer {
    Answer::Body(seconds(after), body.to_owned())
}

pub(super) fn incidents(after: u64, whos: &[&str]) -> Answer {
    let record = |(index, who): (usize, &&str)| {
        format!(r#"{{"who":{who},"priority":"low","timestamp":{index}}}"#)
    };
    let records: Vec<String> = whos.iter().enumerate().map(record).collect();
    Answer::Body(seconds(after), format!(r#"{{"results":[{}]}}"#, records.join(",")))
}

pub(super) fn fail(after: u64, kind: Outcome) -> Answer {
    Answer::Fail(seconds(after), kind, None)
}

pub(super) fn settings() -> Settings {
    let definitions = definitions(&Config::default());
    Settings {
        sources: names().map(|id, name| SourceSettings {
            name: Arc::clone(name),
            upstream: Some("default".into()),
            policy: Policy::of_ttl(TTL, seconds(10), STALE_FOR),
            interval: Interval::Ttl,
            definition: definitions[id].clone(),
            key_kinds: match id {
                SourceId::Table(_) => KeyKinds::ADDRESSES,
                SourceId::Incidents(_) => KeyKinds::default(),
            },
        }),
        fields: Arc::default(),
        ttl: TTL,
        max_store_wait: seconds(3),
    }
}

pub(super) fn options() -> RunOptions {
    RunOptions { seed: 42, repeat: Repeat::Always, clock: WallClock::system() }
}

/// The settings where these sources are asked at intervals of their own.
pub(super) fn settings_with(intervals: &[(SourceId, Duration)]) -> Settings {
    let mut settings = settings();
    for (source, every) in intervals {
        let source = &mut settings.sources[*source];
        source.interval = Interval::Every(*every);
        source.policy = Policy::of_every(*every, seconds(10), STALE_FOR);
    }
    settings
}

pub(super) struct Bench {
    /// Its sources never answer where the refresh has another fetcher.
    pub(super) script: Arc<Script>,
    pub(super) cache: Arc<Cache>,
    pub(super) registry: Registry,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// Starts a refresh of the three sources.
pub(super) fn start(answers: [Vec<Answer>; 3]) -> Bench {
    start_with(answers, settings())
}

pub(super) fn start_with(answers: [Vec<Answer>; 3], settings: Settings) -> Bench {
    start_at(answers, settings, WallClock::system())
}

/// The same by this clock.
pub(super) fn start_at(answers: [Vec<Answer>; 3], settings: Settings, clock: WallClock) -> Bench {
    let (bench, refresh) = prepare(answers, settings, clock);
    tokio::spawn(refresh.run());
    bench
}

/// A refresh that is not running yet, and its bench.
pub(super) fn prepare(
    answers: [Vec<Answer>; 3],
    settings: Settings,
    clock: WallClock,
) -> (Bench, Refresh) {
    let answers = answers.map(|answers| Mutex::new(answers.into()));
    let script = Arc::new(Script {
        answers,
        calls: Mutex::default(),
        wait: Mutex::default(),
        started: Instant::now(),
    });
    let cache = Arc::new(Cache::new(1 << 20, 2));
    let mut registry = crate::metrics::registry();
    let metrics = RefreshMetrics::register(&mut registry);
    let (refresh, snapshots) = Refresh::new(
        Arc::clone(&script) as Arc<dyn Fetcher>,
        Arc::clone(&cache),
        metrics,
        settings,
        RunOptions { clock, ..options() },
    );
    (Bench { script, cache, registry, snapshots }, refresh)
}

impl Bench {
    /// The bench of a refresh with another fetcher.
    pub(super) fn new(
        cache: Arc<Cache>,
        registry: Registry,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { script: never(), cache, registry, snapshots }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Waits for a snapshot that meets the condition; how long it took.
    pub(super) async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&Snapshot) -> bool,
    ) -> Duration {
        let started = Instant::now();
        let wait = self.snapshots.wait_for(|snapshot| condition(snapshot));
        assert!(timeout(seconds(7200), wait).await.is_ok(), "never: {what}");
        started.elapsed()
    }

    /// Whether this comes true as the cache is used: moka frees what it removed when no thread
    /// reads any cache of the process, those of other tests included.
    pub(super) async fn frees(&self, condition: impl Fn() -> bool) -> bool {
        for _ in 0..100_000 {
            if condition() {
                return true;
            }
            self.cache.retire_before(0).await;
        }
        false
    }

    pub(super) fn completeness(&self) -> Completeness {
        self.snapshot().completeness(Instant::now())
    }

    pub(super) fn state(&self, source: SourceId) -> Freshness {
        self.snapshot().sources[source].freshness(Instant::now())
    }

    pub(super) fn document(&self) -> String {
        String::from_utf8(render::incidents(&self.snapshot().view, &Filter::default())).unwrap()
    }
}

pub(super) fn complete(snapshot: &Snapshot) -> bool {
    snapshot.completeness(Instant::now()) == Completeness::Complete
}
