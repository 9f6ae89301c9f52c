//! An incident endpoint's answer: `{"results":[…]}`.

use std::borrow::Cow;
use std::hash::BuildHasher as _;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::record::{
    HAS_EMPLOYEE_ID, HAS_TYPE, IDENTITY, IDENTITY_NUMBER, IDENTITY_OTHER, IDENTITY_V4, NO_PRIORITY, NOT_AN_OBJECT,
    Priority, Record, Span,
};
use super::scanner::{Scalar, Scanner, ShortName, Value};
use super::{DecodeError, employee_text, swar, unescape, utf8};

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

    /// The distinct identity values that are neither small numbers nor IPv4 addresses, as [`super::IdentityValue::Other`] numbers
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
