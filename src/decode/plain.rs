//! Reads the records of a plain source, whose members have fixed names.
#![expect(clippy::inline_always, reason = "called for every record, as in the scanner")]

use super::fields::{Member, MemberRole, SourceFields};
use super::interned_values::InternedValues;
use super::record::{
    HAS_EMPLOYEE_ID, HAS_TYPE, IDENTITY, IDENTITY_NUMBER, IDENTITY_OTHER, IDENTITY_V4,
    MAX_ID_BYTES, NO_PRIORITY, NOT_AN_OBJECT, Record,
};
use super::timestamp_range::TimestampRange;
use super::unmapped::{NOT_UNMAPPED, UnmappedValues};
use super::walk::RecordSink;
use super::{offset, unescape};
use crate::json::window::Prefix;
use crate::json::{JsonError, Scanner, Value, ValueKind, swar};
use crate::mapping::Priority;

/// For each of a record's first members, the bytes before its value, such as `,"priority": `, and
/// the member's role. The records of a source repeat these bytes exactly, so one comparison usually
/// replaces parsing a name and looking it up.
#[derive(Default)]
struct RecordLayout([Option<(Prefix, MemberRole)>; 8]);

/// How many more records than expected memory is reserved for.
const SPARE_RECORDS: usize = 64;

/// What was read of the records of a plain source so far.
#[derive(Default)]
pub(super) struct PlainRecords {
    pub(super) records: Vec<Record>,
    pub(super) other_values: InternedValues,
    pub(super) unmapped: UnmappedValues,
    pub(super) timestamps: TimestampRange,
    layout: RecordLayout,
}

/// Reads the records of one page.
pub(super) struct PlainReader<'a> {
    pub(super) fields: &'a SourceFields,
    pub(super) read: &'a mut PlainRecords,
}

impl RecordSink for PlainReader<'_> {
    #[inline(always)]
    fn record(&mut self, scanner: &mut Scanner<'_>, _depth: usize) -> Result<(), JsonError> {
        let record = self.next_record(scanner)?;
        self.read.timestamps.include(record.timestamp);
        if self.read.records.len() == self.read.records.capacity() {
            self.reserve_records(scanner.position(), scanner.bytes().len());
        }
        self.read.records.push(record);
        Ok(())
    }
}

impl PlainReader<'_> {
    /// Reserves memory for the remaining records, assuming the average length of those so far.
    #[cold]
    fn reserve_records(&mut self, read_bytes: usize, body_bytes: usize) {
        let remaining_bytes = (body_bytes - read_bytes) as f64;
        let expected = self.read.records.len() as f64 * remaining_bytes / read_bytes as f64;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate that is less than the body's length"
        )]
        self.read.records.reserve_exact((expected * 1.02) as usize + SPARE_RECORDS);
    }

    #[inline(always)]
    fn next_record(&mut self, scanner: &mut Scanner<'_>) -> Result<Record, JsonError> {
        let start = scanner.position();
        let mut record = Record {
            timestamp: f64::NAN,
            start: offset(start),
            length: 0,
            identity: 0,
            priority: NO_PRIORITY,
            flags: 0,
            unmapped: NOT_UNMAPPED,
        };
        if scanner.peek() == b'{' {
            self.members(scanner, &mut record)?;
        } else {
            scanner.value(2)?;
            record.flags = NOT_AN_OBJECT;
        }
        record.length = offset(scanner.position() - start);
        Ok(record)
    }

    #[inline(always)]
    fn members(&mut self, scanner: &mut Scanner<'_>, record: &mut Record) -> Result<(), JsonError> {
        let mut identity_rank = usize::MAX;
        for index in 0.. {
            let role = match self.read.layout.0.get(index) {
                Some(Some((prefix, role))) if scanner.accept_prefix(prefix) => *role,
                _ if index > 0 && scanner.accept(b'}') => return Ok(()),
                _ => match scanner.on_copy(|scanner| self.next_member(scanner, index))? {
                    Some(role) => role,
                    None => return Ok(()),
                },
            };
            // There may be more whitespace than in the record whose layout is remembered.
            scanner.skip_whitespace();
            // The last of several members with the same name counts, as in most JSON parsers.
            let value = match role.fixed {
                Some(Member::Priority) => priority(scanner, record, &mut self.read.unmapped)?,
                Some(Member::Timestamp) => timestamp(scanner, record)?,
                Some(Member::Type) => {
                    record.flags |= HAS_TYPE;
                    scanner.value(3)?
                }
                Some(Member::EmployeeId) => {
                    record.flags |= HAS_EMPLOYEE_ID;
                    scanner.value(3)?
                }
                None => scanner.value(3)?,
            };
            if let Some(rank) = role.identity_rank
                && rank <= identity_rank
            {
                identity_rank = rank;
                self.identity(scanner.bytes(), value, record);
            }
        }
        Ok(())
    }

    /// Reads up to the value of a record's next member, and remembers the bytes before the value in
    /// the layout; `None` when the record ends.
    #[cold]
    fn next_member(
        &mut self,
        scanner: &mut Scanner<'_>,
        index: usize,
    ) -> Result<Option<MemberRole>, JsonError> {
        let start = scanner.position();
        if index == 0 {
            scanner.expect(b'{', "expected an object")?;
            scanner.skip_whitespace();
            if scanner.accept(b'}') {
                return Ok(None);
            }
        } else {
            scanner.skip_whitespace();
            if scanner.accept(b'}') {
                return Ok(None);
            }
            scanner.expect(b',', "expected a comma or a closing brace")?;
            scanner.skip_whitespace();
        }
        let name = scanner.name()?;
        scanner.skip_whitespace();
        let role = unescape(name).map_or(MemberRole::default(), |name| self.fields.role(&name));
        if let Some(remembered) = self.read.layout.0.get_mut(index) {
            let prefix = Prefix::new(&scanner.bytes()[start..scanner.position()]);
            *remembered = prefix.map(|prefix| (prefix, role));
        }
        Ok(Some(role))
    }

    #[inline(always)]
    fn identity(&mut self, body: &[u8], value: Value, record: &mut Record) {
        let (start, end) = match value.kind {
            ValueKind::Number => (value.start, value.end),
            ValueKind::String => (value.start + 1, value.end - 1),
            ValueKind::Other => {
                record.flags &= !IDENTITY;
                return;
            }
        };
        let (kind, identity) = if let Some(number) = swar::small_number_at(body, start, end) {
            (IDENTITY_NUMBER, number)
        } else if let Some(address) = swar::v4(body, start, end) {
            (IDENTITY_V4, address)
        } else if end - start <= MAX_ID_BYTES || is_short_when_unescaped(body, value) {
            (
                IDENTITY_OTHER,
                self.read.other_values.intern(body, value.kind, value.start, value.end),
            )
        } else {
            record.flags &= !IDENTITY;
            return;
        };
        record.flags = record.flags & !IDENTITY | kind;
        record.identity = identity;
    }
}

/// Whether an identity value whose spelling is longer than [`MAX_ID_BYTES`] is not when unescaped.
#[cold]
fn is_short_when_unescaped(body: &[u8], value: Value) -> bool {
    // The longest escape of a one-byte character, such as `\u0061`, has six bytes.
    const MAX_SPELLED_BYTES: usize = 6 * MAX_ID_BYTES;
    let spelled = value.start + 1..value.end - 1;
    value.kind == ValueKind::String
        && spelled.len() <= MAX_SPELLED_BYTES
        && std::str::from_utf8(&body[spelled])
            .ok()
            .and_then(unescape)
            .is_some_and(|text| text.len() <= MAX_ID_BYTES)
}

/// Reads the value of `priority`.
#[inline(always)]
fn priority(
    scanner: &mut Scanner<'_>,
    record: &mut Record,
    unmapped: &mut UnmappedValues,
) -> Result<Value, JsonError> {
    const SPELLINGS: [Prefix; 4] = [
        Prefix::new(b"\"low\"").unwrap(),
        Prefix::new(b"\"medium\"").unwrap(),
        Prefix::new(b"\"high\"").unwrap(),
        Prefix::new(b"\"critical\"").unwrap(),
    ];
    let start = scanner.position();
    // The low three bits of the first letter tell the names apart, so one comparison replaces four
    // that branch prediction cannot help with.
    let likely = match scanner.bytes().get(start + 1).copied().unwrap_or_default() & 7 {
        0 => Priority::High,
        3 => Priority::Critical,
        4 => Priority::Low,
        _ => Priority::Medium,
    };
    if scanner.accept_prefix(&SPELLINGS[likely as usize]) {
        record.priority = likely as u8;
        record.unmapped = NOT_UNMAPPED;
        return Ok(Value { kind: ValueKind::String, start, end: scanner.position() });
    }
    let value = scanner.value(3)?;
    let name = if value.kind == ValueKind::String {
        unescape(scanner.text(value.start + 1, value.end - 1)?)
    } else {
        None
    };
    let named = name.and_then(|name| Priority::from_name(&name));
    record.priority = named.map_or(NO_PRIORITY, |priority| priority as u8);
    record.unmapped = match named {
        Some(_) => NOT_UNMAPPED,
        None => value.found(scanner.bytes()).map_or(NOT_UNMAPPED, |found| unmapped.note(found)),
    };
    Ok(value)
}

/// Reads the value of `timestamp`.
#[inline(always)]
fn timestamp(scanner: &mut Scanner<'_>, record: &mut Record) -> Result<Value, JsonError> {
    if !matches!(scanner.peek(), b'-' | b'0'..=b'9') {
        record.timestamp = f64::NAN;
        return scanner.value(3);
    }
    let start = scanner.position();
    let end = scanner.number()?;
    let seconds = scanner.text(start, end)?.parse().unwrap_or(f64::NAN);
    // Adding zero turns -0 into 0, so that equal times compare equal bit by bit.
    record.timestamp = if f64::is_finite(seconds) { seconds + 0.0 } else { f64::NAN };
    Ok(Value { kind: ValueKind::Number, start, end })
}
