//! Suggestions for misspelt keys and variables.

use super::nearest::nearest;
use super::settings::{self, ALIASES, SETTINGS, Setting};
use super::upstream::Draft;

/// The key that an unknown one in `section` probably means: a similar one there, the one that names
/// a file with its value, or the same name in another section.
pub(super) fn suggest_key(key: &str, section: &str) -> Option<String> {
    let names = settings::names_below(section);
    let file = names.iter().copied().find(|name| name.strip_suffix("_file") == Some(key));
    let similar = file.or_else(|| nearest(key, names));
    let elsewhere =
        || SETTINGS.iter().map(|s| s.key).find(|path| path.rsplit('.').next() == Some(key));
    similar.or_else(elsewhere).map(ToOwned::to_owned)
}

/// The variable that an unknown one probably means: that of a file, one with a similar name, or
/// that of a list if the unknown name continues with an index.
pub(super) fn suggest_variable(name: &str, upstreams: &[Draft]) -> Option<String> {
    let file = || {
        let setting = name.strip_suffix("_FILE")?;
        ALIASES
            .iter()
            .find(|alias| alias.has_file_variable && settings::variable(alias.key) == setting)
    };
    if let Some(alias) = file() {
        return Some(format!("{}_FILE", alias.name));
    }
    let mut known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    for upstream in upstreams {
        let key = |name: &str| settings::variable(&format!("{}.{name}", upstream.path()));
        known.extend(settings::names_below("upstream").into_iter().map(key));
    }
    let file = || known.iter().map(String::as_str).find(|k| k.strip_suffix("_FILE") == Some(name));
    let list =
        || known.iter().map(String::as_str).find(|known| name.starts_with(&format!("{known}__")));
    let similar = || nearest(name, known.iter().map(String::as_str));
    file().or_else(similar).or_else(list).map(ToOwned::to_owned)
}
