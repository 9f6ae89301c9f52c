//! Reads the records of a list by paths.

use std::ops::ControlFlow;

use super::document::Document;
use super::error::DecodeError;
use super::page_end::PageEnd;
use super::utf8;
use super::walk::{RecordSink, walk, walk_lines};
use crate::config::Origin;
use crate::json::{Captures, Found, JsonError, Path, Scanner, Selection, Value};

/// Reads the records of lists, page by page or line by line. Paths are compiled once, and a record
/// is passed once for all of them.
#[derive(Debug)]
pub struct ListReader {
    document: Document,
    selection: Selection,
}

/// A record of a list.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    body: &'a [u8],
    value: Value,
    selection: &'a Selection,
    captures: &'a Captures,
}

impl<'a> Row<'a> {
    /// The record's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.body[self.value.start..self.value.end]
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.body[self.value.start] == b'{'
    }

    /// Calls `visit` for each value that holds something and that a path leads to, given by its
    /// position among the reader's paths. Arrays stand for their elements; null, `""` and `[]` hold
    /// nothing. Ends early when `visit` breaks.
    pub fn visit_held<T>(
        &self,
        path: usize,
        visit: &mut impl FnMut(Found<'a>) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        self.selection.visit(path, self.captures, self.body, &mut |found| found.visit_held(visit))
    }

    /// The first value that holds something and that a path leads to.
    #[must_use]
    pub fn first_held(&self, path: usize) -> Option<Found<'a>> {
        self.visit_held(path, &mut ControlFlow::Break).break_value()
    }
}

impl ListReader {
    /// Reads lists at the path `records`; without it a list is at `/results`, or in a file the
    /// whole document. `origin` has the paths of pages and failures. `paths` are those in each
    /// record, and are known by their positions from now on.
    #[must_use]
    pub fn new<'p>(
        records: Option<&Path>,
        origin: &Origin,
        paths: impl IntoIterator<Item = &'p Path>,
    ) -> Self {
        let default = match origin {
            Origin::Http(_) => Path::results(),
            Origin::File(_) => Path::whole(),
        };
        Self {
            document: Document::new(records.unwrap_or(&default), origin, false),
            selection: Selection::new(paths),
        }
    }

    /// Reads a page, and calls `row` for each record in its list.
    ///
    /// # Errors
    ///
    /// When the page is not UTF-8, is not one JSON document of at most
    /// [`MAX_DEPTH`](super::MAX_DEPTH) levels, has no list where it should be, or has something
    /// where that means that it has failed. Some records may have been read then.
    pub fn read_page(&self, page: &[u8], row: impl FnMut(Row<'_>)) -> Result<PageEnd, DecodeError> {
        let mut sink = self.sink(row);
        let walked = walk(&self.document, page, 0, &mut sink)?;
        self.document.page_end(page, &walked)
    }

    /// Reads whole lines, each of which is a record (NDJSON); blank lines are none.
    ///
    /// # Errors
    ///
    /// When a line is not UTF-8, or not one JSON value of at most [`MAX_DEPTH`](super::MAX_DEPTH)
    /// levels. Some records may have been read then.
    pub fn read_lines(
        &self,
        lines: &[u8],
        row: impl FnMut(Row<'_>),
    ) -> Result<PageEnd, DecodeError> {
        let records = walk_lines(lines, 0, &mut self.sink(row))?;
        Ok(PageEnd { records, ..PageEnd::default() })
    }

    /// Reads records that are each by themselves.
    ///
    /// # Errors
    ///
    /// When one is not UTF-8, or not one JSON value of at most [`MAX_DEPTH`](super::MAX_DEPTH)
    /// levels, and when `records` has an error. Some records may have been read then.
    pub(super) fn read_records<'a>(
        &self,
        records: impl Iterator<Item = Result<&'a [u8], JsonError>>,
        row: impl FnMut(Row<'_>),
    ) -> Result<(), JsonError> {
        let mut sink = self.sink(row);
        for record in records {
            let record = record?;
            utf8(record)?;
            let mut scanner = Scanner::new(record);
            sink.record(&mut scanner, 0)?;
            scanner.end()?;
        }
        Ok(())
    }

    fn sink<F>(&self, row: F) -> RowSink<'_, F> {
        RowSink { selection: &self.selection, captures: self.selection.captures(), row }
    }
}

/// Captures the values of each record, and passes them on.
struct RowSink<'r, F> {
    selection: &'r Selection,
    captures: Captures,
    row: F,
}

impl<F: FnMut(Row<'_>)> RecordSink for RowSink<'_, F> {
    fn record(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Result<(), JsonError> {
        let Self { selection, captures, row } = self;
        let value = selection.read(Selection::ROOT, scanner, depth, captures)?;
        row(Row { body: scanner.bytes(), value, selection, captures });
        Ok(())
    }
}
