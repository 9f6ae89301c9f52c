//! An incident endpoint's answer: `{"results":[…]}`.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::net::Ipv4Addr;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::scanner::{Scalar, Scanner, ShortName, Value};
use super::{DecodeError, employee_text, swar, unescape, utf8};

/// How urgent an incident is, in the order in which the document lists them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl Priority {
    /// Every priority, in order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in records and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The priority of that name; names are exact.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name)
    }
}

/// What the decoder must know about a source: which fields may name the employee, in order of precedence.
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

/// Why a record cannot be placed, as far as the record alone tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordFault {
    /// It is no JSON object.
    NotAnObject,
    /// None of the source's identity fields is present, or the first that is holds no number or string.
    MissingIdentity,
    /// `priority` is absent or none of the four.
    InvalidPriority,
    /// `timestamp` is absent, no number, or not finite.
    InvalidTimestamp,
}

/// One element of `results`: where it is, and what the join needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Seconds since the epoch; NaN when invalid.
    timestamp: f64,
    start: u32,
    length: u32,
    /// The number, the address, or the index among the batch's other values, as `flags` say.
    identity: u32,
    /// 0–3, or [`NO_PRIORITY`].
    priority: u8,
    flags: u8,
}

const NO_PRIORITY: u8 = u8::MAX;
const NOT_AN_OBJECT: u8 = 1;
const HAS_TYPE: u8 = 2;
const HAS_EMPLOYEE_ID: u8 = 4;
const IDENTITY: u8 = 8 | 16;
const IDENTITY_NUMBER: u8 = 8;
const IDENTITY_V4: u8 = 16;
const IDENTITY_OTHER: u8 = 8 | 16;

/// A record's identity value. Nearly all are small numbers or IPv4 addresses, which need no text to be compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityValue {
    /// A whole number of up to eight digits without leading zeros, as number or as string.
    Number(u32),
    /// A string that spells an IPv4 address.
    V4(Ipv4Addr),
    /// Any other value, by its index in [`Incidents::other_identities`].
    Other(usize),
}

impl Record {
    /// Seconds since the epoch, finite; NaN when the record's timestamp is invalid.
    #[must_use]
    pub fn timestamp(&self) -> f64 {
        self.timestamp
    }

    /// The record's priority, unless it is invalid.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        Priority::ALL.get(usize::from(self.priority)).copied()
    }

    /// Its identity value, unless it has none.
    #[must_use]
    #[inline]
    pub fn identity(&self) -> Option<IdentityValue> {
        match self.flags & IDENTITY {
            0 => None,
            IDENTITY_NUMBER => Some(IdentityValue::Number(self.identity)),
            IDENTITY_V4 => Some(IdentityValue::V4(Ipv4Addr::from_bits(self.identity))),
            _ => Some(IdentityValue::Other(self.identity as usize)),
        }
    }

    /// Whether it is a JSON object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.flags & NOT_AN_OBJECT == 0
    }

    /// Whether it has a member `type` of its own.
    #[must_use]
    pub fn has_type(&self) -> bool {
        self.flags & HAS_TYPE != 0
    }

    /// Whether it has a member `employee_id` of its own.
    #[must_use]
    pub fn has_employee_id(&self) -> bool {
        self.flags & HAS_EMPLOYEE_ID != 0
    }

    /// Its fault before identities are looked up, the identity's before the values'.
    #[must_use]
    pub fn identity_fault(&self) -> Option<RecordFault> {
        if !self.is_object() {
            Some(RecordFault::NotAnObject)
        } else if self.flags & IDENTITY == 0 {
            Some(RecordFault::MissingIdentity)
        } else {
            None
        }
    }

    /// Its fault in the values that place it in a list.
    #[must_use]
    pub fn value_fault(&self) -> Option<RecordFault> {
        if self.priority == NO_PRIORITY {
            Some(RecordFault::InvalidPriority)
        } else if self.timestamp.is_nan() {
            Some(RecordFault::InvalidTimestamp)
        } else {
            None
        }
    }

    /// Where its text stands in the batch's body.
    #[must_use]
    #[inline]
    pub fn span(&self) -> Span {
        Span { start: self.start, length: self.length }
    }
}

/// A place in a body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Span {
    /// The bytes at that place.
    #[must_use]
    #[inline]
    pub fn of(self, body: &[u8]) -> &[u8] {
        &body[self.start as usize..][..self.length as usize]
    }
}

/// A distinct identity value of a batch that is neither a small number nor an IPv4 address.
#[derive(Clone, Copy, Debug)]
struct IdentityToken {
    start: u32,
    length: u32,
    kind: Scalar,
}

/// An incident endpoint's whole answer: the body, and its records in upstream order.
#[derive(Debug)]
pub struct Incidents {
    body: Bytes,
    records: Vec<Record>,
    tokens: Vec<IdentityToken>,
}

impl Incidents {
    /// Reads `{"results":[…]}`; other members of the document are skipped.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, or has not exactly one
    /// array `results`.
    pub fn decode(body: Bytes, fields: &SourceFields) -> Result<Self, DecodeError> {
        let text = utf8(&body)?;
        let mut scanner = Scanner::new(text);
        // 80 bytes are a usual record; what is too much is given back below.
        let records = Vec::with_capacity(body.len() / 64);
        let mut reader = Reader { fields, tokens: Tokens::default(), records, shape: Shape::default() };
        let mut found = false;
        scanner.skip_whitespace();
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
                    reader.results(&mut scanner)?;
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
        scanner.end()?;
        if !found {
            return Err(DecodeError { offset: 0, fault: "no `results` in the document" });
        }
        let Reader { tokens: Tokens { mut list, .. }, mut records, .. } = reader;
        records.shrink_to_fit();
        list.shrink_to_fit();
        Ok(Self { body, records, tokens: list })
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

    /// The distinct identity values that are neither small numbers nor IPv4 addresses, as [`IdentityValue::Other`] numbers
    /// them: a number as spelled, a string unescaped, `None` for a string that is no Unicode text.
    pub fn other_identities(&self) -> impl ExactSizeIterator<Item = Option<Cow<'_, str>>> {
        self.tokens.iter().map(|token| {
            let bytes = Span { start: token.start, length: token.length }.of(&self.body);
            // The whole body was checked to be UTF-8, and tokens begin and end at ASCII characters.
            employee_text(token.kind, std::str::from_utf8(bytes).ok()?)
        })
    }
}

/// The identity values seen so far, each once, found again by their bytes.
#[derive(Default)]
struct Tokens {
    list: Vec<IdentityToken>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Tokens {
    #[inline]
    fn intern(&mut self, body: &[u8], kind: Scalar, start: usize, end: usize) -> u32 {
        let Self { list, index, hasher } = self;
        let bytes_of = |token: &IdentityToken| &body[token.start as usize..][..token.length as usize];
        let bytes = &body[start..end];
        let hash = hasher.hash_one(bytes);
        let entry = index.entry(
            hash,
            |&known| bytes_of(&list[known as usize]) == bytes,
            |&known| hasher.hash_one(bytes_of(&list[known as usize])),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(known) => *known.get(),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let new = offset(list.len());
                vacant.insert(new);
                list.push(IdentityToken { start: offset(start), length: offset(end - start), kind });
                new
            }
        }
    }
}

/// A position as 32 bits; [`utf8`] refuses bodies in which one would not fit.
#[inline]
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The names of the last record's members, in order, and what each means.
#[derive(Default)]
struct Shape([Option<(ShortName, Members)>; 8]);

struct Reader<'a> {
    fields: &'a SourceFields,
    tokens: Tokens,
    records: Vec<Record>,
    shape: Shape,
}

impl Reader<'_> {
    fn results(&mut self, scanner: &mut Scanner<'_>) -> Result<(), DecodeError> {
        scanner.expect(b'[', "`results` is no array")?;
        scanner.skip_whitespace();
        if scanner.accept(b']') {
            return Ok(());
        }
        loop {
            let record = self.record(scanner)?;
            self.records.push(record);
            scanner.skip_whitespace();
            if scanner.accept(b']') {
                return Ok(());
            }
            scanner.expect(b',', "expected a comma or a closing bracket")?;
            scanner.skip_whitespace();
        }
    }

    #[inline]
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

    #[inline]
    fn members(&mut self, scanner: &mut Scanner<'_>, record: &mut Record) -> Result<(), DecodeError> {
        scanner.expect(b'{', "expected an object")?;
        scanner.skip_whitespace();
        if scanner.accept(b'}') {
            return Ok(());
        }
        let mut identity_rank = usize::MAX;
        for index in 0.. {
            let members = match self.shape.0.get(index) {
                Some(Some((name, members))) if scanner.accept_short_name(name) => *members,
                _ => self.name(scanner, index)?,
            };
            // A known name may have whitespace after it that the record before had not.
            scanner.skip_whitespace();
            let value = scanner.value(3)?;
            // Of members with the same name the last counts, as in most JSON readers.
            match members.fixed {
                Some(Member::Priority) => record.priority = priority(scanner, value),
                Some(Member::Timestamp) => record.timestamp = timestamp(scanner, value),
                Some(Member::Type) => record.flags |= HAS_TYPE,
                Some(Member::EmployeeId) => record.flags |= HAS_EMPLOYEE_ID,
                None => {}
            }
            if let Some(rank) = members.identity
                && rank <= identity_rank
            {
                identity_rank = rank;
                self.identity(scanner, value, record);
            }
            scanner.skip_whitespace();
            if scanner.accept(b'}') {
                return Ok(());
            }
            scanner.expect(b',', "expected a comma or a closing brace")?;
            scanner.skip_whitespace();
        }
        Ok(())
    }

    /// Reads a member's name up to its value, and remembers it for the next record.
    fn name(&mut self, scanner: &mut Scanner<'_>, index: usize) -> Result<Members, DecodeError> {
        let start = scanner.position();
        let name = scanner.name()?;
        let members = match unescape(name) {
            Some(name) => self.fields.members(&name),
            None => Members { fixed: None, identity: None },
        };
        if let Some(place) = self.shape.0.get_mut(index) {
            *place = ShortName::new(&scanner.bytes()[start..scanner.position()]).map(|name| (name, members));
        }
        Ok(members)
    }

    #[inline]
    fn identity(&mut self, scanner: &Scanner<'_>, value: Value, record: &mut Record) {
        let body = scanner.bytes();
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

#[inline]
fn priority(scanner: &Scanner<'_>, value: Value) -> u8 {
    let text = scanner.slice(value.start, value.end);
    // One comparison instead of four whose outcome no processor could foresee: the names differ in three bits.
    let likely = match text.as_bytes().get(1).copied().unwrap_or_default() & 7 {
        0 => Priority::High,
        3 => Priority::Critical,
        4 => Priority::Low,
        _ => Priority::Medium,
    };
    if text.len() == likely.as_str().len() + 2 && &text[1..text.len() - 1] == likely.as_str() {
        return likely as u8;
    }
    if value.kind != Scalar::String {
        return NO_PRIORITY;
    }
    unescape(&text[1..text.len() - 1])
        .and_then(|name| Priority::from_name(&name))
        .map_or(NO_PRIORITY, |priority| priority as u8)
}

#[inline]
fn timestamp(scanner: &Scanner<'_>, value: Value) -> f64 {
    if value.kind != Scalar::Number {
        return f64::NAN;
    }
    let seconds = swar::decimal(scanner.bytes(), value.start, value.end)
        .unwrap_or_else(|| scanner.slice(value.start, value.end).parse().unwrap_or(f64::NAN));
    // Adding zero turns -0 into 0, so that equal times compare equal bit by bit.
    if f64::is_finite(seconds) { seconds + 0.0 } else { f64::NAN }
}
