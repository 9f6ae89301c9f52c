//! The identities endpoint's answer: one object, address → employee.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use hashbrown::HashMap;

use super::record::Span;
use super::scanner::{Scalar, Scanner, Value};
use super::{DecodeError, document, employee_text, offset, swar, unescape};

/// Which employee an address belongs to.
///
/// Addresses are compared as addresses; `::ffff:a.b.c.d` is `a.b.c.d` (RFC 4291, section 2.5.5.2). Entries whose name
/// is no address, or whose value is neither a number nor a string that is no address, map nothing. Of entries for the
/// same address the last counts.
#[derive(Debug)]
pub struct Identities {
    body: Bytes,
    v4: HashMap<Ipv4Addr, Named>,
    v6: HashMap<Ipv6Addr, Named>,
}

/// What an address maps to.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// A small number, as [`EmployeeId::Number`].
    Number(u32),
    /// A value's place in the body; what kind it is shows its first byte.
    Value(Span),
}

/// An employee's id. Nearly all are small numbers, which need no text to be compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmployeeId<'a> {
    /// A whole number of up to eight digits without leading zeros, as number or as string.
    Number(u32),
    /// Any other.
    Text(Cow<'a, str>),
}

impl<'a> EmployeeId<'a> {
    /// The id as documents have it.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => text,
        }
    }
}

/// The address that a text spells, with IPv4-mapped ones as the IPv4 address they stand for.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    // Every address has a dot or a colon; most ids end here.
    memchr::memchr2(b'.', b':', text.as_bytes())?;
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

type Tables = (HashMap<Ipv4Addr, Named>, HashMap<Ipv6Addr, Named>);

fn read(scanner: &mut Scanner<'_>) -> Result<Tables, DecodeError> {
    let (mut v4, mut v6) = Tables::default();
    let mut has_addresses = false;
    scanner.expect(b'{', "expected an object of addresses")?;
    scanner.skip_whitespace();
    if scanner.accept(b'}') {
        return Ok((v4, v6));
    }
    loop {
        let name = scanner.name()?;
        scanner.skip_whitespace();
        let value = scanner.value(1)?;
        if let Some(address) = unescape(name).and_then(|name| address(&name)) {
            has_addresses = true;
            match (address, named(scanner, &value)?) {
                (IpAddr::V4(address), Some(named)) => drop(v4.insert(address, named)),
                (IpAddr::V6(address), Some(named)) => drop(v6.insert(address, named)),
                (IpAddr::V4(address), None) => drop(v4.remove(&address)),
                (IpAddr::V6(address), None) => drop(v6.remove(&address)),
            }
        }
        scanner.skip_whitespace();
        if scanner.accept(b'}') {
            break;
        }
        scanner.expect(b',', "expected a comma or a closing brace")?;
        scanner.skip_whitespace();
    }
    if has_addresses {
        Ok((v4, v6))
    } else {
        Err(DecodeError { offset: 0, fault: "no member of the object is named by an address" })
    }
}

/// What a value names; `None` where it is no id.
fn named(scanner: &Scanner<'_>, value: &Value) -> Result<Option<Named>, DecodeError> {
    let quote = usize::from(value.kind == Scalar::String);
    if value.kind != Scalar::Other
        && let Some(number) = swar::small_number(scanner.bytes(), value.start + quote, value.end - quote)
    {
        return Ok(Some(Named::Number(number)));
    }
    let text = employee_text(value.kind, scanner.text(value.start, value.end)?);
    let span = Span { start: offset(value.start), length: offset(value.end - value.start) };
    Ok(text.filter(|text| address(text).is_none()).map(|_| Named::Value(span)))
}

impl Identities {
    /// Reads one flat object.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, no object, or an object
    /// with members of which none is named by an address: that is some other document, such as an error's.
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let (v4, v6) = document(&body, read)?;
        Ok(Self { body, v4, v6 })
    }

    /// How many addresses are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The id of the employee that a canonical address belongs to.
    #[must_use]
    pub fn employee(&self, address: IpAddr) -> Option<EmployeeId<'_>> {
        let named = match address {
            IpAddr::V4(address) => self.v4.get(&address)?,
            IpAddr::V6(address) => self.v6.get(&address)?,
        };
        match named {
            Named::Number(number) => Some(EmployeeId::Number(*number)),
            Named::Value(span) => {
                let raw = std::str::from_utf8(span.of(&self.body)).ok()?;
                let kind = if raw.starts_with('"') { Scalar::String } else { Scalar::Number };
                employee_text(kind, raw).map(EmployeeId::Text)
            }
        }
    }
}
