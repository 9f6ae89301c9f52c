//! Where `serve` loads its configuration from, at the start and again later.

use std::sync::atomic::{AtomicBool, Ordering};

use super::demo_upstream::EmbeddedDemo;
use crate::config::{self, Config, ConfigErrors, Environment, Loaded, Overrides};

/// The flags and the environment of the start, which stay as they were when the files that they
/// name change.
pub(super) struct ConfigSource {
    overrides: Overrides,
    environment: Environment,
    /// Whether the gateway reads from the embedded demo upstream.
    pub(super) demo: bool,
    /// Whether the configuration file has been empty since the start.
    was_always_empty: AtomicBool,
}

impl ConfigSource {
    pub(super) fn new(overrides: Overrides, environment: Environment, demo: bool) -> Self {
        Self { overrides, environment, demo, was_always_empty: AtomicBool::new(true) }
    }

    /// Loads the configuration; without the demo it must have the credentials that are needed.
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        let may_be_empty = self.was_always_empty.load(Ordering::Relaxed);
        let Loaded { config, is_file_empty } =
            config::load_again(&self.overrides, &self.environment, may_be_empty)?;
        let upstreams = if self.demo { Ok(()) } else { config.require_credentials() };
        ConfigErrors::of_all([upstreams, config.require_forward_secrets()])?;
        self.was_always_empty.fetch_and(is_file_empty, Ordering::Relaxed);
        Ok(config)
    }

    /// Loads the configuration again, pointed at the demo upstream if there is one.
    pub(super) fn load_again(&self, demo: Option<&EmbeddedDemo>) -> Result<Config, ConfigErrors> {
        let mut config = self.load()?;
        if let Some(demo) = demo {
            demo.configure(&mut config);
        }
        Ok(config)
    }
}
