//! Decodes the answers of an identity table, page by page.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::address_object::AddressEntries;
use super::content_digest::ContentDigester;
use super::key_kinds::KeyKinds;
use super::rows::Rows;
use super::table::IdentityTable;
use crate::config::{self, Origin, TableRows};
use crate::decode::{DecodeError, ListReader, PageEnd, Row};
use crate::json::{Found, JsonError, Path, ValueKind};
use crate::mapping::{IdentityKind, holds_nothing};

/// Decodes the answers of an identity table, page by page. After an error it must not be used any
/// more, because a table is decoded whole or not at all.
pub struct TableDecoder {
    kinds: KeyKinds,
    content: Content,
    digester: ContentDigester,
}

#[expect(clippy::large_enum_variant, reason = "a decoder is made once for each fetch")]
enum Content {
    /// Objects that map addresses to employees.
    Addresses { fail_if: Vec<Path>, entries: AddressEntries },
    /// Lists of rows.
    Rows { reader: ListReader, mapping: RowMapping, rows: Rows },
}

impl TableDecoder {
    /// A decoder that has no pages yet.
    #[must_use]
    pub fn new(table: &config::Table) -> Self {
        let content = match &table.rows {
            Some(rows) => {
                let (mapping, paths) = RowMapping::new(rows);
                let reader = ListReader::new(rows.records.as_ref(), &table.origin, paths);
                Content::Rows { reader, mapping, rows: Rows::default() }
            }
            None => {
                let fail_if = match &table.origin {
                    Origin::Http(http) => http.fail_if.clone(),
                    Origin::File(_) => Vec::new(),
                };
                Content::Addresses { fail_if, entries: AddressEntries::default() }
            }
        };
        Self { kinds: KeyKinds::of(table), content, digester: ContentDigester::default() }
    }

    /// Decodes the next page, or the next file.
    ///
    /// # Errors
    ///
    /// When the page is not UTF-8, is not one JSON document of at most
    /// [`MAX_DEPTH`](crate::decode::MAX_DEPTH) levels, has no list or no addresses where they
    /// should be, or has something where that means that it has failed.
    #[expect(clippy::needless_pass_by_value, reason = "drops the page as soon as it is decoded")]
    pub fn add_page(&mut self, page: Bytes) -> Result<PageEnd, DecodeError> {
        self.digester.add_page(&page);
        match &mut self.content {
            Content::Addresses { fail_if, entries } => {
                entries.add(&page, fail_if)?;
                Ok(PageEnd::default())
            }
            Content::Rows { reader, mapping, rows } => {
                let end = reader.read_page(&page, |row| mapping.add(&row, rows))?;
                check_size(rows)?;
                Ok(end)
            }
        }
    }

    /// Decodes whole lines, each of which is a row (NDJSON); blank lines are none.
    ///
    /// # Errors
    ///
    /// When a line is not UTF-8, or not one JSON value of at most
    /// [`MAX_DEPTH`](crate::decode::MAX_DEPTH) levels.
    pub fn add_lines(&mut self, lines: &[u8]) -> Result<PageEnd, DecodeError> {
        self.digester.add_lines(lines);
        match &mut self.content {
            Content::Addresses { fail_if, entries } => {
                entries.add(lines, fail_if)?;
                Ok(PageEnd::default())
            }
            Content::Rows { reader, mapping, rows } => {
                let end = reader.read_lines(lines, |row| mapping.add(&row, rows))?;
                check_size(rows)?;
                Ok(end)
            }
        }
    }

    /// The table of all pages.
    #[must_use]
    pub fn finish(self) -> IdentityTable {
        let digest = self.digester.finish();
        match self.content {
            Content::Addresses { entries, .. } => entries.finish(digest),
            Content::Rows { rows, .. } => rows.finish(self.kinds, digest),
        }
    }
}

/// A fault if some keys were left out, because they would not fit.
fn check_size(rows: &Rows) -> Result<(), DecodeError> {
    let fault = "the keys of the rows are larger than 4 GiB";
    if rows.is_too_large() { Err(JsonError { offset: 0, fault }.into()) } else { Ok(()) }
}

/// What the paths of a row mean, by their positions in the [`ListReader`].
struct RowMapping {
    employee: Vec<usize>,
    keys: Vec<(Vec<usize>, IdentityKind)>,
    name: Vec<usize>,
}

impl RowMapping {
    /// Compiles a mapping; returns it with the paths that it reads.
    fn new<'r>(rows: &'r TableRows) -> (Self, Vec<&'r Path>) {
        let mut paths = Vec::new();
        let mut positions = |more: &'r [Path]| {
            let start = paths.len();
            paths.extend(more);
            (start..paths.len()).collect::<Vec<_>>()
        };
        let employee = positions(&rows.employee);
        let keys = rows.keys.iter().map(|(kind, at)| (positions(at), *kind)).collect();
        let name = positions(&rows.name);
        (Self { employee, keys, name }, paths)
    }

    /// Adds a row. Each value of the first path that holds something is a key.
    fn add(&self, row: &Row<'_>, rows: &mut Rows) {
        let id = self.employee.iter().find_map(|path| {
            first(row, *path, |found| match found.text() {
                Some(text) if holds_nothing(&text) => None,
                text => Some(text),
            })
        });
        let Some(employee) = rows.begin(id.flatten().as_deref()) else { return };
        for (paths, kind) in &self.keys {
            for path in paths {
                if add_keys(row, *path, employee, *kind, rows) {
                    break;
                }
            }
        }
        let name = self.name.iter().find_map(|path| row.first_held(*path));
        let name = name.filter(|name| name.kind == ValueKind::String).and_then(Found::text);
        if let Some(name) = name {
            rows.set_name(employee, &name);
        }
    }
}

/// Adds each value that a path leads to as a key; returns whether the path holds something.
fn add_keys(
    row: &Row<'_>,
    path: usize,
    employee: u32,
    kind: IdentityKind,
    rows: &mut Rows,
) -> bool {
    let mut holds_something = false;
    let _ = row.visit_held(path, &mut |found| {
        match found.text() {
            Some(text) if holds_nothing(&text) => {}
            Some(text) => {
                holds_something = true;
                rows.add_key(employee, kind, &text);
            }
            None => holds_something = true,
        }
        ControlFlow::<()>::Continue(())
    });
    holds_something
}

/// The first result that is not `None`, of the values that a path leads to and that hold something.
fn first<'a, T>(
    row: &Row<'a>,
    path: usize,
    mut result: impl FnMut(Found<'a>) -> Option<T>,
) -> Option<T> {
    let mut visit = |found| result(found).map_or(ControlFlow::Continue(()), ControlFlow::Break);
    row.visit_held(path, &mut visit).break_value()
}

#[cfg(test)]
mod tests;
