//! Writes batches of records as the receiver of a forward reads them.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use reqwest::Url;

use crate::config::{Batch as BatchLimits, Forward};
use crate::render::open_sent_row;
use crate::store::HistoryRow;

/// Writes the batches of one forward.
#[derive(Clone, Debug)]
pub struct Encoder {
    limits: BatchLimits,
}

/// The body of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// What is sent.
    pub body: Bytes,
    /// How many records it has: the leading ones of those that were given.
    pub records: usize,
}

impl Encoder {
    /// The encoder of a forward. `public_url` is where people reach the pages.
    #[must_use]
    pub fn new(forward: &Forward, _public_url: Option<&Url>) -> Self {
        Self { limits: forward.batch }
    }

    /// The media type of its bodies.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static("application/x-ndjson")
    }

    /// Writes a body of as many of the leading rows as the limits of a batch allow: at least one,
    /// however large. There is at least one row.
    #[must_use]
    pub fn encode(&self, rows: &[HistoryRow], _sent_at: SystemTime) -> Batch {
        let mut body = Vec::new();
        let mut records = 0;
        for row in rows.iter().take(self.limits.max_records.max(1)) {
            let end = body.len();
            open_sent_row(&mut body, row);
            body.extend_from_slice(b"}\n");
            if records > 0 && body.len() > self.limits.max_bytes {
                body.truncate(end);
                break;
            }
            records += 1;
        }
        Batch { body: body.into(), records }
    }
}
