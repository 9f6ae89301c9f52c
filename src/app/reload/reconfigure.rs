//! Replaces the configuration of a running gateway.

use std::sync::Arc;

use super::restart::keep_until_restart;
use crate::access::Access;
use crate::app::engine::new_cache;
use crate::app::listener::{listener_settings, server_tls};
use crate::app::{Running, StartError};
use crate::config::{Config, StoreUrl};
use crate::forward::ForwardSettings;
use crate::refresh::{Reconfiguration, Settings, SourceFetcher};
use crate::upstream::{SetupError, Upstreams};

impl Running {
    /// Puts another configuration into effect, but for the settings that need a restart, whose keys
    /// are returned. Requests in flight are served by the configuration with which they began.
    ///
    /// # Errors
    ///
    /// When TLS, access control, an upstream or a forward cannot be set up. Then nothing has
    /// changed.
    pub fn reconfigure(&mut self, config: &Config) -> Result<Vec<&'static str>, StartError> {
        let mut config = config.clone();
        let kept = keep_until_restart(&self.config, &mut config);
        if config == self.config {
            return Ok(kept);
        }
        // All that can fail comes first. Access control is last of it, because it starts to fetch
        // keys.
        let tls = if config.tls == self.config.tls {
            // So that sessions can still be resumed.
            self.public_settings.borrow().tls.clone()
        } else {
            server_tls(&config).map_err(StartError::Tls)?
        };
        let upstreams = self.upstreams_of(&config).map_err(StartError::Upstream)?;
        let forwards = self.other_forwards(&config).map_err(StartError::Upstream)?;
        let access = Access::new(&config, Some(&self.access), &self.access_metrics)
            .map_err(StartError::Access)?;

        if cache_size(&config) != cache_size(&self.config) {
            self.cache = Arc::new(new_cache(&config));
        }
        let gateway = Arc::new(self.gateways.borrow().reconfigured(
            &config,
            Arc::clone(&self.cache),
            Arc::clone(&upstreams),
            Arc::clone(&access),
        ));
        // Before the gateway serves: the access control before would end the streams of new
        // principals.
        gateway.end_revoked_streams();
        // Listeners come before the gateway: they verify the certificates of open connections
        // again, before access control asks for the new authorities.
        let (public, admin) = listener_settings(&config, tls);
        self.public_settings.send_replace(public);
        self.admin_settings.send_replace(admin);
        self.gateways.send_replace(gateway);
        let concerns_refresh = concerns_refresh(&config, &self.config);
        if (concerns_refresh || forwards.is_some())
            && let Some(store) = &self.store
        {
            store.set(&config, &upstreams, forwards);
        }
        if concerns_refresh {
            let keeps_ids = config.store.url != StoreUrl::None;
            let (upstreams, metrics) = (Arc::clone(&upstreams), &self.upstream_metrics);
            let fetcher = SourceFetcher::new(upstreams, &config, metrics, keeps_ids);
            self.refresh.handle.reconfigure(Reconfiguration {
                fetcher: Arc::new(fetcher),
                cache: Arc::clone(&self.cache),
                settings: Settings::new(&config),
            });
        }
        self.upstreams = upstreams;
        self.access = access;
        self.config = config;
        Ok(kept)
    }

    /// The forwards of the other configuration, if they are others.
    fn other_forwards(&self, config: &Config) -> Result<Option<ForwardSettings>, SetupError> {
        let Config { forward, public_url, .. } = config;
        if *forward == self.config.forward && *public_url == self.config.public_url {
            return Ok(None);
        }
        ForwardSettings::new(forward, public_url.as_ref()).map(Some)
    }

    fn upstreams_of(&mut self, config: &Config) -> Result<Arc<Upstreams>, SetupError> {
        if !concerns_refresh(config, &self.config) {
            return Ok(Arc::clone(&self.upstreams));
        }
        let (metrics, seed) = (&self.upstream_metrics, self.seeds.u64(..));
        self.upstreams.reconfigured(config, metrics, seed).map(Arc::new)
    }
}

/// Whether the refresh has other sources, or other settings by which to fetch and keep them.
fn concerns_refresh(new: &Config, old: &Config) -> bool {
    new.upstream != old.upstream
        || new.upstreams != old.upstreams
        || new.identities != old.identities
        || new.sources != old.sources
        || new.cache != old.cache
        || cache_size(new) != cache_size(old)
}

/// The settings that a cache cannot change.
fn cache_size(config: &Config) -> (u64, Option<usize>) {
    (config.cache.max_bytes, config.limits.max_renders)
}
