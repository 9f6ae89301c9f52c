//! A record in the store.

use std::fmt;
use std::ops::Range;

use ring::digest::{Context, SHA256};

use crate::decode::{Incidents, Priority};
use crate::hex;
use crate::join::Reason;

/// The number of a content of a record. It is the primary key of a record's row: a record whose
/// bytes, employee, priority, time or reason change gets a new version, and a version is never used
/// again. What a process has read of a version therefore stays valid.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version(pub i64);

/// The runs of versions that follow each other, each by its first and its last, in ascending order.
/// The versions are sorted for that; a version may be there more than once.
pub(super) fn runs(versions: &mut [Version]) -> impl Iterator<Item = (Version, Version)> {
    versions.sort_unstable();
    let runs = versions.chunk_by(|left, right| right.0.saturating_sub(left.0) <= 1);
    runs.map(|run| (run[0], run[run.len() - 1]))
}

/// The stable id of a record: a digest of its source's name, and of its id or, without one, of its
/// bytes as the source sent them. It does not depend on the process, the store or the time.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StableId(pub [u8; 16]);

impl StableId {
    /// The id of a record with an id of its own, which the decoder has made one key of.
    #[must_use]
    pub fn of_id(source: &str, key: &[u8]) -> Self {
        Self::digest(source, b"id", key)
    }

    /// The id of a record without one.
    #[must_use]
    pub fn of_bytes(source: &str, bytes: &[u8]) -> Self {
        Self::digest(source, b"bytes", bytes)
    }

    /// Appends the digits that it is displayed as.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(hex::digits(self.0).as_flattened());
    }

    /// The id of the record with this index. The ids of the records must have been kept.
    #[must_use]
    pub fn of(source: &str, incidents: &Incidents, record: usize) -> Self {
        match incidents.id_key(record) {
            Some(key) => Self::of_id(source, key),
            None => Self::of_bytes(source, incidents.raw(&incidents.records()[record])),
        }
    }

    fn digest(source: &str, kind: &[u8], value: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [source.as_bytes(), kind] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.update(value);
        let mut id = [0; 16];
        id.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(id)
    }
}

impl fmt::Display for StableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::digits(self.0);
        digits.as_flattened().iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for StableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record that is new, has returned, or has another content than the stored one.
///
/// If a record with this id is stored, it keeps its number and `first_seen`, unless it gets its
/// first employee, or again one after it had none: then it takes a new number. With the reason
/// [`Reason::IdentitiesUnavailable`], it also keeps its employee and its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsert {
    /// Its stable id.
    pub id: StableId,
    /// Its bytes: of a mapped source, in their envelope.
    pub bytes: bytes::Bytes,
    /// Its employee.
    pub employee_id: Option<Box<str>>,
    /// Its priority, if it is valid.
    pub priority: Option<Priority>,
    /// Its time in seconds since the epoch, if it is valid.
    pub timestamp: Option<f64>,
    /// Why it has no employee.
    pub reason: Option<Reason>,
}

/// A stored record, borrowed from a [`RecordChunk`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredRecord<'a> {
    /// Its version.
    pub version: Version,
    /// Its stable id.
    pub id: StableId,
    /// Its bytes, as in [`Upsert::bytes`].
    pub bytes: &'a [u8],
    /// Its employee.
    pub employee_id: Option<&'a str>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Its time in seconds since the epoch.
    pub timestamp: Option<f64>,
    /// Why it has no employee.
    pub reason: Option<Reason>,
}

/// Stored records. Their bytes and employees are in one buffer, because there may be many.
#[derive(Debug, Default)]
pub struct RecordChunk {
    buffer: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    version: Version,
    id: StableId,
    bytes: Range<usize>,
    employee_id: Option<Range<usize>>,
    priority: Option<Priority>,
    timestamp: Option<f64>,
    reason: Option<Reason>,
}

impl RecordChunk {
    /// Appends a record.
    pub fn push(&mut self, record: StoredRecord<'_>) {
        let mut append = |part: &[u8]| {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(part);
            start..self.buffer.len()
        };
        let bytes = append(record.bytes);
        let employee_id = record.employee_id.map(|id| append(id.as_bytes()));
        let StoredRecord { version, id, priority, timestamp, reason, .. } = record;
        self.rows.push(Row { version, id, bytes, employee_id, priority, timestamp, reason });
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many bytes their bytes and employees have together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The bytes of the record at this index, in the order in which they were appended.
    ///
    /// # Panics
    ///
    /// When there is no such record.
    #[must_use]
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.buffer[self.rows[index].bytes.clone()]
    }

    /// The records, in the order in which they were appended.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = StoredRecord<'_>> {
        self.rows.iter().map(|row| StoredRecord {
            version: row.version,
            id: row.id,
            bytes: &self.buffer[row.bytes.clone()],
            employee_id: row.employee_id.clone().map(|id| {
                std::str::from_utf8(&self.buffer[id]).expect("it was appended as a string")
            }),
            priority: row.priority,
            timestamp: row.timestamp,
            reason: row.reason,
        })
    }
}
