//! Whether the secrets of forwards are known.

use crate::config::{Config, ConfigError, ConfigErrorKind, ConfigErrors};

impl Config {
    /// Checks that the secrets of every forward are known, so that it can send.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::MaskedSecret`] for each forward with a masked secret.
    pub fn require_forward_secrets(&self) -> Result<(), ConfigErrors> {
        let masked = self.forward.iter().enumerate().filter_map(|(index, forward)| {
            let secret = forward.auth.as_ref()?.masked_secret()?;
            let path = format!("forward[{index}].auth.{secret}");
            let kind = ConfigErrorKind::MaskedSecret { path };
            Some(ConfigError { location: None, setting: None, path: None, kind })
        });
        let errors: Vec<_> = masked.collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors { errors }) }
    }
}
