//! Suggestions for misspelt keys and variables.

use super::load::ALIASES;
use super::settings::{self, SETTINGS, Setting};

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

/// The candidate most similar to `name`, if at most a third of its letters differ.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = name.chars().count().div_ceil(3).min(4);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance without case: how many letters must be inserted, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_inserted_removed_and_changed_letters() {
        for (a, b, expected) in
            [("", "", 0), ("ttl", "ttl", 0), ("tll", "ttl", 1), ("", "ttl", 3), ("TTL", "ttl", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn suggests_similar_names_only() {
        let known = ["ttl", "stale_for", "max_bytes"];
        assert_eq!(nearest("tll", known), Some("ttl"));
        assert_eq!(nearest("stalefor", known), Some("stale_for"));
        assert_eq!(nearest("maxbyte", known), Some("max_bytes"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
