//! The report on an identity table: its rows, its keys, and the first row.

use std::sync::Arc;

use super::lead::Lead;
use super::lines::Lines;
use super::reading::{Reading, TableFault};
use super::report::{Verdict, answered, answered_failure, explain_answer, with_heading};
use super::rows::rows_of;
use super::shown::{count, grouped, shown};
use crate::config::{self, Origin, TableRows};
use crate::identity::IdentityTable;
use crate::json::{Found, Path};
use crate::mapping::IdentityKind;

/// The longest row that is printed whole.
const MAX_ROW_CHARS: usize = 1_000;

/// The kinds of keys that a table can have.
const KEY_KINDS: [IdentityKind; 4] =
    [IdentityKind::Ip, IdentityKind::Email, IdentityKind::Username, IdentityKind::Hostname];

/// Prints the report on a table.
pub(super) fn table_report(
    table: &config::Table,
    reading: &Reading<Arc<IdentityTable>>,
) -> (String, Verdict) {
    let mut lines = Lines::default();
    match &reading.result {
        Ok(identities) => {
            answered(reading, identities.records(), 0, &mut lines);
            keys(identities, &mut lines);
            if let Some(rows) = &table.rows {
                columns(table, rows, reading, &mut lines);
            }
            (with_heading(&reading.name, "ok", lines), Verdict::Good)
        }
        Err(failure) => {
            answered_failure(reading, failure, &mut lines);
            if let Some(rows) = &table.rows {
                let records = rows.records.clone().unwrap_or_else(Path::results);
                let fail_if = match &table.origin {
                    Origin::Http(http) => http.fail_if.as_slice(),
                    Origin::File(_) => &[],
                };
                explain_answer(reading, failure, &records, fail_if, &mut lines);
            }
            let text = format!("FAILED ({})", failure.outcome.as_str());
            (with_heading(&reading.name, &text, lines), Verdict::Failed)
        }
    }
}

fn keys(table: &IdentityTable, lines: &mut Lines) {
    let employees = count(table.ids().len(), "employee");
    let kinds: Vec<_> = KEY_KINDS
        .into_iter()
        .filter(|kind| table.has(*kind))
        .map(|kind| format!("{} by {}", grouped(table.key_count(kind)), kind.as_str()))
        .collect();
    lines.add("keys", &format!("{employees}; {}", kinds.join(", ")));
    if table.is_empty() {
        lines.problem("no key names an employee: nobody can be found in this table");
    }
    if table.conflicts() > 0 {
        lines.doubt(&format!(
            "{} with two employees: the first counts",
            count(table.conflicts(), "key")
        ));
    }
    if table.oversized_ids() > 0 {
        lines.doubt(&format!("{} too long", count(table.oversized_ids(), "employee id")));
    }
}

/// A key of a table, and where its values are in the rows.
struct Column {
    key: &'static str,
    /// One for each path.
    leads: Vec<Lead>,
    /// Rows in which one of them leads to a value that holds something.
    held: usize,
}

impl Column {
    fn new(key: &'static str, paths: &[Path]) -> Self {
        Self { key, leads: paths.iter().map(Lead::new).collect(), held: 0 }
    }

    fn add(&mut self, row: &str) {
        let mut is_held = false;
        for lead in &mut self.leads {
            is_held |= lead.follow(row).is_some();
        }
        self.held += usize::from(is_held);
    }
}

/// What is wrong with a table that came, if it finds nobody, or nobody by some kind of key.
pub(super) fn table_faults(
    table: &config::Table,
    reading: &Reading<Arc<IdentityTable>>,
) -> Vec<TableFault> {
    let Ok(identities) = &reading.result else { return Vec::new() };
    let Some(rows) = &table.rows else {
        let fault = TableFault { kind: None, detail: "no key names an employee".to_owned() };
        return if identities.is_empty() { vec![fault] } else { Vec::new() };
    };
    let Columns { keys, total, .. } = Columns::of(table, rows, reading);
    if total == 0 {
        return vec![TableFault { kind: None, detail: "it has no rows".to_owned() }];
    }
    let kinds = rows.keys.iter().map(|(kind, _)| Some(*kind));
    let without = std::iter::once(None).chain(kinds).zip(&keys).filter(|(_, key)| key.held == 0);
    let fault = |(kind, column): (_, &Column)| {
        let end = column.leads.iter().find_map(Lead::dead_end);
        let end = end.map_or_else(String::new, |end| format!(": {end}"));
        TableFault { kind, detail: format!("no row has a value of `{}`{end}", column.key) }
    };
    without.map(fault).collect()
}

/// The keys of a table, and what the rows have of them.
struct Columns {
    keys: Vec<Column>,
    /// The number of rows.
    total: usize,
    /// The first row.
    first: Option<String>,
}

impl Columns {
    fn of(table: &config::Table, rows: &TableRows, reading: &Reading<Arc<IdentityTable>>) -> Self {
        let mut keys = vec![Column::new("employee", &rows.employee)];
        keys.extend(rows.keys.iter().map(|(kind, paths)| Column::new(kind.as_str(), paths)));
        keys.extend((!rows.name.is_empty()).then(|| Column::new("name", &rows.name)));
        let mut first = None;
        let mut total = 0;
        rows_of(table, rows, &reading.pages, &mut |row: Found<'_>| {
            total += 1;
            first.get_or_insert_with(|| shown(row.raw, MAX_ROW_CHARS).to_string());
            for column in &mut keys {
                column.add(row.raw);
            }
        });
        Self { keys, total, first }
    }
}

/// How many rows have a value of each key, and the first row.
fn columns(
    table: &config::Table,
    rows: &TableRows,
    reading: &Reading<Arc<IdentityTable>>,
    lines: &mut Lines,
) {
    let Columns { keys, total, first } = Columns::of(table, rows, reading);
    for column in &keys {
        let without = total - column.held;
        let rest =
            if without == 0 { String::new() } else { format!(", {} without", grouped(without)) };
        let values = count(column.held, "row");
        let paths: Vec<_> = column.leads.iter().map(|lead| format!("`{}`", lead.path())).collect();
        let paths = paths.join(", else ");
        lines.add(column.key, &format!("{paths}: {values} with a value{rest}"));
        for lead in &column.leads {
            lead.print_dead_end(lines);
        }
    }
    if let Some(first) = first {
        lines.add("first row", &first);
    }
}
