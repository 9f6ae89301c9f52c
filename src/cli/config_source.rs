//! Where `serve` loads its configuration from, at the start and again later.

use super::demo_upstream::EmbeddedDemo;
use crate::config::{self, Config, ConfigErrors, Environment, Overrides};

/// The flags and the environment of the start, which stay as they were when the files that they
/// name change.
pub(super) struct ConfigSource {
    /// The flags.
    pub(super) overrides: Overrides,
    /// The environment.
    pub(super) environment: Environment,
    /// Whether the gateway reads from the embedded demo upstream.
    pub(super) demo: bool,
}

impl ConfigSource {
    /// Loads the configuration; without the demo it must have the credentials that are needed.
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        let config = config::load(&self.overrides, &self.environment)?;
        if !self.demo {
            config.require_credentials()?;
        }
        Ok(config)
    }

    /// The same, pointed at the demo upstream if there is one.
    pub(super) fn load_with(&self, demo: Option<&EmbeddedDemo>) -> Result<Config, ConfigErrors> {
        let mut config = self.load()?;
        if let Some(demo) = demo {
            demo.configure(&mut config);
        }
        Ok(config)
    }
}
