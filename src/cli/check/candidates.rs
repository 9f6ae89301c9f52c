//! Values of a record that look like what a path should have led to.

use super::lines::Lines;
use super::shown::shown;
use crate::json::{Found, elements, object_members, unescape};
use crate::mapping::{IdentityKind, TimeUnit, TimestampRule, parse_address};

/// How deep below the record values are looked at, and how many elements of an array.
const MAX_DEPTH: usize = 8;
const MAX_ELEMENTS: usize = 3;
/// The most candidates that are named.
const MAX_CANDIDATES: usize = 6;
/// How much of a value is shown.
const MAX_VALUE_CHARS: usize = 40;

/// Words, in lower case, that APIs use for priorities.
const PRIORITY_WORDS: [&str; 22] = [
    "low",
    "medium",
    "high",
    "critical",
    "info",
    "informational",
    "information",
    "notice",
    "warning",
    "warn",
    "error",
    "fatal",
    "moderate",
    "severe",
    "urgent",
    "major",
    "minor",
    "p1",
    "p2",
    "p3",
    "p4",
    "p5",
];

/// Names of members, in lower case, whose values are priorities also where they are numbers.
const PRIORITY_NAMES: [&str; 6] =
    ["severity", "priority", "urgency", "level", "risklevel", "criticality"];

/// What a path should have led to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Priority,
    Time,
    Identity(IdentityKind),
}

/// Names values of a record that look like what is wanted, if there are any.
pub(super) fn print(record: Option<&str>, wanted: Wanted, lines: &mut Lines) {
    let Some(record) = record else { return };
    let mut candidates = Vec::new();
    visit(Found::new(record.trim_ascii()), "$", None, 0, &mut |path, name, value| {
        if let Some(note) = look(wanted, name, value) {
            let value = shown(value.raw, MAX_VALUE_CHARS);
            candidates.push(format!("`{}` ({value}{note})", shown(path, 200)));
        }
        candidates.len() < MAX_CANDIDATES
    });
    if !candidates.is_empty() {
        lines.more(&format!("in the first record, look at {}", candidates.join(", ")));
    }
}

/// Whether a value looks like what is wanted; a note on how it must be read, if anything.
fn look(wanted: Wanted, name: Option<&str>, value: Found<'_>) -> Option<String> {
    let text = value.text()?;
    let is_named = |names: &[&str]| {
        name.is_some_and(|name| {
            names.contains(&name.to_lowercase().replace(['_', '-'], "").as_str())
        })
    };
    let looks = match wanted {
        Wanted::Priority => {
            PRIORITY_WORDS.contains(&text.to_lowercase().as_str()) || is_named(&PRIORITY_NAMES)
        }
        Wanted::Time => return time(value),
        Wanted::Identity(IdentityKind::Email) => {
            text.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && domain.contains('.') && !text.contains(['/', ' '])
            })
        }
        Wanted::Identity(IdentityKind::Ip | IdentityKind::Auto) => parse_address(&text).is_some(),
        Wanted::Identity(IdentityKind::Username) => {
            is_named(&["user", "username", "login", "account", "accountname", "samaccountname"])
        }
        Wanted::Identity(IdentityKind::Hostname) => {
            is_named(&["host", "hostname", "computer", "computername", "device", "devicename"])
        }
        Wanted::Identity(IdentityKind::EmployeeId) => is_named(&["employee", "employeeid"]),
    };
    looks.then(String::new)
}

/// How a value is read as a time; `None` if it looks like none.
fn time(value: Found<'_>) -> Option<String> {
    /// Shorter numbers are counts rather than times.
    const MIN_DIGITS: usize = 10;
    let reads = |unit, zone| {
        let rule = TimestampRule::new(unit, zone, None);
        rule.is_ok_and(|rule| rule.read(value.kind, value.raw).is_some())
    };
    let text = value.text()?;
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let digits = text.split('.').next().map_or(0, str::len);
        let unit = TimeUnit::ALL.into_iter().filter(|_| digits >= MIN_DIGITS);
        let unit = unit.into_iter().find(|unit| reads(*unit, None))?;
        return Some(format!(", unit: {}", unit.as_str()));
    }
    if reads(TimeUnit::Seconds, None) {
        Some(String::new())
    } else {
        reads(TimeUnit::Seconds, Some("UTC")).then(|| ", without a zone".to_owned())
    }
}

/// Calls `candidate` with each scalar below a value, its path as JSONPath or pointer, and the name
/// of its member, until it returns false.
fn visit(
    value: Found<'_>,
    path: &str,
    name: Option<&str>,
    depth: usize,
    candidate: &mut impl FnMut(&str, Option<&str>, Found<'_>) -> bool,
) -> bool {
    if depth > MAX_DEPTH {
        return true;
    }
    if value.is_array() {
        let path = format!("{path}[*]");
        return elements(value.raw)
            .take(MAX_ELEMENTS)
            .all(|element| visit(element, &path, name, depth + 1, candidate));
    }
    if value.raw.starts_with('{') {
        return object_members(value.raw).all(|(spelled, member)| {
            let Some(name) = unescape(spelled) else { return true };
            let path = format!("{path}{}", step(&name));
            visit(member, &path, Some(&name), depth + 1, candidate)
        });
    }
    candidate(&written(path), name, value)
}

/// A member's name as a step of a JSONPath.
pub(super) fn step(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain {
        format!(".{name}")
    } else {
        format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// A path as a pointer where that says the same, because pointers need no quotes in YAML.
fn written(path: &str) -> String {
    if path.contains('[') { path.to_owned() } else { path[1..].replace('.', "/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(record: &str, wanted: Wanted) -> String {
        let mut lines = Lines::default();
        print(Some(record), wanted, &mut lines);
        lines.into_text()
    }

    #[test]
    fn values_that_look_right_are_named_with_their_paths() {
        let record = r#"{"id":"17724492001234","n":3,"at":1772449200123,"made":"2026-03-02 11:00:00",
            "seen":"2026-03-02T11:00:00Z","a":{"b":[{"mail":"Ada@corp.example"}]},"sev_er":"x",
            "risk_level":3,"s":"Informational","src":{"user.name":"a","userName":"b","ip":"::1"}}"#;
        let times = candidates(record, Wanted::Time);
        for part in [
            "`/at` (1772449200123, unit: ms)",
            "`/made` (\"2026-03-02 11:00:00\", without a zone)",
            "`/seen` (\"2026-03-02T11:00:00Z\")",
        ] {
            assert!(times.contains(part), "{part}: {times}");
        }
        let people = candidates(record, Wanted::Identity(IdentityKind::Email));
        assert!(people.contains("at `$.a.b[*].mail` (\"Ada@corp.example\")\n"), "{people}");
        let priorities = candidates(record, Wanted::Priority);
        assert!(priorities.contains("at `/risk_level` (3), `/s` (\"Informational\")\n"));
        let users = candidates(record, Wanted::Identity(IdentityKind::Username));
        assert!(users.contains("at `/src/userName` (\"b\")\n"), "{users}");
        let addresses = candidates(record, Wanted::Identity(IdentityKind::Ip));
        assert!(addresses.contains("at `/src/ip` (\"::1\")\n"), "{addresses}");
    }

    #[test]
    fn nothing_is_said_where_nothing_looks_right() {
        for record in ["{}", "1", "[]", r#"{"a":{"b":1},"c":null}"#] {
            assert_eq!(candidates(record, Wanted::Time), "", "{record}");
        }
    }
}
