//! An incident endpoint's answer: `{"results":[…]}`.
#![expect(clippy::inline_always, reason = "the steps of a record's loop, as in the scanner")]

use std::borrow::Cow;

use bytes::Bytes;

use super::record::{
    HAS_EMPLOYEE_ID, HAS_TYPE, IDENTITY, IDENTITY_NUMBER, IDENTITY_OTHER, IDENTITY_V4, NO_PRIORITY,
    NOT_AN_OBJECT, Priority, Record,
};
use super::scanner::{Number, Scalar, Scanner, Value};
use super::times::Times;
use super::tokens::{Token, Tokens};
use super::window::Prefix;
use super::{DecodeError, document, employee_text, offset, swar, unescape};

/// What the decoder must know about a source: which fields may name the employee, in order of
/// precedence.
#[derive(Clone, Debug)]
pub struct SourceFields {
    identity: Box<[String]>,
}

impl SourceFields {
    /// The names as configured, unescaped.
    #[must_use]
    pub fn new(identity: &[String]) -> Self {
        Self { identity: identity.into() }
    }

    fn members(&self, name: &str) -> Members {
        let rank = self.identity.iter().position(|field| field == name);
        Members { fixed: Member::from_name(name), identity: rank }
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

/// What one member name means for a source.
#[derive(Clone, Copy)]
struct Members {
    fixed: Option<Member>,
    identity: Option<usize>,
}

/// An incident endpoint's whole answer: the body, and its records in upstream order.
#[derive(Debug)]
pub struct Incidents {
    body: Bytes,
    records: Vec<Record>,
    times: Times,
    tokens: Vec<Token>,
}

impl Incidents {
    /// Reads `{"results":[…]}`; other members of the document are skipped.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, or
    /// has not exactly one array `results`.
    pub fn decode(body: Bytes, fields: &SourceFields) -> Result<Self, DecodeError> {
        let mut reader = Reader {
            fields,
            tokens: Tokens::default(),
            records: Vec::new(),
            times: Times::NONE,
            shape: Shape::default(),
        };
        document(&body, |scanner| reader.document(scanner))?;
        let Reader { tokens, records, times, .. } = reader;
        Ok(Self { body, records, times, tokens: tokens.into_list() })
    }

    /// The valid timestamps of its records.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
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
        self.tokens.iter().map(|token| {
            let bytes = token.span.of(&self.body);
            // The whole body was checked to be UTF-8, and tokens begin and end at ASCII characters.
            employee_text(token.kind, std::str::from_utf8(bytes).ok()?)
        })
    }
}

/// What leads to each value of a record: all between the value before, or the record's begin, and
/// this one. Records of one source repeat it, down to the spaces.
#[derive(Default)]
struct Shape([Option<(Prefix, Members)>; 8]);

/// How many records there is room for before anything is known of their length.
const ROOM: usize = 64;

struct Reader<'a> {
    fields: &'a SourceFields,
    tokens: Tokens,
    records: Vec<Record>,
    times: Times,
    shape: Shape,
}

impl Reader<'_> {
    fn document(&mut self, scanner: &mut Scanner<'_>) -> Result<(), DecodeError> {
        let mut found = false;
        scanner.expect(b'{', "expected an object with `results`")?;
        scanner.skip_whitespace();
        if !scanner.accept(b'}') {
            loop {
                let name = scanner.name()?;
                scanner.skip_whitespace();
                if unescape(name).is_some_and(|name| name == "results") {
                    if std::mem::replace(&mut found, true) {
                        return scanner.fault("a second `results`");
                    }
                    *scanner = self.results(*scanner)?;
                } else {
                    scanner.value(1)?;
                }
                scanner.skip_whitespace();
                if scanner.accept(b'}') {
                    break;
                }
                scanner.expect(b',', "expected a comma or a closing brace")?;
                scanner.skip_whitespace();
            }
        }
        if found {
            Ok(())
        } else {
            Err(DecodeError { offset: 0, fault: "no `results` in the document" })
        }
    }

    /// Reads the records, and returns where they end.
    fn results<'a>(&mut self, mut scanner: Scanner<'a>) -> Result<Scanner<'a>, DecodeError> {
        scanner.expect(b'[', "`results` is no array")?;
        scanner.skip_whitespace();
        if scanner.accept(b']') {
            return Ok(scanner);
        }
        loop {
            let record = self.record(&mut scanner)?;
            self.times.note(record.timestamp);
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

    /// Makes room for as many records as are to come if they are as long as those before, and a few
    /// more.
    #[cold]
    fn make_room(&mut self, read: usize, all: usize) {
        let expected = self.records.len() as f64 * (all - read) as f64 / read as f64;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, less than the body's bytes"
        )]
        self.records.reserve_exact((expected * 1.02) as usize + ROOM);
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
            let members = match self.shape.0.get(index) {
                Some(Some((lead, members))) if scanner.accept_prefix(lead) => *members,
                _ if index > 0 && scanner.accept(b'}') => return Ok(()),
                _ => match scanner.apart(|scanner| self.lead(scanner, index))? {
                    Some(members) => members,
                    None => return Ok(()),
                },
            };
            // There may be whitespace that the record before had not.
            scanner.skip_whitespace();
            // Of members with the same name the last counts, as in most JSON readers.
            let value = match members.fixed {
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
            if let Some(rank) = members.identity
                && rank <= identity_rank
            {
                identity_rank = rank;
                self.identity(scanner.bytes(), value, record);
            }
        }
        Ok(())
    }

    /// Reads up to a member's value, and remembers what led there for the next record; `None` when
    /// the record ends.
    #[cold]
    fn lead(
        &mut self,
        scanner: &mut Scanner<'_>,
        index: usize,
    ) -> Result<Option<Members>, DecodeError> {
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
        let members = match unescape(name) {
            Some(name) => self.fields.members(&name),
            None => Members { fixed: None, identity: None },
        };
        if let Some(place) = self.shape.0.get_mut(index) {
            *place = Prefix::new(&scanner.bytes()[start..scanner.position()])
                .map(|lead| (lead, members));
        }
        Ok(Some(members))
    }

    #[inline(always)]
    fn identity(&mut self, body: &[u8], value: Value, record: &mut Record) {
        let (start, end) = match value.kind {
            Scalar::Number => (value.start, value.end),
            Scalar::String => (value.start + 1, value.end - 1),
            Scalar::Other => {
                record.flags &= !IDENTITY;
                return;
            }
        };
        let (kind, identity) = if let Some(number) = swar::small_number(body, start, end) {
            (IDENTITY_NUMBER, number)
        } else if let Some(address) = swar::v4(body, start, end) {
            (IDENTITY_V4, address)
        } else {
            (IDENTITY_OTHER, self.tokens.intern(body, value.kind, value.start, value.end))
        };
        record.flags = record.flags & !IDENTITY | kind;
        record.identity = identity;
    }
}

/// A member's value, and the priority that it names.
#[inline(always)]
fn priority(scanner: &mut Scanner<'_>, record: &mut Record) -> Result<Value, DecodeError> {
    const SPELLED: [Prefix; 4] = [
        Prefix::new(b"\"low\"").unwrap(),
        Prefix::new(b"\"medium\"").unwrap(),
        Prefix::new(b"\"high\"").unwrap(),
        Prefix::new(b"\"critical\"").unwrap(),
    ];
    let start = scanner.position();
    // One comparison instead of four whose outcome no processor could foresee: the names differ in
    // three bits.
    let likely = match scanner.bytes().get(start + 1).copied().unwrap_or_default() & 7 {
        0 => Priority::High,
        3 => Priority::Critical,
        4 => Priority::Low,
        _ => Priority::Medium,
    };
    if scanner.accept_prefix(&SPELLED[likely as usize]) {
        record.priority = likely as u8;
        return Ok(Value { kind: Scalar::String, start, end: scanner.position() });
    }
    let value = scanner.value(3)?;
    let name = if value.kind == Scalar::String {
        unescape(scanner.text(value.start + 1, value.end - 1)?)
    } else {
        None
    };
    let named = name.and_then(|name| Priority::from_name(&name));
    record.priority = named.map_or(NO_PRIORITY, |priority| priority as u8);
    Ok(value)
}

/// A member's value, and the time that it states.
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
    Ok(Value { kind: Scalar::Number, start, end })
}
