//! Writes batches of records as the receiver of a forward reads them.
//!
//! Records are bytes of a database. Whatever they are, a body is one whole document, or one whole
//! document a line, and has each record once, in the given order.

mod alertmanager;
mod cloudevents;
mod elasticsearch;
mod ndjson;
mod splunk;
mod tags;
mod time;

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use reqwest::Url;

use self::alertmanager::Alertmanager;
use self::cloudevents::CloudEvents;
use self::elasticsearch::Elasticsearch;
use self::ndjson::Ndjson;
use self::splunk::Splunk;
use crate::config::{self, Forward, ForwardFormat};
use crate::store::HistoryRow;

/// About how many bytes a record has in a body beside its own; for reserving memory.
const FRAME_BYTES: usize = 400;

/// Writes the batches of one forward.
#[derive(Clone, Debug)]
pub struct Encoder {
    limits: config::Batch,
    format: Format,
}

/// The body of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// What is sent.
    pub body: Bytes,
    /// How many records it has: the leading ones of those that were given.
    pub records: usize,
}

#[derive(Clone, Debug)]
enum Format {
    Ndjson(Ndjson),
    CloudEvents(CloudEvents),
    Splunk(Splunk),
    Elasticsearch(Elasticsearch),
    Alertmanager(Alertmanager),
}

/// What is around and between the records of a body.
struct Frame {
    open: &'static str,
    separator: &'static str,
    close: &'static str,
}

const ARRAY: Frame = Frame { open: "[", separator: ",", close: "]" };
const STREAM: Frame = Frame { open: "", separator: "", close: "" };

impl Encoder {
    /// The encoder of a forward. `public_url` is where people reach the pages.
    #[must_use]
    pub fn new(forward: &Forward, public_url: Option<&Url>) -> Self {
        let tags = &forward.tags;
        let format = match forward.format {
            ForwardFormat::Ndjson => Format::Ndjson(Ndjson::new(tags)),
            ForwardFormat::CloudEvents => Format::CloudEvents(CloudEvents::new(tags)),
            ForwardFormat::SplunkHec => Format::Splunk(Splunk::new(tags)),
            ForwardFormat::Elasticsearch => Format::Elasticsearch(Elasticsearch::new(tags)),
            ForwardFormat::Alertmanager { active_for } => {
                Format::Alertmanager(Alertmanager::new(tags, active_for, public_url))
            }
        };
        Self { limits: forward.batch, format }
    }

    /// The media type of its bodies.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.format {
            Format::Ndjson(_) | Format::Elasticsearch(_) => "application/x-ndjson",
            Format::CloudEvents(_) => "application/cloudevents-batch+json",
            Format::Splunk(_) | Format::Alertmanager(_) => "application/json",
        })
    }

    /// Writes a body of as many of the leading rows as the limits of a batch allow: at least one,
    /// however large. There is at least one row.
    #[must_use]
    pub fn encode(&self, rows: &[HistoryRow], sent_at: SystemTime) -> Batch {
        match &self.format {
            Format::Ndjson(format) => self.batch(rows, &STREAM, |out, row| format.write(out, row)),
            Format::CloudEvents(format) => {
                self.batch(rows, &ARRAY, |out, row| format.write(out, row))
            }
            Format::Splunk(format) => self.batch(rows, &STREAM, |out, row| format.write(out, row)),
            Format::Elasticsearch(format) => {
                self.batch(rows, &STREAM, |out, row| format.write(out, row))
            }
            Format::Alertmanager(format) => {
                let active = format.active(sent_at);
                self.batch(rows, &ARRAY, |out, row| format.write(out, row, &active))
            }
        }
    }

    fn batch(
        &self,
        rows: &[HistoryRow],
        frame: &Frame,
        write: impl Fn(&mut Vec<u8>, &HistoryRow),
    ) -> Batch {
        let rows = &rows[..rows.len().min(self.limits.max_records.max(1))];
        let max_bytes = self.limits.max_bytes;
        let expected: usize = rows.iter().map(|row| row.bytes.len() + FRAME_BYTES).sum();
        let mut body = Vec::with_capacity(expected.min(max_bytes));
        let mut records = 0;
        body.extend_from_slice(frame.open.as_bytes());
        for row in rows {
            let end = body.len();
            if records > 0 {
                body.extend_from_slice(frame.separator.as_bytes());
            }
            write(&mut body, row);
            if records > 0 && body.len() + frame.close.len() > max_bytes {
                body.truncate(end);
                break;
            }
            records += 1;
        }
        body.extend_from_slice(frame.close.as_bytes());
        Batch { body: body.into(), records }
    }
}

#[cfg(test)]
mod tests;
