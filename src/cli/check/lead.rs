//! Follows a path into values, and tells where it ends if it leads nowhere in any of them.

use super::lines::Lines;
use super::shown::{names, shown};
use crate::config::nearest;
use crate::json::{DeadEnd, Found, Path, Standing, object_members, unescape};

/// The longest explanation that is printed whole.
const MAX_DEAD_END_CHARS: usize = 1_500;

/// How far a path leads in the values that it was tried on.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    path: Path,
    /// In how many values it leads to a value, of any kind.
    pub(super) found: usize,
    /// In how many it leads to a value that holds something.
    pub(super) held: usize,
    /// The furthest end so far.
    furthest: Option<DeadEnd>,
}

impl Lead {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.clone(), found: 0, held: 0, furthest: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tries the path on one more value; returns the first value there that holds something.
    pub(super) fn follow<'a>(&mut self, json: &'a str) -> Option<Found<'a>> {
        let found = self.path.find(json);
        if found.is_empty() {
            if self.found == 0 {
                self.note_end(json);
            }
            return None;
        }
        self.found += 1;
        let held = found.into_iter().find_map(Found::first_held);
        self.held += usize::from(held.is_some());
        held
    }

    fn note_end(&mut self, json: &str) {
        // In a value that is no object there is no place for a name, which says little.
        let rank =
            |end: &DeadEnd| (end.reached.len(), matches!(end.there, Standing::Object { .. }));
        let Some(end) = self.path.dead_end(json) else { return };
        if self.furthest.as_ref().is_none_or(|furthest| rank(&end) > rank(furthest)) {
            self.furthest = Some(end);
        }
    }

    fn end(&self) -> Option<&DeadEnd> {
        self.furthest.as_ref().filter(|_| self.found == 0)
    }

    /// Where the path ends, if it led nowhere in each value; such as "`/a/b`: no such member; there
    /// are `c`, `d`".
    pub(super) fn dead_end(&self) -> Option<String> {
        let end = self.end()?;
        let text = format!("`{}`: {end}{}", self.path, near_name(end));
        Some(shown(&text, MAX_DEAD_END_CHARS).to_string())
    }

    /// Says that the path leads nowhere, if so.
    pub(super) fn print_dead_end(&self, lines: &mut Lines) {
        if let Some(end) = self.dead_end() {
            lines.doubt(&end);
        }
    }

    /// Whether the last step alone leads nowhere.
    pub(super) fn ends_at_last_step(&self) -> bool {
        self.end().is_some_and(|end| end.is_last)
    }
}

/// A member that may be meant.
fn near_name(end: &DeadEnd) -> String {
    let Standing::Object { members, .. } = &end.there else { return String::new() };
    // Short names are near each other by chance.
    let is_near = |member: &&str| end.step.len() > 3 || end.step.eq_ignore_ascii_case(member);
    let nearest = nearest(&end.step, members.iter().map(String::as_str)).filter(is_near);
    nearest.map_or_else(String::new, |name| format!("; did you mean {}?", names([name], 1)))
}

/// The names of an object's members.
pub(super) fn member_names(object: &str) -> Vec<String> {
    let name = |spelled: &str| unescape(spelled).map_or_else(|| spelled.to_owned(), Into::into);
    object_members(object).map(|(spelled, _)| name(spelled)).collect()
}

/// Such as "a string".
pub(super) fn kind(value: Found<'_>) -> &'static str {
    match value.raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(path: &str, values: &[&str]) -> Option<String> {
        let mut lead = Lead::new(&Path::parse(path).unwrap());
        for value in values {
            lead.follow(value);
        }
        lead.dead_end()
    }

    #[test]
    fn the_members_that_stand_where_a_path_ends_are_named() {
        let record = r#"{"actor":{"alternateId":"a","displayName":"b","id":1},"e":"\u001b[2J"}"#;
        assert_eq!(
            end("/actor/mail", &[record]).unwrap(),
            "`/actor/mail`: no such member; there are `alternateId`, `displayName`, `id`"
        );
        let near = end("/actor/ID", &[record]).unwrap();
        assert!(near.ends_with("`id`; did you mean `id`?"), "{near}");
        let near = end("/actr/id", &[record]).unwrap();
        assert!(near.ends_with("did you mean `actor`?"), "{near}");
        let hidden = end("/x", &["{\"a\u{9b}2J\":1}"]).unwrap();
        assert!(!hidden.contains('\u{9b}') && hidden.contains("\\u{9b}"), "{hidden}");
    }

    #[test]
    fn the_furthest_end_in_all_values_counts() {
        assert_eq!(end("/a/b", &[r#"{"a":{}}"#, r#"{"a":{"b":null}}"#]), None);
        assert_eq!(end("", &["1"]), None);
        let furthest = end("/a/b", &["{}", r#"{"a":{"c":1}}"#, r#"{"x":1}"#]).unwrap();
        assert!(furthest.contains("`c`") && !furthest.contains("`x`"), "{furthest}");
    }

    #[test]
    fn values_that_hold_nothing_are_told_apart() {
        let mut lead = Lead::new(&Path::parse("a").unwrap());
        for value in [r#"{"a":""}"#, r#"{"a":[null,"x"]}"#, "{}", r#"{"a":{}}"#] {
            lead.follow(value);
        }
        assert_eq!((lead.found, lead.held), (3, 2));
    }
}
