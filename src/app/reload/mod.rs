//! Reloads the configuration: finds out that it has changed, and puts the new one into effect.
//!
//! The configuration and all files that it names are one unit. They are loaded and compared as a
//! whole, so that it does not matter in which way a file was replaced.

mod changes;
mod metrics;
mod reconfigure;
mod restart;
mod watch;

pub use metrics::ReloadMetrics;
pub use watch::{ConfigWatch, LOOK_INTERVAL, Load};

use super::Running;
use crate::config::Config;

impl Running {
    /// Puts a configuration that was loaded again into effect, or keeps the present one if the new
    /// one cannot be set up. The log and the metrics tell.
    pub fn reload(&mut self, config: &Config) {
        let (before, was_open) = (self.config.clone(), self.access.is_open());
        match self.reconfigure(config) {
            Ok(kept) => {
                self.reload_metrics.record_success();
                let changed = changes::between(&before, &self.config);
                if !changed.is_empty() {
                    tracing::info!(changed = changed.join(", "), "configuration reloaded");
                } else if kept.is_empty() {
                    tracing::info!("the configuration is the one in effect again");
                }
                if !kept.is_empty() {
                    tracing::warn!(
                        settings = kept.join(", "),
                        "these settings stay as they were until a restart"
                    );
                }
                if self.access.is_open() && !was_open {
                    tracing::warn!(
                        "access control is gone: whoever can reach the public listener can now \
                         read every incident"
                    );
                }
                let known = before.warnings();
                for warning in self.config.warnings().iter().filter(|new| !known.contains(new)) {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => {
                self.reload_metrics.record_failure();
                tracing::error!(
                    %error,
                    "the changed configuration cannot be used; the one before stays in effect"
                );
            }
        }
    }
}
