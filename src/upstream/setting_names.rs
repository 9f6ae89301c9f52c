//! How messages name the settings of an upstream.

use std::fmt;
use std::sync::Arc;

use crate::config::{self, DEFAULT_UPSTREAM};

/// Names the settings of one upstream in messages for people.
#[derive(Clone, Debug)]
pub(super) struct SettingNames {
    /// `upstream`, or `upstreams.NAME`.
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

    /// The name of one setting, such as `upstream.max_body`.
    pub(super) fn setting(&self, key: &str) -> String {
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
