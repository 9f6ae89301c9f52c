//! Reads the records of a mapped source into envelopes.

use std::ops::ControlFlow;

use super::envelope::RECORD_MEMBER;
use super::error::DecodeError;
use super::identity_keys::{CleanedValue, IdentityKeys};
use super::incidents::Incidents;
use super::list_reader::Row;
use super::offset;
use super::record::{IDENTITY_KEYS, NO_PRIORITY, NOT_AN_OBJECT, Record};
use super::record_ids::{LastCopies, RecordIds, append_part};
use super::timestamp_range::TimestampRange;
use super::unmapped::{NOT_UNMAPPED, UnmappedValues};
use super::walk::TOO_LARGE;
use crate::config;
use crate::json::{Found, Path, ValueKind};
use crate::mapping::{
    IdentityKind, Priority, PriorityMapping, PriorityRule, TimestampMapping, TimestampRule,
};

/// Microseconds in a second.
const MICROS_PER_SECOND: i64 = 1_000_000;

/// How the records of a mapped source are read, compiled. Paths are known by their positions
/// among those that [`RecordMapping::new`] returns.
#[derive(Debug)]
pub(super) struct RecordMapping {
    id: Vec<usize>,
    priority: PriorityMapping,
    priority_at: Vec<usize>,
    timestamp: TimestampRule,
    timestamp_at: Vec<usize>,
    identity: Vec<(Vec<usize>, IdentityKind)>,
    title: Vec<usize>,
    url: Vec<usize>,
    /// Whether ids are kept: for a merge with later records, or for the store.
    pub(super) keeps_ids: bool,
}

impl RecordMapping {
    /// Compiles a source's mapping; returns it with the paths that it reads.
    pub(super) fn new(source: &config::Source) -> (Self, Vec<Path>) {
        let mut paths: Vec<Path> = Vec::new();
        let mut position = |path: &Path| {
            paths.push(path.clone());
            paths.len() - 1
        };
        let mut positions = |paths: &[Path]| paths.iter().map(&mut position).collect::<Vec<_>>();
        let priority = source.priority.clone().unwrap_or_else(|| {
            PriorityMapping::new(vec![Path::name("priority")], PriorityRule::names(), None)
                .expect("there is a path")
        });
        let timestamp = source.timestamp.clone().unwrap_or_else(|| TimestampMapping {
            at: vec![Path::name("timestamp")],
            rule: TimestampRule::default(),
        });
        let mapping = Self {
            id: positions(&source.id),
            priority_at: positions(priority.at()),
            priority,
            timestamp_at: positions(&timestamp.at),
            timestamp: timestamp.rule,
            title: positions(&source.title),
            url: positions(&source.url),
            identity: source
                .identity
                .iter()
                .map(|entry| (positions(&entry.at), entry.kind.unwrap_or(IdentityKind::Auto)))
                .collect(),
            keeps_ids: source.incremental.is_some(),
        };
        (mapping, paths)
    }
}

/// The envelopes of a mapped source's records so far, and what the records say.
#[derive(Debug, Default)]
pub(super) struct MappedRecords {
    /// One envelope after the other.
    pub(super) body: Vec<u8>,
    pub(super) records: Vec<Record>,
    pub(super) keys: IdentityKeys,
    pub(super) unmapped: UnmappedValues,
    pub(super) ids: RecordIds,
    last_copies: LastCopies,
    /// The indices of records that a later copy replaces.
    replaced: Vec<u32>,
    /// Buffers that are used again for each record.
    id_key: Vec<u8>,
    key_list: Vec<u32>,
}

impl MappedRecords {
    /// Reserves memory for the envelopes of a page. Large capacities are multiples of a huge page,
    /// because only then does the system use huge pages; with small pages, page faults would cost
    /// as much as decoding.
    pub(super) fn reserve(&mut self, page_bytes: usize) {
        const HUGE_PAGE_BYTES: usize = 2 << 20;
        let expected = self.body.len() + page_bytes + page_bytes / 4;
        if expected <= self.body.capacity() {
            return;
        }
        let capacity = expected.max(2 * self.body.capacity());
        let capacity = if capacity < HUGE_PAGE_BYTES / 2 {
            capacity
        } else {
            capacity.next_multiple_of(HUGE_PAGE_BYTES)
        };
        self.body.reserve_exact(capacity - self.body.len());
    }

    /// A fault if positions do not fit into 32 bits.
    pub(super) fn check_size(&self) -> Result<(), DecodeError> {
        let largest = self.body.len().max(self.ids.size_bytes());
        if u32::try_from(largest).is_ok() { Ok(()) } else { Err(TOO_LARGE.into()) }
    }

    /// Appends a record's envelope.
    pub(super) fn add(&mut self, mapping: &RecordMapping, row: &Row<'_>) {
        let start = self.body.len();
        let mut record = Record {
            timestamp: f64::NAN,
            start: offset(start),
            length: 0,
            identity: 0,
            priority: NO_PRIORITY,
            flags: 0,
            unmapped: NOT_UNMAPPED,
        };
        self.body.push(b'{');
        if row.is_object() {
            self.priority(mapping, row, &mut record);
            self.timestamp(mapping, row, &mut record);
            self.identity(mapping, row, &mut record);
            self.id(mapping, row);
            self.text_member("title", &mapping.title, row);
            self.text_member("url", &mapping.url, row);
        } else {
            record.flags |= NOT_AN_OBJECT;
            if !mapping.id.is_empty() {
                self.ids.push(None);
            }
        }
        self.body.push(b'"');
        self.body.extend_from_slice(RECORD_MEMBER.as_bytes());
        self.body.extend_from_slice(b"\":");
        self.body.extend_from_slice(row.bytes());
        self.body.push(b'}');
        record.length = offset(self.body.len() - start);
        self.records.push(record);
    }

    fn priority(&mut self, mapping: &RecordMapping, row: &Row<'_>, record: &mut Record) {
        let value = first_held(&mapping.priority_at, row);
        let mapped = value.and_then(|value| mapping.priority.map(value.kind, value.raw));
        if let Some(value) = value
            && mapped.is_none()
        {
            record.unmapped = self.unmapped.note(value);
        }
        let Some(priority) = mapped.or(mapping.priority.default_priority()) else { return };
        record.priority = priority as u8;
        let member: &[u8] = match priority {
            Priority::Low => b"\"priority\":\"low\",",
            Priority::Medium => b"\"priority\":\"medium\",",
            Priority::High => b"\"priority\":\"high\",",
            Priority::Critical => b"\"priority\":\"critical\",",
        };
        self.body.extend_from_slice(member);
    }

    fn timestamp(&mut self, mapping: &RecordMapping, row: &Row<'_>, record: &mut Record) {
        let micros = first_held(&mapping.timestamp_at, row)
            .and_then(|value| mapping.timestamp.read(value.kind, value.raw));
        let Some(micros) = micros else { return };
        record.timestamp = seconds(micros);
        // Valid times are after 1970.
        let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        self.body.extend_from_slice(b"\"timestamp\":");
        self.body.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
        // One second is added, so that the fraction keeps its leading zeros, and its digit is cut.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(MICROS_PER_SECOND + fraction).as_bytes();
        self.body.push(b'.');
        self.body.extend_from_slice(&digits[1..]);
        self.body.push(b',');
    }

    fn identity(&mut self, mapping: &RecordMapping, row: &Row<'_>, record: &mut Record) {
        let Self { keys, key_list, .. } = self;
        key_list.clear();
        let mut has_identity = false;
        for (paths, kind) in &mapping.identity {
            has_identity |= paths.iter().any(|path| {
                let mut holds_something = false;
                let _ = row.visit_held(*path, &mut |value| {
                    let cleaned = keys.clean(*kind, value);
                    holds_something |= cleaned != CleanedValue::Nothing;
                    if let CleanedValue::Key(key) = cleaned {
                        key_list.push(key);
                    }
                    ControlFlow::<()>::Continue(())
                });
                holds_something
            });
        }
        if has_identity {
            record.flags |= IDENTITY_KEYS;
            record.identity = keys.list(key_list);
        }
    }

    /// Notes the record's id and appends it to the envelope, if the record has one: if each of its
    /// parts is a string or a number.
    fn id(&mut self, mapping: &RecordMapping, row: &Row<'_>) {
        if mapping.id.is_empty() {
            return;
        }
        let Self { body, id_key, .. } = self;
        let start = body.len();
        id_key.clear();
        let mut separator: &[u8] = b"\"id\":\"";
        let is_whole = mapping.id.iter().all(|path| {
            row.first_held(*path).is_some_and(|part| {
                body.extend_from_slice(separator);
                separator = b"/";
                body.extend_from_slice(spelled_text(part).unwrap_or_default());
                append_part(id_key, part)
            })
        });
        if is_whole {
            body.extend_from_slice(b"\",");
        } else {
            body.truncate(start);
        }
        self.ids.push(is_whole.then_some(id_key.as_slice()));
        self.replaced.extend(self.last_copies.note_last(&self.ids));
    }

    /// Appends a member that is always a string, if the first value that holds something is a
    /// string or a number.
    fn text_member(&mut self, name: &str, paths: &[usize], row: &Row<'_>) {
        let Some(text) = first_held(paths, row).and_then(spelled_text) else { return };
        self.body.push(b'"');
        self.body.extend_from_slice(name.as_bytes());
        self.body.extend_from_slice(b"\":\"");
        self.body.extend_from_slice(text);
        self.body.extend_from_slice(b"\",");
    }

    /// The records without the copies that were replaced.
    pub(super) fn finish(self, keeps_ids: bool) -> Incidents {
        let Self { mut body, mut records, keys, unmapped, mut ids, mut replaced, .. } = self;
        let duplicates = replaced.len();
        if duplicates > 0 {
            replaced.sort_unstable();
            let is_kept = |record: usize| {
                u32::try_from(record).is_ok_and(|record| replaced.binary_search(&record).is_err())
            };
            ids.retain(is_kept);
            let mut index = 0;
            records.retain(|_| {
                index += 1;
                is_kept(index - 1)
            });
        }
        body.shrink_to_fit();
        records.shrink_to_fit();
        ids.shrink_to_fit();
        let (keys, key_lists) = keys.into_lists();
        Incidents {
            body: body.into(),
            timestamps: TimestampRange::of(&records),
            unmapped: unmapped.counts(&records),
            records,
            keys,
            key_lists,
            duplicates,
            unmapped_values: unmapped,
            is_mapped: true,
            ids: keeps_ids.then_some(ids),
            ..Incidents::default()
        }
    }
}

/// Microseconds since the epoch as seconds. Different valid times of mapped records stay different.
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / MICROS_PER_SECOND as f64
}

/// The first value that holds something, of the first path that leads to one.
fn first_held<'a>(paths: &[usize], row: &Row<'a>) -> Option<Found<'a>> {
    paths.iter().find_map(|path| row.first_held(*path))
}

/// What stands between the quotes of a string with the value's text: a string as spelled, or a
/// number.
fn spelled_text(value: Found<'_>) -> Option<&[u8]> {
    match value.kind {
        ValueKind::Number => Some(value.raw.as_bytes()),
        ValueKind::String => Some(&value.raw.as_bytes()[1..value.raw.len() - 1]),
        ValueKind::Other => None,
    }
}
