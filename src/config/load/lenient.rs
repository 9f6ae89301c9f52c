//! Loads the configuration in spite of errors that do not matter to a command.

use std::net::SocketAddr;

use super::{Loader, Overrides};
use crate::config::access::Files;
use crate::config::{Config, ConfigError, ConfigErrorKind, ConfigErrors, Environment};

/// Loads the configuration like [`load`](super::load), for a command that calls no upstream and
/// sends nothing: files of secrets, certificates and keys need not be readable. Without them
/// upstreams have no credentials, and there may be no forwards. The files of `tls`, `auth` and
/// `store` are not read.
///
/// # Errors
///
/// All other errors, in one report.
pub fn load_without_secrets(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::run(overrides, environment, [Files::Skip; 2]);
    loader.forgive_files(&["upstream", "forward"]);
    loader.result()
}

/// Loads the configuration like [`load`](super::load), for a command that uses the store alone:
/// like [`load_without_secrets`], but the files of `store` are read.
///
/// # Errors
///
/// All other errors, in one report.
pub fn load_for_store(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::run(overrides, environment, [Files::Skip, Files::Read]);
    loader.forgive_files(&["upstream", "forward"]);
    loader.result()
}

/// Loads the configuration like [`load`](super::load), for a command that calls upstreams alone:
/// the files of `tls`, `auth` and `store` are not read, and those of `forward` need not be
/// readable. The configuration is then without TLS, users, tokens, issuer, and the password of the
/// store, and there may be no forwards.
///
/// # Errors
///
/// All other errors, in one report.
pub fn load_without_serving(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::run(overrides, environment, [Files::Skip; 2]);
    loader.forgive_files(&["forward"]);
    loader.result()
}

/// Loads the configuration like [`load`](super::load), for a command that serves nobody: the files
/// of `tls` and `auth` are not read. The configuration is then without TLS, users, tokens and
/// issuer.
///
/// # Errors
///
/// All other errors, in one report.
pub fn load_for_forward(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    Loader::run(overrides, environment, [Files::Skip, Files::Read]).result()
}

/// How the admin listener is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AdminEndpoint {
    /// Where it binds.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Loads how the admin listener is reached, for the health check, which works despite errors in
/// other settings.
///
/// # Errors
///
/// The errors in `admin_listen` and `admin.tls`, and those because of which the file cannot be read
/// at all.
pub fn admin_endpoint(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<AdminEndpoint, ConfigErrors> {
    let Loader { config, mut errors, .. } = Loader::run(overrides, environment, [Files::Skip; 2]);
    errors.retain(|error| match (error.setting, &error.kind) {
        // They do not agree with other settings.
        (_, ConfigErrorKind::SameListener { .. } | ConfigErrorKind::Needs { .. }) => false,
        (Some(setting), _) => matches!(setting, "admin_listen" | "admin.tls"),
        (None, kind) => is_of_file(kind) || matches!(kind, ConfigErrorKind::Syntax(_)),
    });
    if errors.is_empty() {
        Ok(AdminEndpoint { address: config.admin_listen, tls: config.admin.tls })
    } else {
        Err(ConfigErrors { errors })
    }
}

impl Loader {
    /// Drops the errors of files of settings that begin so, which need not be called.
    fn forgive_files(&mut self, prefixes: &[&str]) {
        let is_forgiven = |error: &ConfigError| {
            let is_among = |setting: &str| prefixes.iter().any(|key| setting.starts_with(key));
            error.setting.is_some_and(is_among) && is_of_file(&error.kind)
        };
        self.errors.retain(|error| !is_forgiven(error));
    }
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
            | ConfigErrorKind::InvalidFile { .. }
            | ConfigErrorKind::InvalidLine { .. }
    )
}
