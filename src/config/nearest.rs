//! Finds the most similar of several names.

/// The candidate most similar to `name`, if at most a third of its letters differ.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let max_distance = name.chars().count().div_ceil(3).min(4);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= max_distance)
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
