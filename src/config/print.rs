//! Prints the effective configuration as YAML.

use super::Config;
use super::settings::SETTINGS;

impl Config {
    /// The whole configuration as YAML that can be loaded again. A password is masked; a mask is
    /// loaded as no password.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        let mut section = "";
        for setting in SETTINGS {
            let (above, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if above != section && !above.is_empty() {
                yaml.extend([above, ":\n"]);
            }
            section = above;
            if !above.is_empty() {
                yaml.push_str("  ");
            }
            let value = (setting.show)(self);
            let space = if value.starts_with('\n') { "" } else { " " };
            yaml.extend([name, ":", space, &value, "\n"]);
        }
        yaml
    }
}

#[cfg(test)]
mod tests;
