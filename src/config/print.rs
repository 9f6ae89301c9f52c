//! Prints the effective configuration as YAML.

use super::Config;
use super::settings::{self, SETTINGS};

impl Config {
    /// The whole configuration as YAML that can be loaded again. Secrets are masked; a mask is
    /// loaded as a secret that is not known, and that of a password as no password.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        let mut open: Vec<&str> = Vec::new();
        for setting in SETTINGS {
            let value = setting.show(self);
            let (above, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            // A part of another setting is printed with that setting.
            if value.is_empty() || settings::find(above).is_some() {
                continue;
            }
            let sections: Vec<&str> = above.split('.').filter(|name| !name.is_empty()).collect();
            let is_open = |(depth, section): &(usize, &&str)| open.get(*depth) == Some(*section);
            let shared = sections.iter().enumerate().take_while(is_open).count();
            for (depth, section) in sections.iter().enumerate().skip(shared) {
                yaml.extend([&"  ".repeat(depth), *section, ":\n"]);
            }
            let space = if value.starts_with('\n') { "" } else { " " };
            yaml.extend([&"  ".repeat(sections.len()), name, ":", space, &value, "\n"]);
            open = sections;
        }
        yaml
    }
}

#[cfg(test)]
mod tests;
