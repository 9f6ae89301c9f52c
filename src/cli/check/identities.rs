//! How many records each identity path finds a person for, and in which table.

use super::candidates::{self, Wanted};
use super::lead::Lead;
use super::lines::Lines;
use super::shown::{count, grouped, shown};
use crate::config;
use crate::identity::TableSlot;
use crate::json::Found;
use crate::mapping::{IdentityKind, holds_nothing, parse_address};

/// The most examples of values that name nobody.
const MAX_EXAMPLES: usize = 4;
/// The longest value that is printed whole.
const MAX_VALUE_CHARS: usize = 60;

/// Where a value was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lookup {
    /// In the table with this index.
    Table(usize),
    /// It is the employee's id itself.
    OwnId,
    /// In no table.
    Unknown,
    /// A table that may have it is missing.
    Unavailable,
    /// It is not of the entry's kind.
    NotOfKind,
}

/// One entry of `identity`.
struct Entry {
    lead: Lead,
    kind: IdentityKind,
    /// Records with a value here that holds something.
    with_value: usize,
    /// Records whose employee this entry decides, by table, and by the value itself.
    by_table: Vec<usize>,
    by_own_id: usize,
    /// Records with values here of which none is found, and examples of them.
    undecided: usize,
    unknown: Vec<String>,
    not_of_kind: Vec<String>,
    is_unavailable: bool,
}

/// The identity values of a source's records.
pub(super) struct Identities<'a> {
    entries: Vec<Entry>,
    slots: &'a [TableSlot],
    table_names: &'a [String],
    /// Whether the first member that is present counts, as in plain sources.
    is_plain: bool,
}

impl<'a> Identities<'a> {
    pub(super) fn of(
        source: &config::Source,
        slots: &'a [TableSlot],
        table_names: &'a [String],
    ) -> Self {
        let entry = |entry: &crate::mapping::IdentityEntry| Entry {
            lead: Lead::new(&entry.at),
            kind: entry.kind.unwrap_or(IdentityKind::Auto),
            with_value: 0,
            by_table: vec![0; slots.len()],
            by_own_id: 0,
            undecided: 0,
            unknown: Vec::new(),
            not_of_kind: Vec::new(),
            is_unavailable: false,
        };
        let entries = source.identity.iter().map(entry).collect();
        Self { entries, slots, table_names, is_plain: !source.is_mapped() }
    }

    /// Counts a record; `json` is what the upstream sent.
    pub(super) fn add(&mut self, json: &str) {
        let mut is_decided = false;
        for entry in &mut self.entries {
            let was_found = entry.lead.found;
            entry.lead.follow(json);
            let is_present = entry.lead.found > was_found;
            let values = held_values(&entry.lead, json);
            entry.with_value += usize::from(!values.is_empty());
            let was_decided = is_decided;
            for value in &values {
                if is_decided {
                    break;
                }
                let lookup = look_up(self.slots, entry.kind, value);
                match lookup {
                    Lookup::Table(table) => entry.by_table[table] += 1,
                    Lookup::OwnId => entry.by_own_id += 1,
                    Lookup::Unknown => note(&mut entry.unknown, entry.kind, value),
                    Lookup::NotOfKind => note(&mut entry.not_of_kind, entry.kind, value),
                    Lookup::Unavailable => entry.is_unavailable = true,
                }
                is_decided = matches!(lookup, Lookup::Table(_) | Lookup::OwnId);
            }
            entry.undecided += usize::from(!was_decided && !is_decided && !values.is_empty());
            is_decided |= self.is_plain && is_present;
        }
    }

    /// The table that was missed by the look-ups of an entry.
    fn missing_table(&self, entry: &Entry) -> Option<&str> {
        let kind = match entry.kind {
            IdentityKind::Auto => IdentityKind::Ip,
            kind => kind,
        };
        let slots = self.slots.iter().zip(self.table_names).filter(|_| entry.is_unavailable);
        let is_missing =
            |(slot, _): &(&TableSlot, &String)| slot.table.is_none() && slot.kinds.contains(kind);
        slots.into_iter().find(is_missing).map(|(_, name)| name.as_str())
    }

    /// Prints the part of the report; `record` is the first record.
    pub(super) fn print(&self, record: Option<&str>, lines: &mut Lines) {
        for (index, entry) in self.entries.iter().enumerate() {
            let label = if index == 0 { "identity" } else { "" };
            let path = entry.lead.path();
            let kind = match (self.is_plain, entry.kind) {
                (true, _) => String::new(),
                (_, kind) => format!(" as {}", kind.as_str()),
            };
            let values = count(entry.with_value, "record");
            lines.add(label, &format!("`{path}`{kind}: {values} with a value"));
            let tables = entry.by_table.iter().zip(self.table_names);
            for (found, table) in tables.filter(|(found, _)| **found > 0) {
                lines.more(&format!("  {} found in `{table}`", grouped(*found)));
            }
            if entry.by_own_id > 0 {
                lines.more(&format!(
                    "  {} are employee ids themselves: no look-up",
                    grouped(entry.by_own_id)
                ));
            }
            let undecided = grouped(entry.undecided);
            if entry.undecided > 0 && !entry.unknown.is_empty() {
                let examples = entry.unknown.join(", ");
                lines.doubt(&format!("  {undecided} in no table, such as {examples}"));
            }
            if !entry.not_of_kind.is_empty() {
                let (kind, examples) = (entry.kind.as_str(), entry.not_of_kind.join(", "));
                lines.doubt(&format!("  values that cannot be looked up as {kind}: {examples}"));
            }
            entry.lead.print_dead_end(lines);
            if entry.lead.found == 0 {
                candidates::print(record, Wanted::Identity(entry.kind), lines);
            }
            if let Some(table) = self.missing_table(entry) {
                lines.doubt(&format!("  `{table}`, which may have these values, is unavailable"));
            }
            let is_looked_up = !matches!(entry.kind, IdentityKind::EmployeeId | IdentityKind::Auto);
            if is_looked_up && !self.slots.iter().any(|slot| slot.kinds.contains(entry.kind)) {
                let kind = entry.kind.as_str();
                lines.problem(&format!(
                    "  no table has the key `{kind}`: nobody can be found; add one to `identities`"
                ));
            }
        }
    }
}

/// The texts to which a path leads, without those that hold nothing.
fn held_values(lead: &Lead, json: &str) -> Vec<String> {
    let mut values = Vec::new();
    for found in lead.path().find(json) {
        let _ = found.visit_held(&mut |value: Found<'_>| {
            values.extend(value.text().map(String::from).filter(|text| !holds_nothing(text)));
            std::ops::ControlFlow::<()>::Continue(())
        });
    }
    values
}

/// Looks a value up as the join does.
fn look_up(slots: &[TableSlot], kind: IdentityKind, value: &str) -> Lookup {
    let kind = match kind {
        IdentityKind::EmployeeId => return Lookup::OwnId,
        IdentityKind::Auto if parse_address(value).is_none() => return Lookup::OwnId,
        IdentityKind::Auto => IdentityKind::Ip,
        kind => kind,
    };
    let Some(key) = kind.clean(value) else { return Lookup::NotOfKind };
    for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.kinds.contains(kind)) {
        let Some(table) = &slot.table else { return Lookup::Unavailable };
        let employee = match kind {
            IdentityKind::Ip => parse_address(&key).and_then(|address| table.employee(address)),
            kind => table.employee_by_text(kind, &key),
        };
        if employee.is_some() {
            return Lookup::Table(index);
        }
    }
    Lookup::Unknown
}

/// Keeps a value as an example, with what it is looked up as where that differs.
fn note(examples: &mut Vec<String>, kind: IdentityKind, value: &str) {
    if examples.len() >= MAX_EXAMPLES {
        return;
    }
    let spelled = format!("`{}`", shown(value, MAX_VALUE_CHARS));
    let example = match kind.clean(value) {
        Some(key) if key != value => {
            format!("{spelled} (looked up as `{}`)", shown(&key, MAX_VALUE_CHARS))
        }
        _ => spelled,
    };
    if !examples.contains(&example) {
        examples.push(example);
    }
}
