//! Prints the effective configuration as YAML.

use super::Config;
use super::settings::{self, SETTINGS};

impl Config {
    /// The whole configuration as YAML that can be loaded again. Secrets are masked; a mask is
    /// loaded as a secret that is not known, and that of a password as no password.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        let mut section = "";
        for setting in SETTINGS {
            let value = setting.show(self);
            let (above, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            // A part of another setting is printed with that setting.
            if value.is_empty() || settings::find(above).is_some() {
                continue;
            }
            if above != section && !above.is_empty() {
                yaml.extend([above, ":\n"]);
            }
            section = above;
            if !above.is_empty() {
                yaml.push_str("  ");
            }
            let space = if value.starts_with('\n') { "" } else { " " };
            yaml.extend([name, ":", space, &value, "\n"]);
        }
        yaml
    }
}

#[cfg(test)]
mod tests;
