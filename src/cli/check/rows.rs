//! The rows of a table, one by one.

use super::reading::Page;
use crate::config::{Origin, Table, TableRows};
use crate::files::{self, FileFormat, csv};
use crate::json::{Found, Path, elements};

/// Calls `visit` with each row: of the pages that came, or of the files again, which were read and
/// found to be right before.
pub(super) fn rows_of(
    table: &Table,
    rows: &TableRows,
    pages: &[Page],
    visit: &mut impl FnMut(Found<'_>),
) {
    let text = |body: &[u8]| {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        std::str::from_utf8(body).unwrap_or_default().to_owned()
    };
    match &table.origin {
        Origin::Http(_) => {
            let path = rows.records.clone().unwrap_or_else(Path::results);
            for page in pages {
                visit_list(&text(&page.body), &path, visit);
            }
        }
        Origin::File(pattern) => {
            let path = rows.records.clone().unwrap_or_else(Path::whole);
            for file in files::find(pattern).unwrap_or_default() {
                let Some((format, compression)) = FileFormat::of(&file.path) else { continue };
                let Ok(content) = files::read(&file, compression, u64::MAX) else { continue };
                let content = text(&content);
                match format {
                    FileFormat::Json => visit_list(&content, &path, visit),
                    FileFormat::Lines => visit_lines(&content, visit),
                    FileFormat::Csv => {
                        let Ok(mut objects) = csv::Objects::new(&content) else { continue };
                        let mut json = String::new();
                        while objects.write_next(&mut json).unwrap_or(false) {
                            visit_lines(&json, visit);
                            json.clear();
                        }
                        visit_lines(&json, visit);
                    }
                }
            }
        }
    }
}

fn visit_list(json: &str, path: &Path, visit: &mut impl FnMut(Found<'_>)) {
    for list in path.find(json).into_iter().filter(|found| found.is_array()) {
        elements(list.raw).for_each(&mut *visit);
    }
}

fn visit_lines(text: &str, visit: &mut impl FnMut(Found<'_>)) {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Found::new).for_each(visit);
}
