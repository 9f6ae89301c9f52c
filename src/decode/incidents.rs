//! The answer of an incident source: `{"results":[…]}`.
#![expect(clippy::inline_always, reason = "called for every record, as in the scanner")]

use std::borrow::Cow;

use bytes::Bytes;

use super::interned_values::{InternedValue, InternedValues};
use super::record::{
    HAS_EMPLOYEE_ID, HAS_TYPE, IDENTITY, IDENTITY_NUMBER, IDENTITY_OTHER, IDENTITY_V4,
    MAX_ID_BYTES, NO_PRIORITY, NOT_AN_OBJECT, Priority, Record,
};
use super::scanner::{Number, Scanner, Value, ValueKind};
use super::timestamp_range::TimestampRange;
use super::window::Prefix;
use super::{DecodeError, document, employee_text, offset, swar, unescape};

/// The fields of a source's records that may name the employee, in order of precedence.
#[derive(Clone, Debug)]
pub struct SourceFields {
    identity: Box<[String]>,
}

impl SourceFields {
    /// From the configured names, which are compared with those of members after unescaping.
    #[must_use]
    pub fn new(identity: &[String]) -> Self {
        Self { identity: identity.into() }
    }

    fn role(&self, name: &str) -> MemberRole {
        let rank = self.identity.iter().position(|field| field == name);
        MemberRole { fixed: Member::from_name(name), identity_rank: rank }
    }
}

/// A member of a record that the gateway reads or writes itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Member {
    /// `priority`
    Priority,
    /// `timestamp`
    Timestamp,
    /// `type`, which the gateway puts first in every record
    Type,
    /// `employee_id`, which the gateway puts second in NDJSON
    EmployeeId,
}

impl Member {
    /// The member of that (unescaped) name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "priority" => Some(Self::Priority),
            "timestamp" => Some(Self::Timestamp),
            "type" => Some(Self::Type),
            "employee_id" => Some(Self::EmployeeId),
            _ => None,
        }
    }
}

/// What a member of a record is to the gateway; both may hold for one name.
#[derive(Clone, Copy, Default)]
struct MemberRole {
    fixed: Option<Member>,
    /// Its precedence among the source's identity fields, 0 the first.
    identity_rank: Option<usize>,
}

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
    /// Reads `{"results":[…]}`. Of the document's other members only those are read that may say
    /// that there are more records: [`Self::is_truncated`].
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

    /// The period of its records.
    #[must_use]
    pub fn timestamps(&self) -> TimestampRange {
        self.timestamps
    }

    /// The records in upstream order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// A record's bytes, as they came.
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

    /// The distinct identity values that are neither small numbers nor IPv4 addresses, as
    /// [`super::IdentityValue::Other`] numbers them: a number as spelled, a string unescaped,
    /// `None` for a string that is no Unicode text.
    pub fn other_identities(&self) -> impl ExactSizeIterator<Item = Option<Cow<'_, str>>> {
        self.other_values.iter().map(|value| {
            let bytes = value.span.of(&self.body);
            // The whole body was checked to be UTF-8, and other_values begin and end at ASCII characters.
            employee_text(value.kind, std::str::from_utf8(bytes).ok()?)
        })
    }
}

/// How a record's values are introduced: for each member, all bytes between the previous value (or
/// the begin of the record) and its own, such as `,"priority": `. Records of one source repeat them
/// exactly, so that one comparison usually replaces reading and looking up a name.
#[derive(Default)]
struct RecordLayout([Option<(Prefix, MemberRole)>; 8]);

/// Room for so many records is made beyond those that are expected.
const SPARE_RECORDS: usize = 64;

struct Reader<'a> {
    fields: &'a SourceFields,
    other_values: InternedValues,
    records: Vec<Record>,
    timestamps: TimestampRange,
    layout: RecordLayout,
    has_next: bool,
    /// The document's own count, if it is a number.
    count: Option<f64>,
}

impl Reader<'_> {
    fn document(&mut self, scanner: &mut Scanner<'_>) -> Result<(), DecodeError> {
        let mut has_results = false;
        scanner.object("expected an object with `results`", |scanner, name| {
            // Of members with the same name the last counts, but for `results`.
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
            Err(DecodeError { offset: 0, fault: "no `results` in the document" })
        }
    }

    fn is_truncated(&self) -> bool {
        self.has_next || self.count.is_some_and(|count| count > self.records.len() as f64)
    }

    /// Reads the array of records. The scanner is passed by value, so that its position stays in a
    /// register.
    fn results<'a>(&mut self, mut scanner: Scanner<'a>) -> Result<Scanner<'a>, DecodeError> {
        scanner.expect(b'[', "`results` is no array")?;
        scanner.skip_whitespace();
        if scanner.accept(b']') {
            return Ok(scanner);
        }
        loop {
            let record = self.record(&mut scanner)?;
            self.timestamps.include(record.timestamp);
            if self.records.len() == self.records.capacity() {
                self.make_room(scanner.position(), scanner.bytes().len());
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

    /// Makes room for the records to come, supposing that they are as long as those before.
    #[cold]
    fn make_room(&mut self, read: usize, all: usize) {
        let expected = self.records.len() as f64 * (all - read) as f64 / read as f64;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, less than the body's bytes"
        )]
        self.records.reserve_exact((expected * 1.02) as usize + SPARE_RECORDS);
    }

    #[inline(always)]
    fn record(&mut self, scanner: &mut Scanner<'_>) -> Result<Record, DecodeError> {
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
    fn members(
        &mut self,
        scanner: &mut Scanner<'_>,
        record: &mut Record,
    ) -> Result<(), DecodeError> {
        let mut identity_rank = usize::MAX;
        for index in 0.. {
            let role = match self.layout.0.get(index) {
                Some(Some((lead, role))) if scanner.accept_prefix(lead) => *role,
                _ if index > 0 && scanner.accept(b'}') => return Ok(()),
                _ => match scanner.apart(|scanner| self.lead(scanner, index))? {
                    Some(role) => role,
                    None => return Ok(()),
                },
            };
            // More whitespace than in the record whose layout is remembered.
            scanner.skip_whitespace();
            // Of members with the same name the last counts, as in most JSON readers.
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

    /// Reads up to the value of a record's next member, and remembers the bytes before it for the
    /// records to come; `None` when the record ends.
    #[cold]
    fn lead(
        &mut self,
        scanner: &mut Scanner<'_>,
        index: usize,
    ) -> Result<Option<MemberRole>, DecodeError> {
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
        if let Some(known) = self.layout.0.get_mut(index) {
            let lead = Prefix::new(&scanner.bytes()[start..scanner.position()]);
            *known = lead.map(|lead| (lead, role));
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

/// Whether the text of an identity value has at most [`MAX_ID_BYTES`], though its spelling has more.
#[cold]
fn is_short_when_unescaped(body: &[u8], value: Value) -> bool {
    // An escape of six bytes, `\u0061`, stands for one byte at the least.
    const MAX_SPELLED_BYTES: usize = 6 * MAX_ID_BYTES;
    let spelled = value.start + 1..value.end - 1;
    value.kind == ValueKind::String
        && spelled.len() <= MAX_SPELLED_BYTES
        && std::str::from_utf8(&body[spelled])
            .ok()
            .and_then(unescape)
            .is_some_and(|text| text.len() <= MAX_ID_BYTES)
}

/// Reads a member's value, and the priority that it names.
#[inline(always)]
fn priority(scanner: &mut Scanner<'_>, record: &mut Record) -> Result<Value, DecodeError> {
    const SPELLED: [Prefix; 4] = [
        Prefix::new(b"\"low\"").unwrap(),
        Prefix::new(b"\"medium\"").unwrap(),
        Prefix::new(b"\"high\"").unwrap(),
        Prefix::new(b"\"critical\"").unwrap(),
    ];
    let start = scanner.position();
    // The names differ in three bits of their first letter, so that one comparison is enough instead
    // of four that no processor can predict.
    let likely = match scanner.bytes().get(start + 1).copied().unwrap_or_default() & 7 {
        0 => Priority::High,
        3 => Priority::Critical,
        4 => Priority::Low,
        _ => Priority::Medium,
    };
    if scanner.accept_prefix(&SPELLED[likely as usize]) {
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

/// Reads a member's value, and the time that it states.
#[inline(always)]
fn timestamp(scanner: &mut Scanner<'_>, record: &mut Record) -> Result<Value, DecodeError> {
    if !matches!(scanner.peek(), b'-' | b'0'..=b'9') {
        record.timestamp = f64::NAN;
        return scanner.value(3);
    }
    let Number { start, whole, places, end, plain } = scanner.number()?;
    let seconds = if plain { swar::decimal(scanner.bytes(), start, whole, places) } else { None };
    let seconds = match seconds {
        Some(seconds) => seconds,
        None => scanner.text(start, end)?.parse().unwrap_or(f64::NAN),
    };
    // Adding zero turns -0 into 0, so that equal times compare equal bit by bit.
    record.timestamp = if f64::is_finite(seconds) { seconds + 0.0 } else { f64::NAN };
    Ok(Value { kind: ValueKind::Number, start, end })
}
