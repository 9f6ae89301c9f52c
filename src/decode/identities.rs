//! The identities endpoint's answer: one object, address → employee.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use hashbrown::HashMap;

use super::ids::Ids;
use super::scanner::{Scalar, Scanner, Value};
use super::{DecodeError, document, employee_text, swar, unescape};

/// Which employee an address belongs to.
///
/// Addresses are compared as addresses; `::ffff:a.b.c.d` is `a.b.c.d` (RFC 4291, section 2.5.5.2).
/// Entries whose name is no address, or whose value is neither a number nor a string that is no
/// address, map nothing. Of entries for the same address the last counts.
#[derive(Debug)]
pub struct Identities {
    body: Bytes,
    tables: Tables,
}

/// Places in `ids`, by address.
#[derive(Debug, Default)]
struct Tables {
    v4: HashMap<Ipv4Addr, u32>,
    v6: HashMap<Ipv6Addr, u32>,
    ids: Ids,
}

/// The address that a text spells, with IPv4-mapped ones as the IPv4 address they stand for.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    // Every address has a dot or a colon; most ids end here.
    memchr::memchr2(b'.', b':', text.as_bytes())?;
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn read(scanner: &mut Scanner<'_>) -> Result<Tables, DecodeError> {
    let mut tables = Tables::default();
    let mut has_addresses = false;
    scanner.expect(b'{', "expected an object of addresses")?;
    scanner.skip_whitespace();
    if scanner.accept(b'}') {
        return Ok(tables);
    }
    loop {
        let name = scanner.name()?;
        scanner.skip_whitespace();
        let value = scanner.value(1)?;
        if let Some(address) = unescape(name).and_then(|name| address(&name)) {
            has_addresses = true;
            match (address, tables.employee(scanner, &value)?) {
                (IpAddr::V4(address), Some(employee)) => drop(tables.v4.insert(address, employee)),
                (IpAddr::V6(address), Some(employee)) => drop(tables.v6.insert(address, employee)),
                (IpAddr::V4(address), None) => drop(tables.v4.remove(&address)),
                (IpAddr::V6(address), None) => drop(tables.v6.remove(&address)),
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
        Ok(tables)
    } else {
        Err(DecodeError { offset: 0, fault: "no member of the object is named by an address" })
    }
}

impl Tables {
    /// The employee that a value names; `None` where it is no id.
    fn employee(
        &mut self,
        scanner: &Scanner<'_>,
        value: &Value,
    ) -> Result<Option<u32>, DecodeError> {
        let quote = usize::from(value.kind == Scalar::String);
        if value.kind != Scalar::Other
            && let Some(number) =
                swar::small_number(scanner.bytes(), value.start + quote, value.end - quote)
        {
            return Ok(Some(self.ids.number(number)));
        }
        let id = employee_text(value.kind, scanner.text(value.start, value.end)?);
        Ok(id.filter(|id| address(id).is_none()).map(|id| self.ids.intern(&id)))
    }
}

impl Identities {
    /// Reads one flat object.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most [`super::MAX_DEPTH`] levels, no
    /// object, or an object with members of which none is named by an address: that is some other
    /// document, such as an error's.
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let tables = document(&body, read)?;
        Ok(Self { body, tables })
    }

    /// How many addresses are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.v4.len() + self.tables.v6.len()
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

    /// The ids of all employees that entries name.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.tables.ids
    }

    /// The employee that a canonical address belongs to, by their id's place among [`Self::ids`].
    #[must_use]
    #[inline]
    pub fn employee(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.tables.v4.get(&address).copied(),
            IpAddr::V6(address) => self.tables.v6.get(&address).copied(),
        }
    }
}
