//! Renders CSV (RFC 4180) in which spreadsheets find no formulas to run.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::Filter;
use super::member::{drop_line_breaks, member_value};
use super::prefetch::Prefetcher;
use crate::decode::{Member, members, unescape};
use crate::join::{Employee, IncidentRef};
use crate::snapshot::View;

/// The columns before those of the sources' own fields.
const FIXED_COLUMNS: [&str; 4] = ["type", "employee_id", "priority", "timestamp"];

/// The last column: the members of a record that have no column, as one JSON object.
const OTHER_COLUMN: &str = "other";

/// Renders a header, and a row for each incident that meets the filter, in the order of the
/// document.
///
/// The columns are `type`, `employee_id`, `priority`, `timestamp`, the view's known fields, and
/// `other`: the record's other members as one JSON object, empty if there are none. Numbers are as
/// spelled, strings unescaped, null is empty, arrays and objects are JSON. The last of several
/// members with the same name fills the column, and the earlier ones are in `other`; so is the
/// record's own `employee_id` if it differs from the joined one. A cell that a spreadsheet would
/// take for a formula is prefixed with a single quote.
#[must_use]
pub fn csv(view: &View, filter: &Filter) -> Vec<u8> {
    let known = |name: &&Arc<str>| !FIXED_COLUMNS.contains(&&***name) && &***name != OTHER_COLUMN;
    let fields: Vec<&str> = view.fields().iter().filter(known).map(|name| &**name).collect();
    let mut table = Table {
        view,
        cells: vec![None; fields.len() + 2],
        fields,
        other: Vec::new(),
        out: Vec::new(),
    };
    if filter.is_empty() {
        // The names of members are missing and quotes are added, so the size is about that of the
        // sources' bodies.
        table.out.reserve(view.size());
    }
    table.header();
    let mut prefetcher = Prefetcher::new(view, filter.is_empty());
    let mut scratch = Vec::new();
    for employee in filter.employees(view.index()) {
        for (_, incident) in filter.incidents(&employee) {
            table.row(&employee, incident, &mut scratch);
            prefetcher.advance();
        }
    }
    table.out
}

struct Table<'a> {
    view: &'a View,
    fields: Vec<&'a str>,
    /// The members in the row's columns: priority, timestamp, and the known fields.
    cells: Vec<Option<&'a [u8]>>,
    /// The row's members that have no column of their own.
    other: Vec<&'a [u8]>,
    out: Vec<u8>,
}

/// The column of a member of a record.
enum Column {
    /// A column of its own, by its index in [`Table::cells`].
    Cell(usize),
    /// None: the source's name replaces the record's own `type`.
    Replaced,
    /// `other`, unless the member only repeats the employee's id.
    OwnId,
    /// `other`
    Other,
}

impl<'a> Table<'a> {
    fn header(&mut self) {
        for (index, name) in FIXED_COLUMNS
            .into_iter()
            .chain(self.fields.iter().copied())
            .chain([OTHER_COLUMN])
            .enumerate()
        {
            if index > 0 {
                self.out.push(b',');
            }
            write_text(&mut self.out, name);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn row(&mut self, employee: &Employee<'_>, incident: &IncidentRef, scratch: &mut Vec<u8>) {
        let view = self.view;
        self.fill_columns(view.members(incident), employee.id);
        self.out.extend_from_slice(view.names()[incident.source()].as_bytes());
        self.out.push(b',');
        write_text(&mut self.out, employee.id);
        for cell in &self.cells {
            self.out.push(b',');
            if let Some(member) = cell {
                write_value(&mut self.out, member_value(member), scratch);
            }
        }
        self.out.push(b',');
        if !self.other.is_empty() {
            scratch.clear();
            for (index, member) in self.other.iter().enumerate() {
                scratch.push(if index == 0 { b'{' } else { b',' });
                scratch.extend_from_slice(member);
            }
            scratch.push(b'}');
            drop_line_breaks(scratch, 0);
            write_quoted(&mut self.out, scratch);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Puts each member of a record into its column.
    fn fill_columns(&mut self, record: &'a [u8], id: &str) {
        self.cells.fill(None);
        self.other.clear();
        for (name, member) in members(record) {
            match name.map_or(Column::Other, |name| self.column(&name)) {
                Column::Cell(index) => self.other.extend(self.cells[index].replace(member)),
                Column::OwnId if text(member_value(member)).is_some_and(|own| own == id) => {}
                Column::OwnId | Column::Other => self.other.push(member),
                Column::Replaced => {}
            }
        }
    }

    fn column(&self, name: &str) -> Column {
        match Member::from_name(name) {
            Some(Member::Type) => Column::Replaced,
            Some(Member::EmployeeId) => Column::OwnId,
            Some(Member::Priority) => Column::Cell(0),
            Some(Member::Timestamp) => Column::Cell(1),
            None => {
                let field = self.fields.iter().position(|field| *field == name);
                field.map_or(Column::Other, |field| Column::Cell(field + 2))
            }
        }
    }
}

/// The text of a JSON string or number.
fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    // The decoder has checked that it is UTF-8.
    let value = std::str::from_utf8(value).ok()?;
    match value.as_bytes().first()? {
        b'"' => unescape(&value[1..value.len() - 1]),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value)),
        _ => None,
    }
}

/// Writes a JSON value as a cell.
fn write_value(out: &mut Vec<u8>, value: &[u8], scratch: &mut Vec<u8>) {
    match (value.first(), text(value)) {
        (_, Some(text)) => write_text(out, &text),
        (Some(b'n'), _) => {}
        (Some(b't' | b'f'), _) => out.extend_from_slice(value),
        // An array, an object, or a string that is not Unicode text (a lone surrogate), which is
        // kept as spelled.
        _ => {
            scratch.clear();
            scratch.extend_from_slice(value);
            drop_line_breaks(scratch, 0);
            write_quoted(out, scratch);
        }
    }
}

/// Writes text as a cell: prefixed with a single quote if it would be a formula, and in double
/// quotes if it contains a separator, a quote or a line break.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Some spreadsheets also accept the full-width forms that East Asian input methods produce.
    let is_formula = matches!(
        text.trim_start_matches(' ').chars().next(),
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n')
    ) && !is_number(text);
    // Some spreadsheets split cells at semicolons or tabs. Text after an unquoted one would be a
    // cell of its own, and could be a formula.
    let needs_quotes =
        text.bytes().any(|byte| matches!(byte, b'"' | b',' | b';' | b'\t' | b'\n' | b'\r'));
    match (is_formula, needs_quotes) {
        (false, false) => out.extend_from_slice(text.as_bytes()),
        (false, true) => write_quoted(out, text.as_bytes()),
        (true, false) => {
            out.push(b'\'');
            out.extend_from_slice(text.as_bytes());
        }
        (true, true) => write_quoted(out, format!("'{text}").as_bytes()),
    }
}

/// Whether the text is a JSON number and nothing else.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && !text.ends_with(|last: char| last.is_ascii_whitespace())
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

pub(super) fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=quote]);
        out.push(b'"');
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_get_a_single_quote_and_separators_are_quoted() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("  @SUM(A1)", "'  @SUM(A1)"),
            ("＝1+1", "'＝1+1"),
            ("－2", "'－2"),
            ("+a,b", "\"'+a,b\""),
            ("-1.5", "-1.5"),
            ("-1.5x", "'-1.5x"),
            ("17.0.0.1", "17.0.0.1"),
            ("a;=1+2", "\"a;=1+2\""),
            ("x\t=cmd", "\"x\t=cmd\""),
            (";=1+2", "\";=1+2\""),
            ("=1;2", "\"'=1;2\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("@x", "'@x"),
            ("a b|c", "a b|c"),
        ] {
            let mut out = Vec::new();
            write_text(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), cell, "{text}");
        }
    }
}
