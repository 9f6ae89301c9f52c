//! How messages name the settings of an upstream or a forward.

use std::fmt;
use std::sync::Arc;

use crate::config::{self, DEFAULT_UPSTREAM};

/// Names the settings of one upstream or forward in messages for people.
#[derive(Clone, Debug)]
pub(crate) struct SettingNames {
    /// `upstream`, `upstreams.NAME` or `forward.NAME`.
    section: Arc<str>,
    /// Whether the credentials are the default upstream's user name and password.
    has_default_credentials: bool,
}

impl SettingNames {
    /// The names of the settings of the upstream with this name.
    pub(super) fn new(upstream: &str, settings: &config::Upstream) -> Self {
        let is_default = upstream == DEFAULT_UPSTREAM;
        let section =
            if is_default { "upstream".into() } else { format!("upstreams.{upstream}").into() };
        Self { section, has_default_credentials: is_default && settings.auth.is_none() }
    }

    /// The names of the settings of the forward with this name.
    pub(crate) fn of_forward(forward: &str) -> Self {
        Self { section: format!("forward.{forward}").into(), has_default_credentials: false }
    }

    /// The name of one setting, such as `upstream.max_body`.
    pub(crate) fn setting(&self, key: &str) -> String {
        format!("{}.{key}", self.section)
    }

    /// The settings that hold the credentials.
    pub(super) fn credentials(&self) -> String {
        if self.has_default_credentials {
            "ELEVATE_USERNAME and ELEVATE_PASSWORD".to_owned()
        } else {
            self.setting("auth")
        }
    }
}

impl fmt::Display for SettingNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.section)
    }
}
