//! How many records each identity path finds a person for, and in which table.

use super::candidates::{self, Wanted};
use super::lead::Lead;
use super::lines::Lines;
use super::reading::{TableFault, Tables};
use super::shown::{count, grouped, shown};
use crate::config;
use crate::identity::TableSlot;
use crate::json::{Found, Path};
use crate::mapping::{IdentityEntry, IdentityKind, holds_nothing, parse_address};

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
    kind: IdentityKind,
    /// Its paths, of which each record's first that holds something is used.
    paths: Vec<EntryPath>,
}

/// One path of an entry.
struct EntryPath {
    lead: Lead,
    /// Records of which the values here are used.
    with_value: usize,
    /// Records whose employee this path decides, by table, and by the value itself.
    by_table: Vec<usize>,
    by_own_id: usize,
    /// Records with values here of which none is found, and examples of them.
    undecided: usize,
    unknown: Vec<String>,
    not_of_kind: Vec<String>,
    is_unavailable: bool,
}

impl EntryPath {
    fn new(path: &Path, tables: usize) -> Self {
        Self {
            lead: Lead::new(path),
            with_value: 0,
            by_table: vec![0; tables],
            by_own_id: 0,
            undecided: 0,
            unknown: Vec::new(),
            not_of_kind: Vec::new(),
            is_unavailable: false,
        }
    }

    /// Looks up the values of a record whose employee is not decided yet; returns whether they
    /// decide it.
    fn decide(&mut self, kind: IdentityKind, values: &[String], slots: &[TableSlot]) -> bool {
        for value in values {
            let lookup = look_up(slots, kind, value);
            match lookup {
                Lookup::Table(table) => self.by_table[table] += 1,
                Lookup::OwnId => self.by_own_id += 1,
                Lookup::Unknown => note(&mut self.unknown, kind, value),
                Lookup::NotOfKind => note(&mut self.not_of_kind, kind, value),
                Lookup::Unavailable => self.is_unavailable = true,
            }
            if matches!(lookup, Lookup::Table(_) | Lookup::OwnId) {
                return true;
            }
        }
        self.undecided += usize::from(!values.is_empty());
        false
    }
}

/// The identity values of a source's records.
pub(super) struct Identities<'a> {
    entries: Vec<Entry>,
    slots: &'a [TableSlot],
    table_names: &'a [String],
    table_faults: &'a [Vec<TableFault>],
    /// Whether the first member that is present counts, as in plain sources.
    is_plain: bool,
}

impl<'a> Identities<'a> {
    pub(super) fn of(source: &config::Source, tables: &'a Tables) -> Self {
        let Tables { slots, names: table_names, faults: table_faults } = tables;
        let entry = |entry: &IdentityEntry| Entry {
            kind: entry.kind.unwrap_or(IdentityKind::Auto),
            paths: entry.at.iter().map(|path| EntryPath::new(path, slots.len())).collect(),
        };
        let entries = source.identity.iter().map(entry).collect();
        Self { entries, slots, table_names, table_faults, is_plain: !source.is_mapped() }
    }

    /// Counts a record; `json` is what the upstream sent.
    pub(super) fn add(&mut self, json: &str) {
        let mut is_decided = false;
        for Entry { kind, paths } in &mut self.entries {
            let mut is_used = false;
            for path in paths {
                let was_found = path.lead.found;
                path.lead.follow(json);
                let is_present = path.lead.found > was_found;
                if let Some(values) = held_values(&path.lead, json).filter(|_| !is_used) {
                    is_used = true;
                    path.with_value += usize::from(!values.is_empty());
                    is_decided = is_decided || path.decide(*kind, &values, self.slots);
                }
                is_decided |= self.is_plain && is_present;
            }
        }
    }

    /// The table that was missed by the look-ups of a path's values.
    fn missing_table(&self, kind: IdentityKind, path: &EntryPath) -> Option<&str> {
        let kind = looked_up_as(kind);
        let slots = self.slots.iter().zip(self.table_names).filter(|_| path.is_unavailable);
        let is_missing =
            |(slot, _): &(&TableSlot, &String)| slot.table.is_none() && slot.kinds.contains(kind);
        slots.into_iter().find(is_missing).map(|(_, name)| name.as_str())
    }

    /// Prints the part of the report; `record` is the first record.
    pub(super) fn print(&self, record: Option<&str>, lines: &mut Lines) {
        for (index, Entry { kind, paths }) in self.entries.iter().enumerate() {
            let as_kind = match (self.is_plain, kind) {
                (true, _) => String::new(),
                (_, kind) => format!(" as {}", kind.as_str()),
            };
            for (position, path) in paths.iter().enumerate() {
                let at = path.lead.path();
                let records = count(path.with_value, "record");
                if position == 0 {
                    let label = if index == 0 { "identity" } else { "" };
                    lines.add(label, &format!("`{at}`{as_kind}: {records} with a value"));
                } else {
                    lines.more(&format!("else `{at}`: {records} with a value"));
                }
                self.print_path(*kind, path, lines);
            }
            if paths.iter().all(|path| path.lead.found == 0) {
                candidates::print(record, Wanted::Identity(*kind), lines);
            }
            let is_looked_up = !matches!(kind, IdentityKind::EmployeeId | IdentityKind::Auto);
            if is_looked_up && !self.slots.iter().any(|slot| slot.kinds.contains(*kind)) {
                let kind = kind.as_str();
                lines.problem(&format!(
                    "  no table has the key `{kind}`: nobody can be found; add one to `identities`"
                ));
            }
        }
        self.print_faults(lines);
    }

    /// Says what is wrong with the tables in which values were looked up in vain.
    fn print_faults(&self, lines: &mut Lines) {
        let is_missed = |entry: &&Entry| entry.paths.iter().any(|path| !path.unknown.is_empty());
        let missed = self.entries.iter().filter(is_missed);
        let missed: Vec<_> = missed.map(|entry| looked_up_as(entry.kind)).collect();
        let tables = self.slots.iter().zip(self.table_names).zip(self.table_faults);
        for ((slot, name), faults) in tables {
            for TableFault { kind: faulty, detail } in faults {
                let is_missed = |kind: &IdentityKind| {
                    slot.kinds.contains(*kind) && faulty.is_none_or(|faulty| faulty == *kind)
                };
                if missed.iter().any(is_missed) {
                    lines.problem(&format!("`{name}`: {detail}"));
                }
            }
        }
    }

    /// Prints what is made of a path's values.
    fn print_path(&self, kind: IdentityKind, path: &EntryPath, lines: &mut Lines) {
        let tables = path.by_table.iter().zip(self.table_names);
        for (found, table) in tables.filter(|(found, _)| **found > 0) {
            lines.more(&format!("  {} found in `{table}`", grouped(*found)));
        }
        if path.by_own_id > 0 {
            let own = grouped(path.by_own_id);
            lines.more(&format!("  {own} are employee ids themselves: no look-up"));
        }
        if path.undecided > 0 && !path.unknown.is_empty() {
            let (undecided, examples) = (grouped(path.undecided), path.unknown.join(", "));
            lines.doubt(&format!("  {undecided} in no table, such as {examples}"));
        }
        if !path.not_of_kind.is_empty() {
            let (kind, examples) = (kind.as_str(), path.not_of_kind.join(", "));
            lines.doubt(&format!("  values that cannot be looked up as {kind}: {examples}"));
        }
        if let Some(table) = self.missing_table(kind, path) {
            lines.doubt(&format!("  `{table}`, which may have these values, is unavailable"));
        }
        path.lead.print_dead_end(lines);
    }
}

/// The texts to which a path leads, without those that hold nothing; `None` if it leads to nothing
/// else.
fn held_values(lead: &Lead, json: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut holds_something = false;
    for found in lead.path().find(json) {
        let _ = found.visit_held(&mut |value: Found<'_>| {
            let text = value.text().map(String::from);
            holds_something |= text.as_ref().is_none_or(|text| !holds_nothing(text));
            values.extend(text.filter(|text| !holds_nothing(text)));
            std::ops::ControlFlow::<()>::Continue(())
        });
    }
    holds_something.then_some(values)
}

/// The kind of the keys among which values are looked up.
fn looked_up_as(kind: IdentityKind) -> IdentityKind {
    match kind {
        IdentityKind::Auto => IdentityKind::Ip,
        kind => kind,
    }
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
