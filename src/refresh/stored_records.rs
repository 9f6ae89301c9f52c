//! The records of a source as a store has kept them, in the order of the source.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::decode::Incidents;
use crate::store::{RecordChunk, Version};
#[cfg(test)]
use crate::store::{StableId, StoredRecord};

/// The records of a source as a store has kept them, in the order of the source. Those that the
/// data in hand has were not read again.
#[derive(Debug)]
pub struct StoredRecords {
    held: Option<HeldRecords>,
    chunks: Vec<RecordChunk>,
    places: Vec<Place>,
}

/// Data in hand whose versions in the store are known.
#[derive(Clone, Debug)]
pub(super) struct HeldRecords {
    pub(super) incidents: Arc<Incidents>,
    /// The version of each record.
    pub(super) versions: Arc<[Version]>,
}

/// Where the bytes of a record are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The index of the record in the data in hand.
    Held(u32),
    /// The chunk, and the index in it.
    Read(u32, u32),
}

impl StoredRecords {
    /// The records with these versions; returns with them the versions that there are. A version
    /// that is neither in hand nor in `chunks` was deleted.
    pub(super) fn new(
        sequence: &[Version],
        held: Option<HeldRecords>,
        chunks: Vec<RecordChunk>,
    ) -> (Self, Vec<Version>) {
        let held_records = held.as_ref().map_or(0, |held| held.versions.len());
        let read_records: usize = chunks.iter().map(RecordChunk::len).sum();
        let mut known = HashMap::with_capacity(held_records + read_records);
        if let Some(held) = &held {
            known.extend(held.versions.iter().copied().zip((0..).map(Place::Held)));
        }
        for (chunk, number) in chunks.iter().zip(0..) {
            let read = chunk.iter().zip(0..);
            known.extend(read.map(|(record, index)| (record.version, Place::Read(number, index))));
        }
        let there = |version: &Version| Some((*known.get(version)?, *version));
        let (places, versions) = sequence.iter().filter_map(there).unzip();
        (Self { held, chunks, places }, versions)
    }

    /// Records with these bytes.
    #[cfg(test)]
    pub(super) fn of_bytes<'a>(records: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut chunk = RecordChunk::default();
        for (bytes, number) in records.zip(0..) {
            let (version, id) = (Version(number), StableId::of_bytes("", bytes));
            let (employee_id, priority, timestamp, reason) = (None, None, None, None);
            chunk.push(StoredRecord {
                version,
                id,
                bytes,
                employee_id,
                priority,
                timestamp,
                reason,
            });
        }
        let sequence: Vec<Version> = chunk.iter().map(|record| record.version).collect();
        Self::new(&sequence, None, vec![chunk]).0
    }

    /// The bytes of the records: of a mapped source, in their envelopes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.places.iter().map(|place| match *place {
            Place::Held(record) => {
                let held = self.held.as_ref().expect("such places are in held data");
                held.incidents.bytes(&held.incidents.records()[record as usize])
            }
            Place::Read(chunk, index) => self.chunks[chunk as usize].bytes(index as usize),
        })
    }
}
