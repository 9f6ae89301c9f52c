//! The identities endpoint's answer: one object, address → employee.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use hashbrown::HashMap;

use super::scanner::{Scalar, Scanner};
use super::{DecodeError, document, employee_text, unescape};

/// Which employee an address belongs to.
///
/// Addresses are compared as addresses; `::ffff:a.b.c.d` is `a.b.c.d` (RFC 4291, section 2.5.5.2). Entries whose name
/// is no address, or whose value is neither a number nor a string that is no address, map nothing. Of entries for the
/// same address the last counts.
#[derive(Debug)]
pub struct Identities {
    body: Bytes,
    v4: HashMap<Ipv4Addr, Span>,
    v6: HashMap<Ipv6Addr, Span>,
}

/// A value's place in the body; what kind it is shows its first byte.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

/// The address that a text spells, with IPv4-mapped ones as the IPv4 address they stand for.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    // Every address has a dot or a colon; most ids end here.
    memchr::memchr2(b'.', b':', text.as_bytes())?;
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

type Tables = (HashMap<Ipv4Addr, Span>, HashMap<Ipv6Addr, Span>);

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
            let raw = scanner.text(value.start, value.end)?;
            let named = employee_text(value.kind, raw).filter(|text| self::address(text).is_none());
            let span = named.is_some().then_some(Span {
                start: u32::try_from(value.start).unwrap_or(u32::MAX),
                length: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            });
            match (address, span) {
                (IpAddr::V4(address), Some(span)) => drop(v4.insert(address, span)),
                (IpAddr::V6(address), Some(span)) => drop(v6.insert(address, span)),
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
    pub fn employee(&self, address: IpAddr) -> Option<Cow<'_, str>> {
        let span = match address {
            IpAddr::V4(address) => self.v4.get(&address)?,
            IpAddr::V6(address) => self.v6.get(&address)?,
        };
        let raw = std::str::from_utf8(&self.body[span.start as usize..][..span.length as usize]).ok()?;
        employee_text(if raw.starts_with('"') { Scalar::String } else { Scalar::Number }, raw)
    }
}
