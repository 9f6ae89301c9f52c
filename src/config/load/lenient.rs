//! Loads the configuration in spite of errors that do not matter to a command.

use std::net::SocketAddr;

use super::{Loader, Overrides};
use crate::config::{Config, ConfigError, ConfigErrorKind, ConfigErrors, Environment};

/// Loads the configuration like [`load`](super::load), for a command that calls no upstream: files
/// of secrets, certificates and keys need not be readable. Without them upstreams have no
/// credentials.
///
/// # Errors
///
/// All other errors, in one report.
pub fn load_without_secrets(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::run(overrides, environment);
    loader.errors.retain(|error| !is_of_upstream(error) || !is_of_file(&error.kind));
    loader.result()
}

/// Loads the admin listener's address alone, for the health check, which works despite errors in
/// other settings.
///
/// # Errors
///
/// The errors in `admin_listen`, and those because of which the file cannot be read at all.
pub fn admin_listen(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<SocketAddr, ConfigErrors> {
    let Loader { config, mut errors, .. } = Loader::run(overrides, environment);
    errors.retain(|error| match error.setting {
        Some(setting) => {
            setting == "admin_listen" && !matches!(error.kind, ConfigErrorKind::SameListener { .. })
        }
        None => is_of_file(&error.kind) || matches!(error.kind, ConfigErrorKind::Syntax(_)),
    });
    if errors.is_empty() { Ok(config.admin_listen) } else { Err(ConfigErrors { errors }) }
}

fn is_of_upstream(error: &ConfigError) -> bool {
    error.setting.is_some_and(|setting| setting.starts_with("upstream"))
}

/// Whether a file cannot be read, or is not what it should be as a whole.
fn is_of_file(kind: &ConfigErrorKind) -> bool {
    matches!(
        kind,
        ConfigErrorKind::Unreadable { .. }
            | ConfigErrorKind::TooLarge { .. }
            | ConfigErrorKind::FileNotUtf8 { .. }
            | ConfigErrorKind::FileUtf16 { .. }
            | ConfigErrorKind::EmptySecretFile { .. }
    )
}
