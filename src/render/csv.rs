//! Incidents as a table (RFC 4180) that spreadsheets can open without running anything.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::Filter;
use super::member::{drop_line_breaks, member_value};
use super::prefetch::Prefetcher;
use crate::decode::{Member, members, unescape};
use crate::join::{Employee, IncidentRef};
use crate::snapshot::View;

/// The columns before the sources' own fields.
const FIRST: [&str; 4] = ["type", "employee_id", "priority", "timestamp"];

/// The last column: what a record has beside the columns, as one JSON object.
const REST: &str = "other";

/// A header, and a row for each incident that meets the filter, in the order of the document.
///
/// The columns are `type`, `employee_id`, `priority`, `timestamp`, the view's known fields, and
/// `other`: the rest of the record's members as one JSON object, empty when there are none. Numbers
/// are as spelled, strings unescaped, null is empty, arrays and objects are JSON. Of members with
/// the same name the last fills the column; the earlier ones are among the rest, as is the record's
/// own `employee_id` where it says something else than the joined one. A cell that a spreadsheet
/// would take for a formula gets a single quote before it.
#[must_use]
pub fn csv(view: &View, filter: &Filter) -> Vec<u8> {
    let known = |name: &&Arc<str>| !FIRST.contains(&&***name) && &***name != REST;
    let fields: Vec<&str> = view.fields().iter().filter(known).map(|name| &**name).collect();
    let mut table = Table {
        view,
        cells: vec![None; fields.len() + 2],
        fields,
        rest: Vec::new(),
        out: Vec::new(),
    };
    if filter.is_empty() {
        // Without the names of members, with quotes and empty cells: about what the sources sent.
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
    /// The members that fill the columns of the row: priority, timestamp, the known fields.
    cells: Vec<Option<&'a [u8]>>,
    /// The row's members that have no column.
    rest: Vec<&'a [u8]>,
    out: Vec<u8>,
}

/// Where a member of a record goes.
enum Column {
    Cell(usize),
    /// Nowhere: the source's name replaces it.
    Replaced,
    /// To the rest, unless it only repeats the employee's id.
    OwnId,
    Rest,
}

impl<'a> Table<'a> {
    fn header(&mut self) {
        for (index, name) in
            FIRST.into_iter().chain(self.fields.iter().copied()).chain([REST]).enumerate()
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
        self.sort(view.members(incident), employee.id);
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
        if !self.rest.is_empty() {
            scratch.clear();
            for (index, member) in self.rest.iter().enumerate() {
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
    fn sort(&mut self, record: &'a [u8], id: &str) {
        self.cells.fill(None);
        self.rest.clear();
        for (name, member) in members(record) {
            match name.map_or(Column::Rest, |name| self.column(&name)) {
                Column::Cell(index) => self.rest.extend(self.cells[index].replace(member)),
                Column::OwnId if text(member_value(member)).is_some_and(|own| own == id) => {}
                Column::OwnId | Column::Rest => self.rest.push(member),
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
                field.map_or(Column::Rest, |field| Column::Cell(field + 2))
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

/// A cell of a JSON value.
fn write_value(out: &mut Vec<u8>, value: &[u8], scratch: &mut Vec<u8>) {
    match (value.first(), text(value)) {
        (_, Some(text)) => write_text(out, &text),
        (Some(b'n'), _) => {}
        (Some(b't' | b'f'), _) => out.extend_from_slice(value),
        // An array, an object, or a string that is no Unicode text (a lone surrogate), which stays
        // as it is spelled.
        _ => {
            scratch.clear();
            scratch.extend_from_slice(value);
            drop_line_breaks(scratch, 0);
            write_quoted(out, scratch);
        }
    }
}

/// A cell of text: with a single quote before it where it would be a formula, and quoted where a
/// separator, a quote or a line break needs it.
fn write_text(out: &mut Vec<u8>, text: &str) {
    // The wide forms are typed in East Asian text, and some spreadsheets take them for the narrow
    // ones.
    let formula = matches!(
        text.trim_start_matches(' ').chars().next(),
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n')
    ) && !is_number(text);
    // Semicolons and tabs separate cells where a spreadsheet is set so: unquoted, what follows one
    // would be a cell of its own, and could be a formula.
    let quoted =
        text.bytes().any(|byte| matches!(byte, b'"' | b',' | b';' | b'\t' | b'\n' | b'\r'));
    match (formula, quoted) {
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

fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
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
