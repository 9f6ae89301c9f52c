//! Decodes the answers of an incident source, page by page.

use std::sync::Arc;

use bytes::Bytes;

use super::document::Document;
use super::error::DecodeError;
use super::fields::SourceFields;
use super::incidents::Incidents;
use super::list_reader::ListReader;
use super::mapped::{MappedRecords, RecordMapping};
use super::page_end::PageEnd;
use super::plain::{PlainReader, PlainRecords};
use super::walk::{walk, walk_lines};
use crate::config::{self, HttpOrigin, Origin};
use crate::json::{JsonError, Path};

/// How the answers of a source are read, compiled from its configuration.
#[derive(Debug)]
pub struct SourceMapping(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Box<Plain>),
    Mapped(Box<Mapped>),
}

#[derive(Debug)]
struct Plain {
    document: Document,
    fields: SourceFields,
}

#[derive(Debug)]
struct Mapped {
    reader: ListReader,
    records: RecordMapping,
}

impl SourceMapping {
    /// Compiles the mapping of a source.
    #[must_use]
    pub fn new(source: &config::Source) -> Self {
        if source.is_mapped() {
            let (records, paths) = RecordMapping::new(source);
            let reader = ListReader::new(source.records.as_ref(), &source.origin, &paths);
            Self(Kind::Mapped(Box::new(Mapped { reader, records })))
        } else {
            Self::plain(SourceFields::new(&source.identity_fields()), &source.origin)
        }
    }

    /// The same mapping, which keeps the ids of all records that have one ([`Incidents::id_key`]).
    /// Otherwise they are kept only where records are merged with later ones.
    #[must_use]
    pub fn keeping_ids(mut self) -> Self {
        if let Kind::Mapped(mapped) = &mut self.0 {
            mapped.records.keeps_ids = true;
        }
        self
    }

    /// Whether records are answered as they are, not in envelopes.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.0, Kind::Plain(_))
    }

    /// The mapping of a plain source with these fields.
    pub(super) fn plain(fields: SourceFields, origin: &Origin) -> Self {
        let document = Document::new(&Path::results(), origin, true);
        Self(Kind::Plain(Box::new(Plain { document, fields })))
    }
}

/// Decodes the answers of an incident source, page by page. After an error it must not be used any
/// more, because a source is decoded whole or not at all.
pub struct IncidentsDecoder {
    mapping: Arc<SourceMapping>,
    is_truncated: bool,
    /// The pages of a plain source; empty for a mapped one, whose pages are dropped when they are
    /// read.
    body: Pages,
    plain: PlainRecords,
    mapped: MappedRecords,
}

/// Pages, one after the other.
enum Pages {
    /// The only page, unchanged.
    One(Bytes),
    Several(Vec<u8>),
}

impl Pages {
    /// Adds a page; returns where it starts.
    fn add(&mut self, page: Bytes) -> usize {
        match self {
            Self::One(first) if first.is_empty() => {
                *first = page;
                0
            }
            Self::One(first) => {
                let mut all = Vec::with_capacity(2 * (first.len() + page.len()));
                all.extend_from_slice(first);
                all.extend_from_slice(&page);
                let start = first.len();
                *self = Self::Several(all);
                start
            }
            Self::Several(all) => {
                all.extend_from_slice(&page);
                all.len() - page.len()
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::One(page) => page,
            Self::Several(all) => all,
        }
    }

    fn into_body(self) -> Bytes {
        match self {
            Self::One(page) => page,
            Self::Several(mut all) => {
                all.shrink_to_fit();
                all.into()
            }
        }
    }
}

impl IncidentsDecoder {
    /// A decoder that has no pages yet.
    #[must_use]
    pub fn new(mapping: Arc<SourceMapping>) -> Self {
        Self {
            mapping,
            is_truncated: false,
            body: Pages::One(Bytes::new()),
            plain: PlainRecords::default(),
            mapped: MappedRecords::default(),
        }
    }

    /// Decodes the next page.
    ///
    /// # Errors
    ///
    /// When the page is not UTF-8, is not one JSON document of at most
    /// [`MAX_DEPTH`](super::MAX_DEPTH) levels, has no list where it should be, or has something
    /// where that means that it has failed.
    pub fn add_page(&mut self, page: Bytes) -> Result<PageEnd, DecodeError> {
        match &self.mapping.0 {
            Kind::Plain(plain) => {
                let Plain { document, fields } = plain.as_ref();
                let start = self.body.add(page);
                let body = self.body.bytes();
                let mut reader = PlainReader { fields, read: &mut self.plain };
                let walked = walk(document, body, start, &mut reader)?;
                let end = document.page_end(body, &walked)?;
                self.is_truncated |= document.is_truncated(&walked.captures, body, end.records);
                Ok(end)
            }
            Kind::Mapped(mapped) => {
                let Mapped { reader, records } = mapped.as_ref();
                self.mapped.reserve(page.len());
                let end = reader.read_page(&page, |row| self.mapped.add(records, &row))?;
                self.mapped.check_size()?;
                Ok(end)
            }
        }
    }

    /// Decodes whole lines, each of which is a record (NDJSON); blank lines are none.
    ///
    /// # Errors
    ///
    /// When a line is not UTF-8, or not one JSON value of at most [`MAX_DEPTH`](super::MAX_DEPTH)
    /// levels.
    pub fn add_lines(&mut self, lines: &[u8]) -> Result<PageEnd, DecodeError> {
        match &self.mapping.0 {
            Kind::Plain(plain) => {
                let fields = &plain.fields;
                let start = self.body.add(Bytes::copy_from_slice(lines));
                let mut reader = PlainReader { fields, read: &mut self.plain };
                let records = walk_lines(self.body.bytes(), start, &mut reader)?;
                Ok(PageEnd { records, ..PageEnd::default() })
            }
            Kind::Mapped(mapped) => {
                let Mapped { reader, records } = mapped.as_ref();
                self.mapped.reserve(lines.len());
                let end = reader.read_lines(lines, |row| self.mapped.add(records, &row))?;
                self.mapped.check_size()?;
                Ok(end)
            }
        }
    }

    /// Decodes the records of a mapped source, each by itself, as the source sent them. Their
    /// envelopes have about `size` bytes together.
    pub(super) fn add_records<'a>(
        &mut self,
        raw: impl Iterator<Item = Result<&'a [u8], JsonError>>,
        size: usize,
    ) -> Result<(), DecodeError> {
        let Kind::Mapped(mapped) = &self.mapping.0 else {
            unreachable!("a plain source has pages")
        };
        let Mapped { reader, records } = mapped.as_ref();
        self.mapped.reserve(size);
        reader.read_records(raw, |row| self.mapped.add(records, &row))?;
        self.mapped.check_size()
    }

    /// The records of all pages.
    #[must_use]
    pub fn finish(self) -> Incidents {
        match &self.mapping.0 {
            Kind::Plain(_) => {
                let PlainRecords { records, other_values, unmapped, timestamps, .. } = self.plain;
                Incidents {
                    unmapped: unmapped.counts(&records),
                    body: self.body.into_body(),
                    records,
                    timestamps,
                    other_values: other_values.into_list(),
                    is_truncated: self.is_truncated,
                    unmapped_values: unmapped,
                    ..Incidents::default()
                }
            }
            Kind::Mapped(mapped) => self.mapped.finish(mapped.records.keeps_ids),
        }
    }
}

impl Incidents {
    /// Decodes the only page of a plain source: `{"results":[…]}`. Other members of the document
    /// are skipped, except for those that may say that there are more records; see
    /// [`Self::is_truncated`].
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, or
    /// does not have exactly one array `results`.
    pub fn decode(body: Bytes, fields: &SourceFields) -> Result<Self, DecodeError> {
        let origin = Origin::Http(HttpOrigin::endpoint("/"));
        let mapping = Arc::new(SourceMapping::plain(fields.clone(), &origin));
        let mut decoder = IncidentsDecoder::new(mapping);
        decoder.add_page(body)?;
        Ok(decoder.finish())
    }
}
