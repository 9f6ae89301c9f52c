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
        self.check(config::load(&self.overrides, &self.environment)?)
    }

    fn check(&self, config: Config) -> Result<Config, ConfigErrors> {
        if !self.demo {
            config.require_credentials()?;
        }
        Ok(config)
    }

    /// Loads the configuration again, pointed at the demo upstream if there is one.
    pub(super) fn load_again(&self, demo: Option<&EmbeddedDemo>) -> Result<Config, ConfigErrors> {
        let mut config = self.check(config::load_again(&self.overrides, &self.environment)?)?;
        if let Some(demo) = demo {
            demo.configure(&mut config);
        }
        Ok(config)
    }
}
