//! Prints the upstreams beside the default one.

use super::NamedUpstream;
use crate::config::settings::SETTINGS;

/// Prints the upstreams as YAML; nothing if there are none. Settings that are not set are left out.
pub(in crate::config) fn show_all(upstreams: &[NamedUpstream]) -> String {
    let mut yaml = String::new();
    for upstream in upstreams {
        yaml.extend(["\n  ", &upstream.name, ":"]);
        for setting in SETTINGS {
            let Some(key) = setting.key.strip_prefix("upstream.") else { continue };
            let value = setting.show_upstream(&upstream.settings, 4);
            if !matches!(value.as_str(), "" | "null") {
                let space = if value.starts_with('\n') { "" } else { " " };
                yaml.extend(["\n    ", key, ":", space, &value]);
            }
        }
    }
    yaml
}
