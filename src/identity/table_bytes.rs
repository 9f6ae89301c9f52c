//! A table as bytes, as it is kept in a store.
//!
//! The format is a version, then all of the table, compressed with zstd. Entries are sorted, so
//! that equal tables have equal bytes. Whole numbers are LEB128.

use std::fmt;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::content_digest::ContentDigest;
use super::employee_id::EmployeeIds;
use super::key_kinds::KeyKinds;
use super::person_names::PersonNames;
use super::table::{Addresses, IdentityTable};
use super::text_keys::TextKeys;
use crate::decode::MAX_ID_BYTES;
use crate::mapping::IdentityKind;

const FORMAT: u8 = 1;
const COMPRESSION_LEVEL: i32 = 3;

/// Why bytes are no table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TableBytesError {
    /// Another release wrote them.
    UnknownFormat,
    /// They are larger than allowed when they are decompressed.
    TooLarge,
    /// They are damaged.
    Damaged,
}

impl fmt::Display for TableBytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownFormat => "the stored table has a format of another release",
            Self::TooLarge => "the stored table is larger than max_body allows",
            Self::Damaged => "the stored table is damaged",
        })
    }
}

impl std::error::Error for TableBytesError {}

impl IdentityTable {
    /// The table as bytes for [`Self::from_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut plain = Writer::default();
        let kinds = IdentityKind::ALL.into_iter().filter(|kind| self.has(*kind));
        let kinds: Vec<IdentityKind> = kinds.collect();
        plain.length(kinds.len());
        for kind in kinds {
            plain.kind(kind);
        }
        plain.0.extend(self.digest.hash.to_le_bytes());
        for count in [self.digest.size_bytes, self.records, self.conflicts, self.oversized_ids] {
            plain.length(count);
        }
        plain.length(self.ids.len());
        for id in self.ids.list() {
            plain.text(&id.to_string());
        }
        let (v4, v6) = self.addresses.sorted();
        plain.length(v4.len());
        for (address, employee) in v4 {
            plain.0.extend(address.octets());
            plain.number(employee.into());
        }
        plain.length(v6.len());
        for (address, employee) in v6 {
            plain.0.extend(address.octets());
            plain.number(employee.into());
        }
        let texts = self.texts.sorted();
        plain.length(texts.len());
        for (kind, key, employee) in texts {
            plain.kind(kind);
            plain.text(key);
            plain.number(employee.into());
        }
        let names: Vec<(u32, &str)> = self.names.iter().collect();
        plain.length(names.len());
        for (employee, name) in names {
            plain.number(employee.into());
            plain.text(name);
        }
        let mut bytes = vec![FORMAT];
        zstd::stream::copy_encode(&*plain.0, &mut bytes, COMPRESSION_LEVEL)
            .expect("memory can be written");
        bytes
    }

    /// The table that [`Self::to_bytes`] wrote. Decompressed it may have at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are none that this release writes, or are too large.
    pub fn from_bytes(bytes: &[u8], max_bytes: u64) -> Result<Self, TableBytesError> {
        let (&format, compressed) = bytes.split_first().ok_or(TableBytesError::Damaged)?;
        if format != FORMAT {
            return Err(TableBytesError::UnknownFormat);
        }
        let plain = decompress(compressed, max_bytes)?;
        let mut reader = Reader(&plain);
        let table = reader.table().ok_or(TableBytesError::Damaged)?;
        if reader.0.is_empty() { Ok(table) } else { Err(TableBytesError::Damaged) }
    }
}

/// Memory grows with what is decompressed, whatever size the frame claims.
fn decompress(compressed: &[u8], max_bytes: u64) -> Result<Vec<u8>, TableBytesError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
        decoder.take(max_bytes.saturating_add(1)).read_to_end(&mut plain)?;
        Ok(plain)
    };
    let plain = read().map_err(|_| TableBytesError::Damaged)?;
    if plain.len() as u64 > max_bytes { Err(TableBytesError::TooLarge) } else { Ok(plain) }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    fn kind(&mut self, kind: IdentityKind) {
        self.0.push(code(kind));
    }
}

/// The number of a kind in the format, which must not change.
fn code(kind: IdentityKind) -> u8 {
    match kind {
        IdentityKind::Auto => 0,
        IdentityKind::EmployeeId => 1,
        IdentityKind::Ip => 2,
        IdentityKind::Email => 3,
        IdentityKind::Username => 4,
        IdentityKind::Hostname => 5,
    }
}

/// Reads what [`Writer`] wrote; everything is `None` at the first fault.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn length(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn kind(&mut self) -> Option<IdentityKind> {
        let [found] = self.array()?;
        IdentityKind::ALL.into_iter().find(|kind| code(*kind) == found)
    }

    /// An index in `ids`.
    fn employee(&mut self, ids: &EmployeeIds) -> Option<u32> {
        let employee = u32::try_from(self.number()?).ok()?;
        ((employee as usize) < ids.len()).then_some(employee)
    }

    fn table(&mut self) -> Option<IdentityTable> {
        let kinds = self.length()?;
        let kinds: KeyKinds = (0..kinds).map(|_| self.kind()).collect::<Option<_>>()?;
        let hash = u128::from_le_bytes(self.array()?);
        let size_bytes = self.length()?;
        let (records, conflicts) = (self.length()?, self.length()?);
        let oversized_ids = self.length()?;
        let ids = self.ids()?;
        let addresses = self.addresses(&ids)?;
        let texts = self.texts(&ids)?;
        let names = self.names(&ids)?;
        let digest = ContentDigest { hash, size_bytes };
        Some(IdentityTable {
            kinds,
            addresses,
            texts,
            ids,
            names,
            records,
            conflicts,
            oversized_ids,
            digest,
        })
    }

    fn ids(&mut self) -> Option<EmployeeIds> {
        let mut ids = EmployeeIds::default();
        for index in 0..self.length()? {
            let id = self.text().filter(|id| id.len() <= MAX_ID_BYTES)?;
            // An id that comes twice would shift the indices of those that follow.
            if ids.intern(id) as usize != index || ids.len() != index + 1 {
                return None;
            }
        }
        Some(ids)
    }

    fn addresses(&mut self, ids: &EmployeeIds) -> Option<Addresses> {
        let mut addresses = Addresses::default();
        for _ in 0..self.length()? {
            let address = Ipv4Addr::from(self.array::<4>()?);
            addresses.insert(IpAddr::V4(address), self.employee(ids)?);
        }
        for _ in 0..self.length()? {
            let address = Ipv6Addr::from(self.array::<16>()?);
            addresses.insert(IpAddr::V6(address), self.employee(ids)?);
        }
        addresses.shrink_to_fit();
        Some(addresses)
    }

    fn texts(&mut self, ids: &EmployeeIds) -> Option<TextKeys> {
        let mut texts = TextKeys::default();
        for _ in 0..self.length()? {
            let (kind, key) = (self.kind()?, self.text()?);
            let employee = self.employee(ids)?;
            texts.get_or_insert(kind, key, employee)?;
        }
        texts.shrink_to_fit();
        Some(texts)
    }

    fn names(&mut self, ids: &EmployeeIds) -> Option<PersonNames> {
        let mut names = PersonNames::default();
        for _ in 0..self.length()? {
            let employee = self.employee(ids)?;
            names.set(employee, self.text()?);
        }
        names.shrink_to_fit();
        Some(names)
    }
}

#[cfg(test)]
mod tests;
