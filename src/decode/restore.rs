//! Decodes records again that were decoded before and kept one by one.

use std::sync::Arc;

use bytes::Bytes;

use super::decoder::{IncidentsDecoder, SourceMapping};
use super::envelope::enveloped;
use super::error::DecodeError;
use super::incidents::Incidents;
use crate::json::JsonError;

/// What stands around the records of a plain source.
const PLAIN_START: &[u8] = b"{\"results\":[";
const PLAIN_END: &[u8] = b"]}";

const NOT_ONE_RECORD: JsonError = JsonError { offset: 0, fault: "not one record" };

impl Incidents {
    /// The records that have these bytes, in this order; the bytes are as those of
    /// [`Incidents::bytes`]. Each of `records` becomes one record, unless another has the same id.
    ///
    /// What an answer says beside its records is not in them, so it has to be given: whether there
    /// are more records than it has, and how many copies were dropped.
    ///
    /// # Errors
    ///
    /// When one of `records` is not what the mapping makes of a record.
    pub fn restored<'a>(
        mapping: &Arc<SourceMapping>,
        records: impl Iterator<Item = &'a [u8]> + Clone,
        is_truncated: bool,
        duplicates: usize,
    ) -> Result<Self, DecodeError> {
        let (mut count, mut size) = (0, 0);
        for record in records.clone() {
            count += 1;
            size += record.len() + 1;
        }
        let mut decoder = IncidentsDecoder::new(Arc::clone(mapping));
        if mapping.is_plain() {
            let mut body = Vec::with_capacity(PLAIN_START.len() + size + PLAIN_END.len());
            body.extend_from_slice(PLAIN_START);
            for (index, record) in records.enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(record);
            }
            body.extend_from_slice(PLAIN_END);
            let end = decoder.add_page(Bytes::from(body))?;
            // Bytes such as `1,2` would be two.
            if end.records != count {
                return Err(NOT_ONE_RECORD.into());
            }
        } else {
            let records = records.map(|envelope| enveloped(envelope).ok_or(NOT_ONE_RECORD));
            decoder.add_records(records, size)?;
        }
        let incidents = decoder.finish();
        Ok(Self { is_truncated, duplicates, ..incidents })
    }
}
