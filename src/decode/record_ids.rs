//! The ids of mapped records, by which copies are found.

use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::offset;
use super::record::Span;
use crate::json::{Found, ValueKind};

/// The ids of records, by the records' indices.
#[derive(Debug, Default)]
pub(super) struct RecordIds {
    /// The keys of all ids.
    bytes: Vec<u8>,
    /// The key of each record's id; empty for a record without an id.
    spans: Vec<Span>,
}

impl RecordIds {
    /// The key of a record's id, if it has one.
    pub(super) fn key(&self, record: usize) -> Option<&[u8]> {
        let span = self.spans.get(record).filter(|span| span.length > 0)?;
        Some(span.of(&self.bytes))
    }

    /// Adds the id of the next record.
    pub(super) fn push(&mut self, key: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.spans.push(Span { start: offset(start), length: offset(self.bytes.len() - start) });
    }

    /// Keeps the ids of the records for which `is_kept` returns true.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(usize) -> bool) {
        let mut index = 0;
        self.spans.retain(|_| {
            index += 1;
            is_kept(index - 1)
        });
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.spans.shrink_to_fit();
    }
}

/// The last record with each id.
#[derive(Debug, Default)]
pub(super) struct LastCopies {
    records: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl LastCopies {
    /// Notes the last of the records in `ids`; returns the record before it that has the same id.
    pub(super) fn note_last(&mut self, ids: &RecordIds) -> Option<u32> {
        let record = ids.spans.len() - 1;
        let key = ids.key(record)?;
        let key_of = |record: u32| ids.key(record as usize);
        let entry = self.records.entry(
            self.hasher.hash_one(key),
            |&known| key_of(known) == Some(key),
            |&known| self.hasher.hash_one(key_of(known).unwrap_or_default()),
        );
        match entry {
            Entry::Occupied(mut known) => Some(std::mem::replace(known.get_mut(), offset(record))),
            Entry::Vacant(vacant) => {
                vacant.insert(offset(record));
                None
            }
        }
    }
}

/// Appends a part of an id to a key, so that keys are equal only if all parts are. Returns whether
/// the part is a string or a number.
pub(super) fn append_part(key: &mut Vec<u8>, part: Found<'_>) -> bool {
    /// Marks parts that are no Unicode text, which are compared as spelled.
    const AS_SPELLED: u64 = 1 << 63;
    let (text, mark) = match (part.kind, part.text()) {
        (ValueKind::Other, _) => return false,
        (_, Some(text)) => (text, 0),
        (_, None) => (part.raw.into(), AS_SPELLED),
    };
    key.extend_from_slice(&(text.len() as u64 | mark).to_le_bytes());
    key.extend_from_slice(text.as_bytes());
    true
}
