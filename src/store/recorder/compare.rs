//! Compares the records of a refresh with those that are stored.

use hashbrown::hash_table::Entry;
use hashbrown::{HashSet, HashTable};

use crate::decode::offset;
use crate::store::{SequenceItem, StableId, Version};

/// A current record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StoredEntry {
    pub(super) id: StableId,
    /// The digest of its bytes, priority and time.
    pub(super) content: u128,
    /// The digest of its attribution.
    pub(super) attribution: u64,
    pub(super) version: Version,
}

const _: () = assert!(size_of::<StoredEntry>() == 48);

const NOT_WRITTEN: StoredEntry =
    StoredEntry { id: StableId([0; 16]), content: 0, attribution: 0, version: Version(0) };

/// A record of a refresh.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordDigests {
    pub(super) content: u128,
    pub(super) attribution: u64,
    /// Whether a stored record keeps its attribution, because identities are unavailable.
    pub(super) keeps_attribution: bool,
}

/// How the records of a refresh differ from the stored ones.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The indices of the records that are new, have returned or have changed.
    pub(super) upserts: Vec<(usize, StableId)>,
    /// The versions of records that are no longer current.
    pub(super) left: Vec<Version>,
    /// Whether the order of the records has changed, or one of them is repeated more or less often.
    is_reordered: bool,
    /// All records, in the order of the refresh. Those that are to be upserted have no version.
    entries: Vec<StoredEntry>,
    /// The index of each record that is to be upserted, and that of its upsert.
    upserted: Vec<(u32, u32)>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.left.is_empty() && !self.is_reordered
    }

    /// All records of the source, in the order of the refresh.
    pub(super) fn sequence(&self) -> Vec<SequenceItem> {
        let stored = self.entries.iter().map(|entry| SequenceItem::Stored(entry.version));
        let mut sequence: Vec<SequenceItem> = stored.collect();
        for (record, upsert) in &self.upserted {
            sequence[*record as usize] = SequenceItem::Upsert(*upsert as usize);
        }
        sequence
    }

    /// The records as they are stored once the difference is written.
    pub(super) fn into_entries(mut self, first_version: Version) -> Vec<StoredEntry> {
        for (record, upsert) in self.upserted {
            self.entries[record as usize].version =
                Version(first_version.0.saturating_add(i64::from(upsert)));
        }
        self.entries
    }
}

/// Stored entries by the digest of their content.
struct ByContent<'a> {
    stored: &'a [StoredEntry],
    table: HashTable<u32>,
}

impl<'a> ByContent<'a> {
    fn new(stored: &'a [StoredEntry]) -> Self {
        let mut table = HashTable::with_capacity(stored.len());
        let content = |index: u32| stored[index as usize].content;
        for (entry, index) in stored.iter().zip(0..) {
            let is_equal = |known: &u32| content(*known) == entry.content;
            let vacant = table.entry(hash(entry.content), is_equal, |known| hash(content(*known)));
            vacant.or_insert(index);
        }
        Self { stored, table }
    }

    fn find(&self, content: u128) -> Option<usize> {
        let is_equal = |known: &u32| self.stored[*known as usize].content == content;
        self.table.find(hash(content), is_equal).map(|index| *index as usize)
    }
}

/// Half of a digest, which needs no hashing.
#[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
fn hash(content: u128) -> u64 {
    content as u64
}

/// Half of an id, which is a digest, too.
fn id_hash(id: StableId) -> u64 {
    hash(u128::from_le_bytes(id.0))
}

/// Marks a record without a stored entry of the same content.
const NOT_STORED: u32 = u32::MAX;

/// Compares `count` records of a refresh with the stored entries. `digests` and `id` are called
/// with the index of a record. `are_ids_comparable` says that records of the same content have the
/// same id as when they were stored; otherwise the id of each record is computed.
pub(super) fn compare(
    stored: &[StoredEntry],
    count: usize,
    are_ids_comparable: bool,
    digests: impl Fn(usize) -> RecordDigests,
    id: impl Fn(usize) -> StableId,
) -> Difference {
    let mut matches = Vec::with_capacity(count);
    let mut is_present = vec![false; stored.len()];
    let mut upserts = Upserts::default();
    let mut by_content = None;
    let mut next = 0;
    for record in 0..count {
        let RecordDigests { content, attribution, keeps_attribution } = digests(record);
        let found = match stored.get(next) {
            Some(entry) if entry.content == content => Some(next),
            // Most records are at the next position, so the table is often not needed.
            _ => by_content.get_or_insert_with(|| ByContent::new(stored)).find(content),
        };
        let mut known_id = None;
        if let Some(found) = found {
            next = found + 1;
            let entry = &stored[found];
            let is_same_id = are_ids_comparable || *known_id.insert(id(record)) == entry.id;
            if is_same_id && (keeps_attribution || attribution == entry.attribution) {
                is_present[found] = true;
                matches.push(offset(found));
                continue;
            }
            if is_same_id {
                known_id = Some(entry.id);
            }
        }
        matches.push(NOT_STORED);
        upserts.add(record, known_id.unwrap_or_else(|| id(record)));
    }
    // What is stored of the records that are to be upserted.
    let mut before: Vec<Option<&StoredEntry>> = vec![None; upserts.list.len()];
    if !upserts.list.is_empty() {
        let mut contested = Vec::new();
        for (index, entry) in stored.iter().enumerate() {
            let Some(upsert) = upserts.find(entry.id) else { continue };
            before[upsert as usize] = Some(entry);
            if std::mem::replace(&mut is_present[index], true) {
                contested.push((offset(index), upsert));
            }
        }
        for (index, upsert) in contested {
            upserts.take_over(&mut matches, index, upsert);
        }
    }
    let versions = stored.iter().map(|entry| Some(entry.version));
    let found = |found: &u32| stored.get(*found as usize);
    let is_reordered = !matches.iter().map(|index| Some(found(index)?.version)).eq(versions);
    let mut entries: Vec<StoredEntry> =
        matches.iter().map(|index| found(index).copied().unwrap_or(NOT_WRITTEN)).collect();
    for (record, upsert) in &upserts.records {
        let (last, id) = upserts.list[*upsert as usize];
        let RecordDigests { content, mut attribution, keeps_attribution } = digests(last);
        if keeps_attribution && let Some(before) = before[*upsert as usize] {
            attribution = before.attribution;
        }
        entries[*record as usize] = StoredEntry { id, content, attribution, ..NOT_WRITTEN };
    }
    let left = left(stored, &is_present);
    Difference { upserts: upserts.list, left, is_reordered, entries, upserted: upserts.records }
}

/// The versions of entries that are not present at any of their positions, ascending.
fn left(stored: &[StoredEntry], is_present: &[bool]) -> Vec<Version> {
    let entries = || stored.iter().zip(is_present);
    let absent = entries().filter(|(_, is_present)| !**is_present);
    let mut left: HashSet<Version> = absent.map(|(entry, _)| entry.version).collect();
    if left.is_empty() {
        return Vec::new();
    }
    for (entry, _) in entries().filter(|(_, is_present)| **is_present) {
        left.remove(&entry.version);
    }
    let mut left: Vec<Version> = left.into_iter().collect();
    left.sort_unstable();
    left
}

/// The records that are to be upserted, each stable id once.
#[derive(Default)]
struct Upserts {
    /// The last record with each id.
    list: Vec<(usize, StableId)>,
    /// Indices of `list`.
    by_id: HashTable<u32>,
    /// The index of each record, and that of its upsert.
    records: Vec<(u32, u32)>,
}

impl Upserts {
    /// Adds a record. Of several with the same id, the last one counts.
    fn add(&mut self, record: usize, id: StableId) {
        let list = &mut self.list;
        let entry = self.by_id.entry(
            id_hash(id),
            |known| list[*known as usize].1 == id,
            |known| id_hash(list[*known as usize].1),
        );
        let upsert = match entry {
            Entry::Occupied(known) => {
                list[*known.get() as usize].0 = record;
                *known.get()
            }
            Entry::Vacant(vacant) => {
                let upsert = offset(list.len());
                vacant.insert(upsert);
                list.push((record, id));
                upsert
            }
        };
        self.records.push((offset(record), upsert));
    }

    fn find(&self, id: StableId) -> Option<u32> {
        let is_equal = |known: &u32| self.list[*known as usize].1 == id;
        self.by_id.find(id_hash(id), is_equal).copied()
    }

    /// Adds the records that match a stored entry to an upsert with the same id: one id has one
    /// content.
    fn take_over(&mut self, matches: &mut [u32], entry: u32, upsert: u32) {
        for (record, found) in matches.iter_mut().enumerate().filter(|(_, found)| **found == entry)
        {
            *found = NOT_STORED;
            self.records.push((offset(record), upsert));
            let last = &mut self.list[upsert as usize].0;
            *last = record.max(*last);
        }
    }
}

#[cfg(test)]
mod tests;
