//! The records of an incident source.

use std::borrow::Cow;

use bytes::Bytes;

use super::employee_text;
use super::envelope::enveloped;
use super::identity_keys::{IdentityKey, KeyLists};
use super::interned_values::InternedValue;
use super::record::Record;
use super::record_ids::RecordIds;
use super::timestamp_range::TimestampRange;
use super::unmapped::UnmappedValues;

/// The records of an incident source in upstream order, and the body of which they are parts.
///
/// The body of a plain source is its only page, unchanged, or all pages, one after the other. That
/// of a mapped source has an envelope for each record.
#[derive(Debug, Default)]
pub struct Incidents {
    pub(super) body: Bytes,
    pub(super) records: Vec<Record>,
    pub(super) timestamps: TimestampRange,
    pub(super) other_values: Vec<InternedValue>,
    pub(super) keys: Vec<IdentityKey>,
    pub(super) key_lists: KeyLists,
    /// Whether each record stands in an envelope.
    pub(super) is_mapped: bool,
    pub(super) is_truncated: bool,
    pub(super) duplicates: usize,
    pub(super) unmapped_values: UnmappedValues,
    pub(super) unmapped: Vec<(String, usize)>,
    /// The records' ids, if they are kept.
    pub(super) ids: Option<RecordIds>,
}

impl Incidents {
    /// Whether the only page of a plain source says that there are more records than it has: its
    /// member `next` names a further page, or its `count` is greater than the number of records.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The range of the records' timestamps.
    #[must_use]
    pub fn timestamps(&self) -> TimestampRange {
        self.timestamps
    }

    /// The records in upstream order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// A record's bytes: unchanged, or in the envelope of a mapped source.
    #[must_use]
    #[inline]
    pub fn bytes(&self, record: &Record) -> &[u8] {
        record.span().of(&self.body)
    }

    /// A record's bytes as its source sent them.
    #[must_use]
    pub fn raw(&self, record: &Record) -> &[u8] {
        let bytes = self.bytes(record);
        if self.is_mapped { enveloped(bytes).unwrap_or(bytes) } else { bytes }
    }

    /// The key of the id of the record with this index, if it has an id and ids are kept
    /// ([`SourceMapping::keeping_ids`](super::SourceMapping::keeping_ids)). Keys of a source's
    /// records are equal only if their ids are.
    #[must_use]
    pub fn id_key(&self, record: usize) -> Option<&[u8]> {
        self.ids.as_ref()?.key(record)
    }

    /// The whole body; the records' spans are parts of it.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The distinct identity values that are neither small numbers nor IPv4 addresses; their
    /// position is the index in [`super::IdentityValue::Other`]. A number is as spelled, a string
    /// is unescaped, and `None` is a string that is not Unicode text.
    pub fn other_identities(&self) -> impl ExactSizeIterator<Item = Option<Cow<'_, str>>> {
        self.other_values.iter().map(|value| {
            let bytes = value.span.of(&self.body);
            // The whole body is UTF-8, and values start and end with ASCII characters.
            employee_text(value.kind, std::str::from_utf8(bytes).ok()?)
        })
    }

    /// The distinct identity values of mapped records, cleaned up.
    #[must_use]
    pub fn keys(&self) -> &[IdentityKey] {
        &self.keys
    }

    /// The positions in [`Self::keys`] of the identity values of records whose identity is
    /// [`super::IdentityValue::Keys`] with this index, in order of precedence. An empty list means
    /// that there are values, but none of its kind.
    #[must_use]
    pub fn key_list(&self, index: usize) -> &[u32] {
        self.key_lists.get(index)
    }

    /// How many copies of records were dropped because a later one had the same id, in what was
    /// fetched last.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// The first distinct priority values that map to nothing, cut to a bounded length, and how
    /// many of the records have each.
    #[must_use]
    pub fn unmapped(&self) -> &[(String, usize)] {
        &self.unmapped
    }
}
