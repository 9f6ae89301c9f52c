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
    pages: usize,
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
        let (kinds, digester) = (KeyKinds::of(table), ContentDigester::default());
        Self { kinds, content, digester, pages: 0 }
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
        self.pages += 1;
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
        self.pages += 1;
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

    /// How many pages were decoded.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The size in bytes of the pages so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.digester.size_bytes()
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
    keys: Vec<(usize, IdentityKind)>,
    name: Option<usize>,
}

impl RowMapping {
    /// The position of the path to the employee's id.
    const EMPLOYEE: usize = 0;

    /// Compiles a mapping; returns it with the paths that it reads.
    fn new(rows: &TableRows) -> (Self, Vec<&Path>) {
        let mut paths = vec![&rows.employee];
        let mut position = |path| {
            paths.push(path);
            paths.len() - 1
        };
        let keys = rows.keys.iter().map(|(kind, path)| (position(path), *kind)).collect();
        let name = rows.name.as_ref().map(position);
        (Self { keys, name }, paths)
    }

    /// Adds a row. Each value of a path is a key.
    fn add(&self, row: &Row<'_>, rows: &mut Rows) {
        let id = first(row, Self::EMPLOYEE, |found| match found.text() {
            Some(text) if holds_nothing(&text) => None,
            text => Some(text),
        });
        let Some(employee) = rows.begin(id.flatten().as_deref()) else { return };
        for (path, kind) in &self.keys {
            let _ = row.visit_held(*path, &mut |found| {
                if let Some(text) = found.text() {
                    rows.add_key(employee, *kind, &text);
                }
                ControlFlow::<()>::Continue(())
            });
        }
        let name = self.name.and_then(|path| row.first_held(path));
        let name = name.filter(|name| name.kind == ValueKind::String).and_then(Found::text);
        if let Some(name) = name {
            rows.set_name(employee, &name);
        }
    }
}

/// The first result for a value that a path leads to.
fn first<'a, T>(
    row: &Row<'a>,
    path: usize,
    mut result: impl FnMut(Found<'a>) -> Option<T>,
) -> Option<T> {
    let mut visit = |found| result(found).map_or(ControlFlow::Continue(()), ControlFlow::Break);
    row.visit_held(path, &mut visit).break_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HttpOrigin, Table};

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn table(records: Option<&str>) -> Table {
        let rows = TableRows {
            records: records.map(path),
            employee: path("/employee/id"),
            keys: vec![(IdentityKind::Email, path("$.mails[*].address"))],
            name: Some(path("name")),
        };
        Table {
            origin: Origin::Http(HttpOrigin::endpoint("/people")),
            every: None,
            rows: Some(rows),
        }
    }

    fn decode(table: &Table, pages: &[&str]) -> Result<IdentityTable, DecodeError> {
        let mut decoder = TableDecoder::new(table);
        for page in pages {
            decoder.add_page(Bytes::from((*page).to_owned()))?;
        }
        Ok(decoder.finish())
    }

    const ROWS: &str = r#"{"results":[
        {"employee":{"id":["-",7,8]},"mails":[{"address":["A@x.example","b@x.example"]},{}],
            "name":["","Ann"]},
        {"employee":{"id":"e8"},"mails":[{"address":null},{"address":"\u0063@x.example"}],"name":9},
        {"employee":{"id":true},"mails":[{"address":"d@x.example"}],"name":"Dan"},
        {"employee":{"id":null},"mails":[{"address":"d@x.example"}]},
        "no object"]}"#;

    #[test]
    fn rows_are_read_by_their_paths() {
        let table = decode(&table(None), &[ROWS, r#"{"results":[]}"#]).unwrap();
        let employee = |mail: &str| {
            let employee = table.employee_by_text(IdentityKind::Email, mail)?;
            Some(table.ids().list()[employee as usize].to_string())
        };
        for (mail, id) in [("a", Some("7")), ("b", Some("7")), ("c", Some("e8")), ("d", None)] {
            assert_eq!(employee(&format!("{mail}@x.example")).as_deref(), id, "{mail}");
        }
        assert_eq!((table.name("7"), table.name("e8")), (Some("Ann"), None));
        assert_eq!((table.records(), table.size_bytes()), (5, ROWS.len() + 14));
        assert!(table.has(IdentityKind::Email) && !table.has(IdentityKind::Ip));
    }

    #[test]
    fn pages_say_what_follows_and_lines_are_rows() {
        let list = table(Some(""));
        let mut decoder = TableDecoder::new(&list);
        let row = r#"{"employee":{"id":1},"mails":[{"address":"a@x.example"}]}"#;
        let page = decoder.add_page(Bytes::from(format!("[{row},{row}]"))).unwrap();
        assert_eq!((page.records, page.next), (2, None));
        let lines = row.replace("a@", "b@");
        assert_eq!(decoder.add_lines(format!("\n{lines}\n\n").as_bytes()).unwrap().records, 1);
        assert_eq!((decoder.pages(), decoder.size_bytes()), (2, 2 * row.len() + lines.len() + 6));
        assert_eq!(decoder.finish().len(), 2);

        let digest_of_lines = |parts: &[&str]| {
            let mut decoder = TableDecoder::new(&list);
            for part in parts {
                decoder.add_lines(part.as_bytes()).unwrap();
            }
            decoder.finish()
        };
        let whole = digest_of_lines(&["{}\n{}\n"]);
        assert!(whole.is_same_as(&digest_of_lines(&["{}\n", "{}\n"])), "however they are cut");
        assert!(!whole.is_same_as(&digest_of_lines(&["{}\n[]\n"])));
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        for page in ["", "[]", "{}", r#"{"results":{}}"#, r#"{"results":[{]}"#] {
            assert!(decode(&table(None), &[ROWS, page]).is_err(), "{page}");
        }
    }

    #[test]
    fn an_object_of_addresses_fails_by_its_paths_too() {
        let mut http = HttpOrigin::endpoint("/identities/");
        http.fail_if = vec![path("/errors")];
        let table = Table { origin: Origin::Http(http), every: None, rows: None };
        let addresses = decode(&table, &[r#"{"17.0.0.1":1,"errors":[]}"#]).unwrap();
        assert_eq!((addresses.len(), addresses.has(IdentityKind::Ip)), (1, true));
        for page in [r#"{"17.0.0.1":1,"errors":[1]}"#, "\u{feff}{\"errors\":\"busy\"}"] {
            let error = decode(&table, &[page]).unwrap_err();
            assert!(matches!(error, DecodeError::Answer(_)), "{error}");
            assert_eq!(error.to_string(), "the answer has something at `/errors`");
        }
        assert!(matches!(decode(&table, &["{}", "[]"]), Err(DecodeError::Json(_))));
    }
}
