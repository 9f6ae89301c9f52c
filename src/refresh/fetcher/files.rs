//! Reads and decodes the files of a source.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr_iter;
use tokio::time::Instant;

use super::decoder::{Decoder, DecoderSettings};
use super::{FetchMemory, FetchedBatch, HeldBatch};
use crate::background::spawn_cpu_bound;
use crate::decode::DecodeError;
use crate::files::{self, FileError, FileFormat, csv};
use crate::outcome::Outcome;
use crate::upstream::{FileMetrics, UpstreamError};

/// A byte order mark.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Rows of CSV are decoded when their objects have this many bytes.
const CSV_CHUNK_BYTES: usize = 1 << 20;

/// How many times `max_body` the rows of a CSV file may have as JSON objects, each of which repeats
/// the names of all columns.
pub(super) const MAX_CSV_GROWTH: u64 = 8;

/// A source in files.
#[derive(Debug)]
pub(super) struct FileSource {
    pub(super) pattern: String,
    pub(super) decoder: DecoderSettings,
    /// The most bytes of all files together, decompressed.
    pub(super) max_body: u64,
    pub(super) metrics: FileMetrics,
}

impl FileSource {
    pub(super) async fn fetch(
        self: Arc<Self>,
        held: Option<HeldBatch>,
    ) -> Result<FetchedBatch, UpstreamError> {
        let started = Instant::now();
        let source = Arc::clone(&self);
        let read = spawn_cpu_bound(move || source.read(held.as_ref()));
        let result = read.await.unwrap_or_else(|_| {
            Err(FileError::new("reading the files failed; this is a fault of the gateway"))
        });
        let duration = started.elapsed();
        let result = result.map(|fetched| FetchedBatch { duration, ..fetched }).map_err(|error| {
            let kind = if error.is_too_large { Outcome::TooLarge } else { Outcome::File };
            UpstreamError::new(kind, error.detail)
        });
        let outcome = result.as_ref().map_or_else(|error| error.kind, |_| Outcome::Ok);
        self.metrics.record(outcome, duration);
        result
    }

    /// Reads the files, unless they are unchanged since the held data was read.
    fn read(&self, held: Option<&HeldBatch>) -> Result<FetchedBatch, FileError> {
        let found = files::find(&self.pattern)?;
        if let Some(held) = held.filter(|held| held.memory.files == found) {
            let HeldBatch { batch, memory } = held.clone();
            let (pages, duration) = (found.len(), Duration::ZERO);
            return Ok(FetchedBatch { batch, pages, duration, memory });
        }
        let mut decoder = self.decoder.decoder();
        let mut left = self.max_body;
        for file in &found {
            let path = file.path.display();
            let Some((format, compression)) = FileFormat::of(&file.path) else {
                let detail = format!(
                    "{path} has no known format; its name must end in .json, .ndjson, .jsonl or \
                     .csv, each also with .gz or .zst"
                );
                return Err(FileError::new(detail));
            };
            let content = files::read(file, compression, left)?;
            left -= content.len() as u64;
            add(&mut decoder, format, content, self.max_body)
                .map_err(|fault| FileError::new(format!("{path}: {fault}")))?;
        }
        if let Some(changed) = found.iter().find(|file| !files::is_unchanged(file)) {
            let detail = format!("{} changed while it was read", changed.path.display());
            return Err(FileError::new(detail));
        }
        let pages = found.len();
        let memory = Arc::new(FetchMemory { files: found, ..FetchMemory::default() });
        let (batch, duration) = (decoder.finish(), Duration::ZERO);
        Ok(FetchedBatch { batch, pages, duration, memory })
    }
}

/// Decodes a file. The error says where the fault is.
fn add(
    decoder: &mut Decoder,
    format: FileFormat,
    content: Bytes,
    max_body: u64,
) -> Result<(), String> {
    match format {
        FileFormat::Json => {
            decoder.add_page(content).map_err(|error| error.to_string())?;
        }
        FileFormat::Lines => {
            let lines = content.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(&content);
            decoder.add_lines(lines).map_err(|error| in_line(&error, lines))?;
        }
        FileFormat::Csv => {
            let text = std::str::from_utf8(&content).map_err(|error| {
                let line = line_of(&content, error.valid_up_to());
                format!("line {line}: invalid UTF-8")
            })?;
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            let mut rows = csv::Objects::new(text).map_err(|error| error.to_string())?;
            let mut json = String::new();
            let mut left = max_body.saturating_mul(MAX_CSV_GROWTH);
            let mut is_more = true;
            while is_more {
                is_more = rows.write_next(&mut json).map_err(|error| error.to_string())?;
                if json.len() >= CSV_CHUNK_BYTES || !is_more {
                    left = left.checked_sub(json.len() as u64).ok_or_else(|| {
                        format!(
                            "with the names of their columns the rows are more than \
                             {MAX_CSV_GROWTH} times as large as upstream.max_body; shorten the \
                             names, or split the file"
                        )
                    })?;
                    decoder.add_lines(json.as_bytes()).map_err(|error| error.to_string())?;
                    json.clear();
                }
            }
        }
    }
    Ok(())
}

fn in_line(error: &DecodeError, lines: &[u8]) -> String {
    match error {
        DecodeError::Json(error) => {
            format!("line {}: {}", line_of(lines, error.offset), error.fault)
        }
        DecodeError::Answer(error) => error.to_string(),
    }
}

/// The line, from 1, that has this byte.
fn line_of(text: &[u8], offset: usize) -> usize {
    memchr_iter(b'\n', &text[..offset.min(text.len())]).count() + 1
}
