//! Which priority values the records have, and what they map to.

use std::collections::HashMap;

use super::candidates::{self, Wanted};
use super::lead::Lead;
use super::lines::Lines;
use super::shown::{count, shown};
use crate::config;
use crate::decode::Record;
use crate::json::{Found, Path, ValueKind};
use crate::mapping::{Priority, PriorityMapping};

/// The most distinct values that are counted one by one.
const MAX_VALUES: usize = 1000;
/// The most values that are printed of those that map to something, and of the others.
const MAX_PRINTED_VALUES: usize = 20;
/// The longest value that is printed whole.
const MAX_VALUE_CHARS: usize = 40;

/// A distinct value.
struct Value {
    /// Its JSON text.
    raw: String,
    /// What it maps to by itself.
    mapped: Option<Priority>,
    records: usize,
}

/// The priority values of a source's records.
pub(super) struct Priorities<'a> {
    mapping: Option<&'a PriorityMapping>,
    pub(super) leads: Vec<Lead>,
    values: Vec<Value>,
    indices: HashMap<String, usize>,
    /// Records whose value is beyond the first [`MAX_VALUES`].
    others: usize,
    absent: usize,
    /// Records without a priority.
    pub(super) invalid: usize,
}

impl<'a> Priorities<'a> {
    pub(super) fn of(source: &'a config::Source) -> Self {
        let mapping = source.priority.as_ref();
        let leads = match mapping {
            Some(mapping) => mapping.at().iter().map(Lead::new).collect(),
            None => vec![Lead::new(&Path::name("priority"))],
        };
        Self {
            mapping,
            leads,
            values: Vec::new(),
            indices: HashMap::new(),
            others: 0,
            absent: 0,
            invalid: 0,
        }
    }

    /// Counts a record; `json` is what the upstream sent.
    pub(super) fn add(&mut self, json: &str, record: &Record) {
        self.invalid += usize::from(record.priority().is_none());
        let mut held = None;
        for lead in &mut self.leads {
            let value = lead.follow(json);
            held = held.or(value);
        }
        let Some(value) = held else {
            self.absent += 1;
            return;
        };
        if let Some(&index) = self.indices.get(value.raw) {
            self.values[index].records += 1;
        } else if self.values.len() < MAX_VALUES {
            self.indices.insert(value.raw.to_owned(), self.values.len());
            let mapped = self.map(value);
            self.values.push(Value { raw: value.raw.to_owned(), mapped, records: 1 });
        } else {
            self.others += 1;
        }
    }

    fn map(&self, value: Found<'_>) -> Option<Priority> {
        match self.mapping {
            Some(mapping) => mapping.map(value.kind, value.raw),
            None => value.text().and_then(|text| Priority::from_name(&text)),
        }
    }

    /// Prints the part of the report; `record` is the first record.
    pub(super) fn print(&mut self, record: Option<&str>, lines: &mut Lines) {
        let default = self.mapping.and_then(PriorityMapping::default_priority);
        let default_text = default.map(|priority| format!("{} (`default`)", priority.as_str()));
        if self.leads.is_empty() {
            lines
                .add("priority", &format!("{} for every record", default_text.unwrap_or_default()));
            return;
        }
        let paths: Vec<_> = self.leads.iter().map(|lead| format!("`{}`", lead.path())).collect();
        lines.add("priority", &format!("at {}", paths.join(", else ")));
        self.values.sort_by_key(|value| (value.mapped, std::cmp::Reverse(value.records)));
        let (unmapped, mapped): (Vec<_>, Vec<_>) =
            self.values.iter().partition(|value| value.mapped.is_none());
        let width = value_width(&mapped).max(value_width(&unmapped));
        let row = |value: &Value, meaning: &str| {
            let raw = shown(&value.raw, MAX_VALUE_CHARS).to_string();
            let padding = width.saturating_sub(raw.chars().count());
            let records = count(value.records, "record");
            format!("{raw}{:padding$}  -> {meaning:<8}  {records}", "")
        };
        for value in mapped.iter().take(MAX_PRINTED_VALUES) {
            lines.more(&row(value, value.mapped.map_or("", Priority::as_str)));
        }
        let hidden = mapped.len().saturating_sub(MAX_PRINTED_VALUES);
        if hidden > 0 {
            lines.more(&format!("and {} that map to something", count(hidden, "more value")));
        }
        for value in unmapped.iter().take(MAX_PRINTED_VALUES) {
            match default {
                Some(default) => {
                    lines.doubt(&format!("{}, UNMAPPED: `default`", row(value, default.as_str())));
                }
                None => lines.problem(&row(value, "UNMAPPED")),
            }
        }
        let hidden = unmapped.len().saturating_sub(MAX_PRINTED_VALUES);
        if hidden > 0 {
            let hidden = format!("and {} that map to nothing", count(hidden, "more value"));
            match default {
                Some(_) => lines.doubt(&format!("{hidden}: `default`")),
                None => lines.problem(&hidden),
            }
        }
        if self.others > 0 {
            lines.more(&format!(
                "{} have still other values; is this path the priority?",
                count(self.others, "record")
            ));
        }
        if self.absent > 0 {
            let without = format!("{} without a value", count(self.absent, "record"));
            match &default_text {
                Some(default) => lines.more(&format!("{without} -> {default}")),
                None => {
                    let remedy = "set another path, or `default`";
                    lines.problem(&format!("{without} -> UNMAPPED; {remedy}"));
                }
            }
        }
        if let Some(first) = unmapped.first() {
            lines.more(&self.remedy(first));
        }
        for lead in &self.leads {
            lead.print_dead_end(lines);
        }
        if self.values.is_empty() {
            candidates::print(record, Wanted::Priority, lines);
        }
    }

    /// What to do about unmapped values, of which `example` is one.
    fn remedy(&self, example: &Value) -> String {
        let value = shown(&example.raw, MAX_VALUE_CHARS);
        let is_number = Found::new(&example.raw).kind == ValueKind::Number;
        let has_default = self.mapping.is_some_and(|it| it.default_priority().is_some());
        let or_default = if has_default { "" } else { ", or set `default`" };
        match self.mapping {
            Some(mapping) if mapping.rule().as_at_least().is_some() => {
                format!("remedy: lower the least number of `at_least`{or_default}")
            }
            Some(_) if is_number => {
                "remedy: set `at_least` if a larger number is worse, or `values` with each number \
                 (low, medium, high or critical) if 1 is the worst"
                    .to_owned()
            }
            Some(_) => format!(
                "remedy: add them to `values`, such as `{value}: …` (low, medium, high or \
                 critical){or_default}"
            ),
            None => format!(
                "remedy: set `priority: {{ at: priority, values: {{ {value}: … }} }}` (low, \
                 medium, high or critical)"
            ),
        }
    }
}

/// The width of the longest value that is printed.
fn value_width(values: &[&Value]) -> usize {
    let printed = values.iter().take(MAX_PRINTED_VALUES);
    let width = |value: &&Value| shown(&value.raw, MAX_VALUE_CHARS).to_string().chars().count();
    printed.map(width).max().unwrap_or_default()
}
