//! The answer of an incident source: `{"results":[…]}`.
#![expect(clippy::inline_always, reason = "called for every record, as in the scanner")]

use std::borrow::Cow;

use bytes::Bytes;

use super::fields::{Member, MemberRole, SourceFields};
use super::interned_values::{InternedValue, InternedValues};
use super::record::{
    HAS_EMPLOYEE_ID, HAS_TYPE, IDENTITY, IDENTITY_NUMBER, IDENTITY_OTHER, IDENTITY_V4,
    MAX_ID_BYTES, NO_PRIORITY, NOT_AN_OBJECT, Record,
};
use super::timestamp_range::TimestampRange;
use super::{DecodeError, Priority, document, employee_text, offset, unescape};
use crate::json::window::Prefix;
use crate::json::{JsonError, Scanner, Value, ValueKind, swar};

/// An incident source's whole answer: the body, and its records in upstream order.
#[derive(Debug)]
pub struct Incidents {
    body: Bytes,
    records: Vec<Record>,
    timestamps: TimestampRange,
    other_values: Vec<InternedValue>,
    is_truncated: bool,
}

impl Incidents {
    /// Decodes `{"results":[…]}`. Other members of the document are skipped, except for those that
    /// may say that there are more records; see [`Self::is_truncated`].
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, or
    /// does not have exactly one array `results`.
    pub fn decode(body: Bytes, fields: &SourceFields) -> Result<Self, DecodeError> {
        let mut reader = Reader {
            fields,
            other_values: InternedValues::default(),
            records: Vec::new(),
            timestamps: TimestampRange::EMPTY,
            layout: RecordLayout::default(),
            has_next: false,
            count: None,
        };
        document(&body, |scanner| reader.document(scanner))?;
        let is_truncated = reader.is_truncated();
        let Reader { other_values, records, timestamps, .. } = reader;
        Ok(Self { body, records, timestamps, other_values: other_values.into_list(), is_truncated })
    }

    /// Whether the document says that there are more records than it has: its member `next` names a
    /// further page, or its `count` is greater than the number of records.
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

    /// A record's bytes, unchanged.
    #[must_use]
    #[inline]
    pub fn bytes(&self, record: &Record) -> &[u8] {
        record.span().of(&self.body)
    }

    /// The whole body.
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
}

/// For each of a record's first members, the bytes before its value, such as `,"priority": `, and
/// the member's role. The records of a source repeat these bytes exactly, so one comparison usually
/// replaces parsing a name and looking it up.
#[derive(Default)]
struct RecordLayout([Option<(Prefix, MemberRole)>; 8]);

/// How many more records than expected memory is reserved for.
const SPARE_RECORDS: usize = 64;

struct Reader<'a> {
    fields: &'a SourceFields,
    other_values: InternedValues,
    records: Vec<Record>,
    timestamps: TimestampRange,
    layout: RecordLayout,
    has_next: bool,
    /// The document's member `count`, if it is a number.
    count: Option<f64>,
}

impl Reader<'_> {
    fn document(&mut self, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
        let mut has_results = false;
        scanner.object("expected an object with `results`", |scanner, name| {
            // The last of several members with the same name counts; a second `results` is a fault.
            match unescape(name).as_deref() {
                Some("results") => {
                    if std::mem::replace(&mut has_results, true) {
                        return scanner.fault("a second `results`");
                    }
                    *scanner = self.results(*scanner)?;
                }
                Some("next") => {
                    let value = scanner.value(1)?;
                    let text = scanner.text(value.start, value.end)?;
                    self.has_next = !matches!(text, "null" | "false" | "\"\"");
                }
                Some("count") => {
                    let value = scanner.value(1)?;
                    let text = scanner.text(value.start, value.end)?;
                    self.count = text.parse().ok().filter(|_| value.kind == ValueKind::Number);
                }
                _ => drop(scanner.value(1)?),
            }
            Ok(())
        })?;
        if has_results {
            Ok(())
        } else {
            Err(JsonError { offset: 0, fault: "no `results` in the document" })
        }
    }

    fn is_truncated(&self) -> bool {
        self.has_next || self.count.is_some_and(|count| count > self.records.len() as f64)
    }

    /// Reads the array of records. The scanner is passed by value so that its position stays in a
    /// register.
    fn results<'a>(&mut self, mut scanner: Scanner<'a>) -> Result<Scanner<'a>, JsonError> {
        scanner.expect(b'[', "`results` is no array")?;
        scanner.skip_whitespace();
        if scanner.accept(b']') {
            return Ok(scanner);
        }
        loop {
            let record = self.record(&mut scanner)?;
            self.timestamps.include(record.timestamp);
            if self.records.len() == self.records.capacity() {
                self.reserve_records(scanner.position(), scanner.bytes().len());
            }
            self.records.push(record);
            scanner.skip_whitespace();
            if scanner.accept(b']') {
                return Ok(scanner);
            }
            scanner.expect(b',', "expected a comma or a closing bracket")?;
            scanner.skip_whitespace();
        }
    }

    /// Reserves memory for the remaining records, assuming the average length of those so far.
    #[cold]
    fn reserve_records(&mut self, read_bytes: usize, body_bytes: usize) {
        let remaining_bytes = (body_bytes - read_bytes) as f64;
        let expected = self.records.len() as f64 * remaining_bytes / read_bytes as f64;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate that is less than the body's length"
        )]
        self.records.reserve_exact((expected * 1.02) as usize + SPARE_RECORDS);
    }

    #[inline(always)]
    fn record(&mut self, scanner: &mut Scanner<'_>) -> Result<Record, JsonError> {
        let start = scanner.position();
        let mut record = Record {
            timestamp: f64::NAN,
            start: offset(start),
            length: 0,
            identity: 0,
            priority: NO_PRIORITY,
            flags: 0,
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
            let role = match self.layout.0.get(index) {
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
                Some(Member::Priority) => priority(scanner, record)?,
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
        if let Some(remembered) = self.layout.0.get_mut(index) {
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
            (IDENTITY_OTHER, self.other_values.intern(body, value.kind, value.start, value.end))
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
fn priority(scanner: &mut Scanner<'_>, record: &mut Record) -> Result<Value, JsonError> {
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
