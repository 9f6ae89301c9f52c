//! The whole gateway, put together and running: upstream, refresh, cache, both listeners.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::background::Background;
use crate::cache::Cache;
use crate::clock::WallClock;
use crate::config::Config;
use crate::http::{Gateway, Phase, Server};
use crate::metrics::{self, Registry};
use crate::refresh::{Refresh, RefreshMetrics, Repeat, Settings, UpstreamOrigin};
use crate::snapshot::{self, Policy, Snapshot};
use crate::upstream::{Endpoint, SetupError, Upstream, UpstreamMetrics};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the gateway could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on; which, and why.
    Listen(&'static str, SocketAddr, io::Error),
    /// The upstream cannot be set up.
    Upstream(SetupError),
    /// The system gives no thread or runtime.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(key, address, error) => {
                write!(f, "`{key}`: cannot listen on {address}: {error}; set another address")
            }
            Self::Upstream(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The parts that fetch and keep data, without listeners.
pub struct Engine {
    /// The upstream that is asked.
    pub upstream: Arc<Upstream>,
    /// What is kept.
    pub cache: Arc<Cache>,
    /// The metrics of the parts above, to which others add theirs.
    pub registry: Registry,
    /// What is served.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The refresh, not begun yet.
    pub refresh: Refresh,
}

impl Engine {
    /// Puts them together as `config` says; `seed` decides all jitter, `repeat` whether the refresh
    /// ever ends.
    ///
    /// # Errors
    ///
    /// When the upstream cannot be set up.
    pub fn new(config: &Config, seed: u64, repeat: Repeat) -> Result<Self, SetupError> {
        let endpoints = Endpoint::all(config);
        let names = endpoints.map(|_, endpoint| Arc::clone(&endpoint.name));
        let mut registry = metrics::registry();
        let upstream_metrics = UpstreamMetrics::register(&mut registry);
        let upstream = Arc::new(Upstream::new(
            &config.upstream,
            endpoints.as_slice(),
            &upstream_metrics,
            seed,
        )?);
        let max_renders = config.limits.max_renders.unwrap_or_else(default_max_renders);
        let cache = Arc::new(Cache::new(config.cache.max_bytes, max_renders));
        let origin = UpstreamOrigin::new(Arc::clone(&upstream), &config.sources);
        let policy = Policy {
            ttl: config.cache.ttl,
            grace: config.upstream.timeout,
            stale_for: config.cache.stale_for,
        };
        let settings = Settings {
            names,
            fields: config.known_fields(),
            policy,
            seed,
            repeat,
            clock: WallClock::system(),
        };
        let refresh_metrics = RefreshMetrics::register(&mut registry);
        let (refresh, snapshots) =
            Refresh::new(Arc::new(origin), Arc::clone(&cache), refresh_metrics, settings);
        snapshot::metrics::register(&mut registry, snapshots.clone());
        Ok(Self { upstream, cache, registry, snapshots, refresh })
    }
}

/// Two renders for each core: while one of them waits for memory, the other works.
fn default_max_renders() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}

/// A gateway that serves.
pub struct Running {
    /// Where the public listener is bound.
    pub address: SocketAddr,
    /// Where the admin listener is bound.
    pub admin_address: SocketAddr,
    phase: watch::Sender<Phase>,
    /// The admin listener's own: it answers for as long as this value lives, so that probes during
    /// the drain are told 503 rather than refused.
    admin_phase: watch::Sender<Phase>,
    refresh: JoinHandle<()>,
    /// Where the refresh runs; ends with this value.
    _background: Background,
    public: JoinHandle<()>,
}

impl Running {
    /// Starts everything on the current runtime, but the refresh in the background and the admin
    /// listener on a thread of its own.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound or the upstream cannot be set up.
    pub fn start(config: &Config, seed: u64) -> Result<Self, StartError> {
        let public = listen("listen", config.listen)?;
        let admin = listen("admin_listen", config.admin_listen)?;
        let system = |listener: &StdListener| listener.local_addr().map_err(StartError::System);
        let (address, admin_address) = (system(&public)?, system(&admin)?);
        let Engine { upstream, cache, registry, snapshots, refresh } =
            Engine::new(config, seed, Repeat::Always).map_err(StartError::Upstream)?;
        // First, so that the upstream works while the rest is set up.
        let background = Background::start().map_err(StartError::System)?;
        let refresh = background.spawn(refresh.run());
        let (phase, phases) = watch::channel(Phase::Serving);
        let gateway = Gateway::new(config, snapshots, cache, registry, upstream, phases.clone());
        let gateway = Arc::new(gateway);
        let (admin_phase, admin_phases) = watch::channel(Phase::Serving);
        serve_admin(admin, Arc::clone(&gateway), config, admin_phases)
            .map_err(StartError::System)?;
        let public = TcpListener::from_std(public).map_err(StartError::System)?;
        let server = Server::new(public, config.limits, phases);
        let public = tokio::spawn(server.run(gateway.public_service()));
        Ok(Self {
            address,
            admin_address,
            phase,
            admin_phase,
            refresh,
            _background: background,
            public,
        })
    }

    /// Says at `/readyz` from now on that the process will stop.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Stops accepting, and waits until every request in flight has its answer.
    pub async fn close(&mut self) {
        self.phase.send_replace(Phase::Closing);
        // It ends only so; should it have panicked, there is nothing left to wait for.
        let _ = (&mut self.public).await;
        self.refresh.abort();
    }

    /// Waits for a part to end that should not: the refresh, or the public listener.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.refresh => "the refresh",
            _ = &mut self.public => "the public listener",
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closing);
        self.admin_phase.send_replace(Phase::Closing);
        self.refresh.abort();
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<StdListener, StartError> {
    let bind = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|error| StartError::Listen(key, address, error))
}

/// Serves probes and metrics from a thread that shares nothing with the public side's load.
fn serve_admin(
    listener: StdListener,
    gateway: Arc<Gateway>,
    config: &Config,
    phases: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = config.limits;
    let serve = move || {
        runtime.block_on(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the admin listener cannot serve"),
            };
            Server::new(listener, limits, phases).run(gateway.admin_service()).await;
        });
    };
    thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}
