//! Assembles a gateway and runs it: the [`Engine`], which fetches and publishes data, and the two
//! listeners, which serve it.

mod engine;
mod listener;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::listener::{AdminServer, BoundListener, PublicServer, listener_settings, server_tls};
use crate::access::{self, Access, AccessMetrics};
use crate::background::Background;
use crate::cache::Cache;
use crate::config::Config;
use crate::http::{Gateway, ListenerSettings, Phase, TlsError, event_generation};
use crate::refresh::{Refresh, RefreshHandle, Repeat};
use crate::upstream::{SetupError, UpstreamMetrics, Upstreams};

pub use self::engine::Engine;
pub use self::reload::{ConfigWatch, LOOK_INTERVAL, Load, ReloadMetrics};

/// Why the gateway could not start.
#[derive(Debug)]
pub enum StartError {
    /// The address of this setting cannot be listened on.
    Listen(&'static str, SocketAddr, io::Error),
    /// An upstream cannot be set up.
    Upstream(SetupError),
    /// The listeners' TLS cannot be set up.
    Tls(TlsError),
    /// Access control cannot be set up.
    Access(access::SetupError),
    /// No thread or runtime could be started.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(key, address, error) => {
                write!(f, "`{key}`: cannot listen on {address}: {error}; set another address")
            }
            Self::Upstream(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Access(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that serves until this value is dropped.
pub struct Running {
    /// Where the public listener is bound.
    pub address: SocketAddr,
    /// Where the admin listener is bound.
    pub admin_address: SocketAddr,
    public: PublicServer,
    _admin: AdminServer,
    refresh: RunningRefresh,
    /// The configuration in effect.
    config: Config,
    cache: Arc<Cache>,
    upstreams: Arc<Upstreams>,
    upstream_metrics: UpstreamMetrics,
    /// Seeds of upstreams that a reload adds.
    seeds: fastrand::Rng,
    gateways: watch::Sender<Arc<Gateway>>,
    public_settings: watch::Sender<ListenerSettings>,
    admin_settings: watch::Sender<ListenerSettings>,
    access: Arc<Access>,
    access_metrics: AccessMetrics,
    reload_metrics: ReloadMetrics,
}

impl Running {
    /// Starts everything on the current runtime, except for the refresh, which runs in the
    /// background, and the admin listener, which has a thread of its own. `seed` determines all
    /// jitter.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, or TLS, access control or an upstream cannot be set up.
    pub fn start(config: &Config, seed: u64) -> Result<Self, StartError> {
        let tls = server_tls(config).map_err(StartError::Tls)?;
        let (public_settings, admin_settings) = listener_settings(config, tls);
        let public = BoundListener::new("listen", config.listen)?;
        let admin = BoundListener::new("admin_listen", config.admin_listen)?;
        let (address, admin_address) = (public.address, admin.address);
        let Engine { upstreams, cache, mut registry, upstream_metrics, snapshots, refresh } =
            Engine::new(config, seed, Repeat::Always).map_err(StartError::Upstream)?;
        let reload_metrics = ReloadMetrics::register(&mut registry);
        let access_metrics = AccessMetrics::register(&mut registry);
        let access = Access::new(config, None, &access_metrics).map_err(StartError::Access)?;
        // The refresh starts first, so that the sources are called while the rest is set up.
        let refresh = RunningRefresh::start(refresh).map_err(StartError::System)?;
        let (phase, phases) = watch::channel(Phase::Serving);
        let gateway = Gateway::new(
            config,
            snapshots,
            Arc::clone(&cache),
            registry,
            Arc::clone(&upstreams),
            phases,
            event_generation(SystemTime::now()),
        );
        let gateway = gateway.with_access(Arc::clone(&access));
        let (gateways, gateway) = watch::channel(Arc::new(gateway));
        let (public_settings, for_public) = watch::channel(public_settings);
        let (admin_settings, for_admin) = watch::channel(admin_settings);
        let admin =
            AdminServer::start(admin, gateway.clone(), for_admin).map_err(StartError::System)?;
        let public =
            PublicServer::start(public, gateway, for_public, phase).map_err(StartError::System)?;
        Ok(Self {
            address,
            admin_address,
            public,
            _admin: admin,
            refresh,
            config: config.clone(),
            cache,
            upstreams,
            upstream_metrics,
            seeds: fastrand::Rng::with_seed(seed),
            gateways,
            public_settings,
            admin_settings,
            access,
            access_metrics,
            reload_metrics,
        })
    }

    /// The configuration in effect.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The metrics of reloads.
    #[must_use]
    pub fn reload_metrics(&self) -> &ReloadMetrics {
        &self.reload_metrics
    }

    /// Whether callers must sign in or present a certificate.
    #[must_use]
    pub fn asks_for_sign_in(&self) -> bool {
        !self.access.is_open()
    }

    /// Makes `/readyz` answer 503 from now on, and each response close its connection.
    pub fn drain(&self) {
        self.public.enter(Phase::Draining);
    }

    /// Stops accepting connections, and waits until every request in flight has its response.
    pub async fn close(&mut self) {
        self.public.enter(Phase::Closing);
        self.public.ended().await;
        self.refresh.task.abort();
    }

    /// Waits until a part that must keep running has ended, and returns its name.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.refresh.task => "the refresh",
            () = self.public.ended() => "the public listener",
        }
    }
}

/// The refresh, and the threads it runs on. Both end with this value.
struct RunningRefresh {
    handle: RefreshHandle,
    task: JoinHandle<()>,
    _background: Background,
}

impl RunningRefresh {
    fn start(refresh: Refresh) -> io::Result<Self> {
        let (handle, background) = (refresh.handle(), Background::start()?);
        Ok(Self { handle, task: background.spawn(refresh.run()), _background: background })
    }
}

impl Drop for RunningRefresh {
    fn drop(&mut self) {
        self.task.abort();
    }
}
