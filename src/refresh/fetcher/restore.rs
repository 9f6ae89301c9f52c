//! Makes the last good data of a source from what a store has kept of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::decoder::DecoderSettings;
use super::files::MAX_CSV_GROWTH;
use super::{FetchMemory, FetchedBatch};
use crate::config::Origin;
use crate::decode::Incidents;
use crate::identity::IdentityTable;
use crate::refresh::Batch;
use crate::refresh::stored_records::StoredRecords;
use crate::snapshot::ResumeTimes;
use crate::store::SourceReport;

/// How many times as large as its body a table may be: an IPv6 address has 16 bytes, and as few as
/// two as text.
const MAX_TABLE_GROWTH: u64 = 4;

/// What a table may have beyond that, because its body may be small.
const TABLE_OVERHEAD_BYTES: u64 = 64 << 10;

/// What a store has kept of a source.
#[derive(Debug)]
pub enum StoredContent {
    /// The records of an incident source.
    Records(StoredRecords),
    /// The bytes of an identity table.
    Table(Vec<u8>),
}

/// How a source's stored data is decoded.
#[derive(Clone, Debug)]
pub(super) struct Restorer {
    decoder: DecoderSettings,
    /// The most bytes of all records together, as the source sent them.
    max_bytes: u64,
}

impl Restorer {
    pub(super) fn new(decoder: DecoderSettings, origin: &Origin, max_body: u64) -> Self {
        // A row of CSV is kept as an object, which has the names of all columns.
        let growth = match origin {
            Origin::Http(_) => 1,
            Origin::File(_) => MAX_CSV_GROWTH,
        };
        Self { decoder, max_bytes: max_body.saturating_mul(growth) }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Takes as long as decoding an answer. The error says why the data cannot be used.
    pub(super) fn restore(
        &self,
        content: &StoredContent,
        report: &SourceReport,
    ) -> Result<FetchedBatch, String> {
        let batch = match (&self.decoder, content) {
            (DecoderSettings::Incidents(mapping), StoredContent::Records(records)) => {
                let bytes = records.iter();
                let (truncated, duplicates) = (report.truncated, report.duplicates);
                let incidents = Incidents::restored(mapping, bytes, truncated, duplicates);
                Batch::Incidents(Arc::new(incidents.map_err(|error| error.to_string())?))
            }
            (DecoderSettings::Table(_), StoredContent::Table(bytes)) => {
                let max_bytes = self.max_bytes.saturating_mul(MAX_TABLE_GROWTH);
                let max_bytes = max_bytes.saturating_add(TABLE_OVERHEAD_BYTES);
                let table = IdentityTable::from_bytes(bytes, max_bytes);
                Batch::Identities(Arc::new(table.map_err(|error| error.to_string())?))
            }
            _ => return Err("it is no longer what it was: records, or a table".to_owned()),
        };
        let memory = Arc::new(report.resume.map(FetchMemory::resuming).unwrap_or_default());
        let pages = report.pages;
        Ok(FetchedBatch { batch, pages, duration: Duration::ZERO, memory })
    }
}

impl FetchMemory {
    /// The memory of a fetch with these times.
    pub(super) fn resuming(times: ResumeTimes) -> Self {
        let second = |second| Timestamp::from_second(second).ok();
        Self { now: second(times.now), full_at: second(times.full_at), ..Self::default() }
    }

    /// From when on the next fetch of an incremental source asks.
    pub(in crate::refresh) fn resume(&self) -> Option<ResumeTimes> {
        let (now, full_at) = (self.now?.as_second(), self.full_at?.as_second());
        Some(ResumeTimes { now, full_at })
    }
}
