//! What a record of a mapped source should yield, by an independent implementation on built values.

use std::fmt::Write as _;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::super::*;
use super::mapped::path;
use crate::config;
use crate::mapping::{PriorityMapping, PriorityRule, TimeUnit};

/// What a record should yield, by built values.
pub(super) struct Reference<'a> {
    pub(super) source: &'a config::Source,
    pub(super) raw: &'a str,
    pub(super) record: Json,
}

/// An element, and its spelling.
pub(super) type Element = (Json, String);

impl Reference<'_> {
    /// The elements that hold something, of the first path that leads to any.
    fn held(&self, paths: &[crate::json::Path]) -> Vec<Element> {
        for path in paths {
            let mut elements = Vec::new();
            for found in path.find(self.raw) {
                let raw: &RawValue = serde_json::from_str(found.raw).unwrap();
                flatten(raw, &mut elements);
            }
            if !elements.is_empty() {
                return elements;
            }
        }
        Vec::new()
    }

    fn first(&self, paths: &[crate::json::Path]) -> Option<Element> {
        self.held(paths).into_iter().next()
    }

    pub(super) fn priority(&self) -> (Option<Priority>, Option<String>) {
        let default_at = [path("priority")];
        let (at, default) = match &self.source.priority {
            Some(mapping) => (mapping.at(), mapping.default_priority()),
            None => (&default_at[..], None),
        };
        let Some((value, raw)) = self.first(at) else { return (default, None) };
        let text = match &value {
            Json::String(text) => text.clone(),
            _ => raw,
        };
        let by_name = Priority::ALL
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(&text));
        let rule = self.source.priority.as_ref().map(PriorityMapping::rule);
        let by_value = rule.and_then(|rule| rule.as_values()).and_then(|values| {
            let found = values.iter().find(|(known, _)| known.eq_ignore_ascii_case(&text));
            found.map(|(_, priority)| *priority)
        });
        let number = match value {
            Json::Number(_) => text.parse().ok(),
            Json::String(_) if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        };
        let by_number = rule.and_then(PriorityRule::as_at_least).zip(number).and_then(
            |(thresholds, number): (_, f64)| {
                let mut reached = thresholds.iter().filter(|(least, _)| *least <= number);
                reached.next_back().map(|(_, priority)| *priority)
            },
        );
        match by_value.or(by_number).or(by_name) {
            Some(priority) => (Some(priority), None),
            None => (default, Some(text)),
        }
    }

    pub(super) fn micros(&self) -> Option<i64> {
        let default_at = [path("timestamp")];
        let (at, unit, zone) = match &self.source.timestamp {
            Some(mapping) => (&mapping.at[..], mapping.rule.unit(), mapping.rule.zone()),
            None => (&default_at[..], TimeUnit::Seconds, None),
        };
        let (value, raw) = self.first(at)?;
        let text = match &value {
            Json::String(text) => text.as_str(),
            Json::Number(_) => raw.as_str(),
            _ => return None,
        };
        let factor = [1_000_000.0, 1000.0, 1.0, 0.001][unit as usize];
        let micros = match text {
            "2026-03-02T11:00:00.1239999Z" => 1_772_449_200_123_999,
            "2026-03-02 11:00:00" => match zone? {
                "Z" => 1_772_449_200_000_000,
                _ => 1_772_445_600_000_000,
            },
            text if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                // Exact for the numbers of these tests.
                let micros = text.parse::<f64>().ok()? * factor;
                if micros.abs() > 1e17 {
                    return None;
                }
                #[expect(clippy::cast_possible_truncation, reason = "it is less than 2^53")]
                let micros = micros as i64;
                micros
            }
            _ => return None,
        };
        (946_684_800_000_000..7_258_118_400_000_000).contains(&micros).then_some(micros)
    }

    pub(super) fn id(&self) -> Option<Vec<Element>> {
        if self.source.id.is_empty() {
            return None;
        }
        let part = |path| {
            self.first(std::slice::from_ref(path))
                .filter(|(value, _)| value.is_string() || value.is_number())
        };
        self.source.id.iter().map(part).collect()
    }

    pub(super) fn keys(&self) -> Option<Vec<IdentityKey>> {
        let mut keys = Vec::new();
        let mut holds_something = false;
        for entry in &self.source.identity {
            let is_held =
                |values: &Vec<Element>| values.iter().any(|(value, _)| *value != "unknown");
            let at = entry.at.iter().map(|path| self.held(std::slice::from_ref(path)));
            for (value, raw) in at.into_iter().find(is_held).unwrap_or_default() {
                let text = match value {
                    Json::String(text) => text,
                    Json::Number(_) => raw,
                    _ => {
                        holds_something = true;
                        continue;
                    }
                };
                if text == LONE_SURROGATE {
                    holds_something = true;
                } else if text != "unknown" {
                    holds_something = true;
                    keys.extend(IdentityKey::new(entry.kind.unwrap(), &text));
                }
            }
        }
        holds_something.then_some(keys)
    }

    pub(super) fn envelope(&self) -> String {
        let mut members = String::new();
        if self.record.is_object() {
            if let Some(priority) = self.priority().0 {
                write!(members, "\"priority\":\"{}\",", priority.as_str()).unwrap();
            }
            if let Some(micros) = self.micros() {
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                write!(members, "\"timestamp\":{seconds}.{rest:06},").unwrap();
            }
            if let Some(parts) = self.id() {
                let parts: Vec<String> = parts.iter().map(spelled).collect();
                write!(members, "\"id\":\"{}\",", parts.join("/")).unwrap();
            }
            let title = self.first(&self.source.title);
            if let Some(title) = title.filter(|(value, _)| value.is_string() || value.is_number()) {
                write!(members, "\"title\":\"{}\",", spelled(&title)).unwrap();
            }
        }
        format!("{{{members}\"record\":{}}}", self.raw)
    }
}

fn spelled((value, raw): &Element) -> String {
    if value.is_string() { raw[1..raw.len() - 1].to_owned() } else { raw.clone() }
}

/// Stands for a string that is no Unicode text, which `serde_json` cannot build.
pub(super) const LONE_SURROGATE: &str = "a lone surrogate";

fn flatten(raw: &RawValue, elements: &mut Vec<Element>) {
    let text = raw.get();
    if let Ok(inner) = serde_json::from_str::<Vec<&RawValue>>(text) {
        for element in inner {
            flatten(element, elements);
        }
        return;
    }
    let value = match text.as_bytes()[0] {
        b'{' => Json::Object(serde_json::Map::new()),
        // As a string it would be no number, and as a number too large.
        b'-' | b'0'..=b'9' => Json::Number(0.into()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Json::String(LONE_SURROGATE.into())),
    };
    if !matches!(&value, Json::Null) && value != Json::String(String::new()) {
        elements.push((value, text.to_owned()));
    }
}
