//! The decoder of a source's answer: of incidents, or of an identity table.

use std::sync::Arc;

use bytes::Bytes;

use crate::config;
use crate::decode::{DecodeError, IncidentsDecoder, PageEnd, SourceMapping};
use crate::identity::TableDecoder;
use crate::refresh::Batch;

/// How the answers of a source are decoded.
#[derive(Clone, Debug)]
pub(super) enum DecoderSettings {
    Incidents(Arc<SourceMapping>),
    Table(Arc<config::Table>),
}

/// Decodes an answer page by page.
pub(super) enum Decoder {
    Incidents(Box<IncidentsDecoder>),
    Table(Box<TableDecoder>),
}

impl DecoderSettings {
    pub(super) fn incidents(source: &config::Source, keeps_ids: bool) -> Self {
        let mapping = SourceMapping::new(source);
        Self::Incidents(Arc::new(if keeps_ids { mapping.keeping_ids() } else { mapping }))
    }

    pub(super) fn table(table: &config::Table) -> Self {
        Self::Table(Arc::new(table.clone()))
    }

    pub(super) fn decoder(&self) -> Decoder {
        match self {
            Self::Incidents(mapping) => {
                Decoder::Incidents(Box::new(IncidentsDecoder::new(Arc::clone(mapping))))
            }
            Self::Table(table) => Decoder::Table(Box::new(TableDecoder::new(table))),
        }
    }
}

impl Decoder {
    /// Adds a page, or a file that is one JSON document.
    pub(super) fn add_page(&mut self, body: Bytes) -> Result<PageEnd, DecodeError> {
        match self {
            Self::Incidents(decoder) => decoder.add_page(body),
            Self::Table(decoder) => decoder.add_page(body),
        }
    }

    /// Adds records of one line each.
    pub(super) fn add_lines(&mut self, lines: &[u8]) -> Result<PageEnd, DecodeError> {
        match self {
            Self::Incidents(decoder) => decoder.add_lines(lines),
            Self::Table(decoder) => decoder.add_lines(lines),
        }
    }

    /// The whole answer.
    pub(super) fn finish(self) -> Batch {
        match self {
            Self::Incidents(decoder) => Batch::Incidents(Arc::new(decoder.finish())),
            Self::Table(decoder) => Batch::Identities(Arc::new(decoder.finish())),
        }
    }
}
