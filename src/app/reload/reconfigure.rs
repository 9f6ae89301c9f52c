//! Replaces the configuration of a running gateway.

use std::sync::Arc;

use super::restart::keep_until_restart;
use crate::access::Access;
use crate::app::listener::listener_settings;
use crate::app::{Running, StartError};
use crate::config::Config;

impl Running {
    /// Puts another configuration into effect, but for the settings that need a restart, whose keys
    /// are returned. Requests in flight are served by the configuration with which they began.
    ///
    /// # Errors
    ///
    /// When TLS, access control or an upstream cannot be set up. Then nothing has changed.
    pub fn reconfigure(&mut self, config: &Config) -> Result<Vec<&'static str>, StartError> {
        let mut config = config.clone();
        let kept = keep_until_restart(&self.config, &mut config);
        // All that can fail comes first.
        let (public_settings, admin_settings) =
            listener_settings(&config).map_err(StartError::Tls)?;
        let access = Access::new(&config, Some(&self.access), &self.access_metrics)
            .map_err(StartError::Access)?;

        let gateway = Arc::new(self.gateways.borrow().reconfigured(
            &config,
            Arc::clone(&self.cache),
            Arc::clone(&self.upstreams),
            Arc::clone(&access),
        ));
        self.gateways.send_replace(Arc::clone(&gateway));
        gateway.end_revoked_streams();
        self.public_settings.send_replace(public_settings);
        self.admin_settings.send_replace(admin_settings);
        self.access = access;
        self.config = config;
        Ok(kept)
    }
}
