//! Assembles the parts that fetch and publish data.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::WallClock;
use crate::config::Config;
use crate::metrics::{self, Registry};
use crate::refresh::{Refresh, RefreshMetrics, Repeat, RunOptions, Settings, SourceFetcher};
use crate::snapshot::{self, Snapshot};
use crate::upstream::{SetupError, UpstreamMetrics, Upstreams};

/// The parts of a gateway that fetch and publish data, without listeners. `fetch` and
/// `forward` need no others.
pub struct Engine {
    /// The clients of the upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Rendered answers.
    pub cache: Arc<Cache>,
    /// The metrics of these parts; other parts add their own.
    pub registry: Registry,
    /// Those of the upstreams, for clients that a reload adds.
    pub upstream_metrics: UpstreamMetrics,
    /// The newest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The refresh, which is not running yet.
    pub refresh: Refresh,
}

impl Engine {
    /// Builds the parts from `config`. `seed` determines all jitter, `repeat` whether the refresh
    /// ever ends. `keeps_ids` says whether the ids of all records are kept, as the store needs
    /// them.
    ///
    /// # Errors
    ///
    /// When an upstream cannot be set up.
    pub fn new(
        config: &Config,
        seed: u64,
        repeat: Repeat,
        keeps_ids: bool,
    ) -> Result<Self, SetupError> {
        let mut registry = metrics::registry();
        let upstream_metrics = UpstreamMetrics::register(&mut registry);
        let upstreams = Arc::new(Upstreams::new(config, &upstream_metrics, seed)?);
        let cache = Arc::new(new_cache(config));
        let fetcher =
            SourceFetcher::new(Arc::clone(&upstreams), config, &upstream_metrics, keeps_ids);
        let options = RunOptions { seed, repeat, clock: WallClock::system() };
        let refresh_metrics = RefreshMetrics::register(&mut registry);
        let (refresh, snapshots) = Refresh::new(
            Arc::new(fetcher),
            Arc::clone(&cache),
            refresh_metrics,
            Settings::new(config),
            options,
        );
        snapshot::metrics::register(&mut registry, snapshots.clone());
        Ok(Self { upstreams, cache, registry, upstream_metrics, snapshots, refresh })
    }
}

/// An empty cache of the configured size.
pub(super) fn new_cache(config: &Config) -> Cache {
    let max_renders = config.limits.max_renders.unwrap_or_else(default_max_renders);
    Cache::new(config.cache.max_bytes, max_renders)
}

/// Two renders for each core, so that one can run while the other waits for memory.
fn default_max_renders() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}
