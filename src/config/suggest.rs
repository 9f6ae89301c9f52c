//! Suggestions for misspelt keys and variables.

use super::nearest::nearest;
use super::settings::{self, ALIASES, SETTINGS, Setting};

/// What an unknown key of `section` probably means: a key there, or one that belongs elsewhere.
pub(super) fn suggest_key(key: &str, section: &str) -> Option<String> {
    let similar = nearest(key, settings::names_below(section));
    let elsewhere =
        || SETTINGS.iter().map(|s| s.key).find(|path| path.rsplit('.').next() == Some(key));
    similar.or_else(elsewhere).map(ToOwned::to_owned)
}

/// What an unknown variable probably means: the one that names a secret file, one with a similar
/// name, or that of a list, where the name goes on with an index.
pub(super) fn suggest_variable(name: &str) -> Option<String> {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let file = || {
        let setting = name.strip_suffix("_FILE")?;
        ALIASES
            .iter()
            .find(|(_, key, may_be_file)| *may_be_file && settings::variable(key) == setting)
    };
    if let Some((alias, ..)) = file() {
        return Some(format!("{alias}_FILE"));
    }
    let whole =
        || known.iter().map(String::as_str).find(|known| name.starts_with(&format!("{known}__")));
    nearest(name, known.iter().map(String::as_str)).or_else(whole).map(ToOwned::to_owned)
}
