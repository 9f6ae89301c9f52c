//! A fetcher whose sources are known by their names, and a refresh from it that is reconfigured.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::sleep;

use super::script::{Answer, Bench, STALE_FOR, TTL, fetched, options, table};
use crate::config::{Config, Origin, Source, Table};
use crate::metrics::Registry;
use crate::refresh::*;
use crate::sources::{SourceId, names};
use crate::upstream::UpstreamError;

/// A call that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) at: Duration,
    /// Whether there was data to build upon.
    pub(super) has_held: bool,
    /// Whether it has succeeded; `None` while it is in flight, and if it was cancelled.
    pub(super) succeeded: Option<bool>,
}

/// What all configurations have in common: how each source answers, by name, and which calls were
/// made.
pub(super) struct World {
    pub(super) answers: Mutex<BTreeMap<String, Answer>>,
    pub(super) made: Mutex<Vec<Made>>,
    pub(super) in_flight: AtomicUsize,
    started: Instant,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            made: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            started: Instant::now(),
        })
    }

    /// Lets a source answer like this from now on.
    pub(super) fn answer(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap().clone()
    }

    pub(super) fn calls_of(&self, name: &str) -> usize {
        self.made().iter().filter(|made| made.name == name).count()
    }

    fn fetcher(self: &Arc<Self>, config: &Config) -> Arc<dyn Fetcher> {
        Arc::new(NamedFetcher { world: Arc::clone(self), names: names(config) })
    }
}

struct NamedFetcher {
    world: Arc<World>,
    names: PerSource<Arc<str>>,
}

/// Counts as in flight until it is dropped.
struct InFlight(Arc<World>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fetcher for NamedFetcher {
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let Fetch { source, held, context, .. } = fetch;
        let (name, world) = (self.names[source].to_string(), Arc::clone(&self.world));
        let answer = world.answers.lock().unwrap().get(&name).cloned();
        // An empty table, or no records.
        let answer = answer.unwrap_or_else(|| match source {
            SourceId::Table(_) => table(1, "{}"),
            SourceId::Incidents(_) => table(1, r#"{"results":[]}"#),
        });
        let (at, has_held) = (world.now(), held.is_some());
        let number = {
            let mut made = world.made.lock().unwrap();
            made.push(Made { name, at, has_held, succeeded: None });
            made.len() - 1
        };
        world.in_flight.fetch_add(1, Ordering::Relaxed);
        let in_flight = InFlight(Arc::clone(&world));
        async move {
            let result = match answer {
                Answer::Body(after, body) => {
                    sleep(after).await;
                    Ok(fetched(source, body, after))
                }
                Answer::Retried(after, body) => {
                    let error = UpstreamError::new(crate::outcome::Outcome::Status, "scripted");
                    context.on_retry.notify(&error, Instant::now());
                    sleep(after).await;
                    Ok(fetched(source, body, after))
                }
                Answer::Fail(after, kind, retry_after) => {
                    sleep(after).await;
                    Err(UpstreamError { retry_after, ..UpstreamError::new(kind, "scripted") })
                }
            };
            drop(in_flight);
            world.made.lock().unwrap()[number].succeeded = Some(result.is_ok());
            result
        }
        .boxed()
    }
}

/// A configuration with these tables, by path, and incident sources, by name and path.
pub(super) fn config(tables: &[&str], sources: &[(&str, &str)]) -> Config {
    let mut config = Config::default();
    config.cache.ttl = TTL;
    config.cache.stale_for = STALE_FOR;
    config.identities = tables.iter().map(|path| Table::addresses(path)).collect();
    config.sources =
        sources.iter().map(|(name, path)| Source::plain(name, path, &["who"])).collect();
    config
}

/// Gives a source another path.
pub(super) fn redefine(config: &mut Config, name: &str) {
    let source = config.sources.iter_mut().find(|source| source.name == name).unwrap();
    let Origin::Http(http) = &mut source.origin else { unreachable!() };
    http.request.path.push_str("changed/");
}

/// A refresh that runs.
pub(super) struct Running {
    pub(super) world: Arc<World>,
    pub(super) handle: RefreshHandle,
    pub(super) bench: Bench,
}

impl Running {
    pub(super) fn start(world: &Arc<World>, config: &Config) -> Self {
        let cache = Arc::new(Cache::new(1 << 20, 2));
        let mut registry = Registry::default();
        let metrics = RefreshMetrics::register(&mut registry);
        let fetcher = world.fetcher(config);
        let settings = Settings::new(config);
        let (refresh, snapshots) =
            Refresh::new(fetcher, Arc::clone(&cache), metrics, settings, options());
        let handle = refresh.handle();
        tokio::spawn(refresh.run());
        let bench = Bench::new(cache, registry, snapshots);
        Self { world: Arc::clone(world), handle, bench }
    }

    /// Starts with this configuration, and waits until all sources have data.
    pub(super) async fn complete(world: &Arc<World>, config: &Config) -> Self {
        let mut running = Self::start(world, config);
        running.bench.until("complete", super::script::complete).await;
        running
    }

    pub(super) fn reconfigure(&self, config: &Config) {
        self.reconfigure_with(config, Arc::clone(&self.bench.cache));
    }

    pub(super) fn reconfigure_with(&self, config: &Config, cache: Arc<Cache>) {
        self.handle.reconfigure(Reconfiguration {
            fetcher: self.world.fetcher(config),
            cache,
            settings: Settings::new(config),
        });
    }

    /// Reconfigures, and waits until that is in effect, which takes no time.
    pub(super) async fn apply(&mut self, config: &Config) {
        self.reconfigure(config);
        let names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
        let is_applied = |snapshot: &Snapshot| {
            snapshot.view.names().iter().map(|name| &**name).eq(names.iter().map(String::as_str))
        };
        sleep(Duration::from_millis(1)).await;
        assert!(self.bench.until("applied", is_applied).await < Duration::from_millis(10));
    }
}
