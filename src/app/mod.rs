//! Assembles a gateway and runs it: the [`Engine`], which fetches and publishes data, and the two
//! listeners, which serve it.

mod engine;
mod listener;
mod reload;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::OptionFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::listener::{AdminServer, BoundListener, PublicServer, listener_settings, server_tls};
use self::store::RunningStore;
use crate::access::{self, Access, AccessMetrics};
use crate::background::Background;
use crate::cache::Cache;
use crate::config::{Config, StoreUrl};
use crate::forward::{ForwardMetrics, ForwardSettings};
use crate::http::{Gateway, ListenerSettings, Phase, TlsError, event_generation};
use crate::refresh::{Refresh, RefreshHandle, Repeat, StoreLink};
use crate::store::{StoreError, StoreMetrics};
use crate::upstream::{SetupError, UpstreamMetrics, Upstreams};

pub use self::engine::Engine;
pub use self::reload::{ConfigWatch, LOOK_INTERVAL, Load, ReloadMetrics};
pub use self::store::OpenStore;
pub(crate) use self::store::{configure_claims, session_settings, store_of};

/// Why the gateway could not start.
#[derive(Debug)]
pub enum StartError {
    /// The address of this setting cannot be listened on.
    Listen(&'static str, SocketAddr, io::Error),
    /// An upstream or a forward cannot be set up.
    Upstream(SetupError),
    /// The listeners' TLS cannot be set up.
    Tls(TlsError),
    /// Access control cannot be set up.
    Access(access::SetupError),
    /// The store cannot be used before the operator does something.
    Store(StoreError),
    /// No thread or runtime could be started.
    System(io::Error),
}

impl StartError {
    /// Whether the configuration, or what it names, must be mended first.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Access(_) | Self::Store(StoreError::Unusable(_)))
    }
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
            Self::Store(error) => error.fmt(f),
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
    store: Option<RunningStore>,
    /// The threads of the refresh and of the store's tasks.
    _background: Background,
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
    /// Starts everything on the current runtime, except for the refresh and the tasks of the store,
    /// which run in the background, and the admin listener, which has a thread of its own. `store`
    /// is the one of the configuration, and was opened; without it the gateway serves as if there
    /// were none. `seed` determines all jitter.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, or TLS, access control, an upstream or a forward cannot be
    /// set up.
    pub fn start(config: &Config, store: Option<OpenStore>, seed: u64) -> Result<Self, StartError> {
        let tls = server_tls(config).map_err(StartError::Tls)?;
        let (public_settings, admin_settings) = listener_settings(config, tls);
        let public = BoundListener::new("listen", config.listen)?;
        let admin = BoundListener::new("admin_listen", config.admin_listen)?;
        let (address, admin_address) = (public.address, admin.address);
        let keeps_ids = config.store.url != StoreUrl::None;
        let Engine { upstreams, cache, mut registry, upstream_metrics, snapshots, mut refresh } =
            Engine::new(config, seed, Repeat::Always, keeps_ids).map_err(StartError::Upstream)?;
        let reload_metrics = ReloadMetrics::register(&mut registry);
        let access_metrics = AccessMetrics::register(&mut registry);
        let access = Access::new(config, None, &access_metrics).map_err(StartError::Access)?;
        let mut event_generation = event_generation(SystemTime::now());
        let forwards = ForwardSettings::new(&config.forward, config.public_url.as_ref())
            .map_err(StartError::Upstream)?;
        let mut store_handle = None;
        let (background, store) = match store {
            Some(open) => {
                event_generation = open.event_generation;
                refresh = refresh.with_store(StoreLink::from(&open.handle));
                store_handle = Some(open.handle.clone());
                // A reload may add forwards, but no families of metrics.
                let metrics = (
                    StoreMetrics::register(&mut registry, &open.handle),
                    ForwardMetrics::register(&mut registry),
                );
                let (background, store) =
                    open.start(config, &upstreams, snapshots.clone(), forwards, metrics);
                (background, Some(store))
            }
            None => (Background::start().map_err(StartError::System)?, None),
        };
        // The refresh starts first, so that the sources are called while the rest is set up.
        let refresh = RunningRefresh::start(refresh, &background);
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut gateway = Gateway::new(
            config,
            snapshots,
            Arc::clone(&cache),
            registry,
            Arc::clone(&upstreams),
            phases,
            event_generation,
        );
        if let (Some(handle), Some(store)) = (store_handle, &store) {
            gateway = gateway.with_store(handle).with_forwards(store.forwards());
        }
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
            store,
            _background: background,
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

    /// The kind of the store, if there is one.
    #[must_use]
    pub fn store_kind(&self) -> Option<&'static str> {
        self.store.as_ref().map(RunningStore::kind)
    }

    /// Makes `/readyz` answer 503 from now on, and each response close its connection. A lease that
    /// other processes wait for is given back.
    pub fn drain(&self) {
        self.public.enter(Phase::Draining);
        if let Some(store) = &self.store {
            store.drain();
        }
    }

    /// Stops accepting connections, and waits until every request in flight has its response, and
    /// until what was fetched is stored.
    pub async fn close(&mut self) {
        self.public.enter(Phase::Closing);
        let store = OptionFuture::from(self.store.as_ref().map(RunningStore::close));
        tokio::join!(self.public.ended(), store);
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

/// The refresh, which ends with this value.
struct RunningRefresh {
    handle: RefreshHandle,
    task: JoinHandle<()>,
}

impl RunningRefresh {
    fn start(refresh: Refresh, background: &Background) -> Self {
        Self { handle: refresh.handle(), task: background.spawn(refresh.run()) }
    }
}

impl Drop for RunningRefresh {
    fn drop(&mut self) {
        self.task.abort();
    }
}
