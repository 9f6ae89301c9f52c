//! Reads a table that is one JSON object of addresses and employee ids.

use bytes::Bytes;

use super::content_digest::{ContentDigest, ContentDigester};
use super::employee_id::EmployeeIds;
use super::key_kinds::KeyKinds;
use super::person_names::PersonNames;
use super::table::{Addresses, IdentityTable};
use super::text_keys::TextKeys;
use crate::decode::{
    DecodeError, MAX_ID_BYTES, ValueKind, check_fail_if, employee_text, read_object, small_number,
    unescape,
};
use crate::json::{JsonError, Path};
use crate::mapping::parse_address;

/// The entries so far.
#[derive(Default)]
pub(super) struct AddressEntries {
    addresses: Addresses,
    ids: EmployeeIds,
    conflicts: usize,
    /// How many entries are ignored because their id is too long.
    oversized_ids: usize,
}

impl AddressEntries {
    /// Adds the entries of an object. An answer with something at one of the paths `fail_if` has
    /// failed.
    pub(super) fn add(&mut self, body: &[u8], fail_if: &[Path]) -> Result<(), DecodeError> {
        let (mut has_members, mut has_addresses) = (false, false);
        read_object(body, "expected an object of addresses", |name, kind, value| {
            has_members = true;
            let name = unescape(name);
            has_addresses |= name.is_some_and(|name| self.insert(&name, kind, value));
        })?;
        check_fail_if(fail_if, body)?;
        if has_members && !has_addresses {
            let fault = "no member of the object is named by an address";
            return Err(JsonError { offset: 0, fault }.into());
        }
        Ok(())
    }

    /// Adds an entry; returns whether its name is an address.
    fn insert(&mut self, name: &str, kind: ValueKind, value: &str) -> bool {
        let Some(address) = parse_address(name) else { return false };
        match self.employee(kind, value) {
            Some(employee) => {
                let replaced = self.addresses.insert(address, employee);
                self.conflicts += usize::from(replaced.is_some_and(|known| known != employee));
            }
            None => self.addresses.remove(address),
        }
        true
    }

    /// The index of the employee that a value names; `None` if it is not a valid id.
    fn employee(&mut self, kind: ValueKind, value: &str) -> Option<u32> {
        let id = employee_text(kind, value)?;
        if let Some(number) = small_number(id.as_bytes()) {
            return Some(self.ids.intern_number(number));
        }
        if id.len() > MAX_ID_BYTES {
            self.oversized_ids += 1;
            return None;
        }
        if parse_address(&id).is_some() {
            return None;
        }
        Some(self.ids.intern(&id))
    }

    /// The table of all entries.
    pub(super) fn finish(self, digest: ContentDigest) -> IdentityTable {
        IdentityTable {
            kinds: KeyKinds::ADDRESSES,
            records: self.addresses.len(),
            addresses: self.addresses,
            texts: TextKeys::default(),
            ids: self.ids,
            names: PersonNames::default(),
            conflicts: self.conflicts,
            oversized_ids: self.oversized_ids,
            digest,
        }
    }
}

impl IdentityTable {
    /// Decodes one object of addresses and employee ids.
    ///
    /// [`parse_address`] reads the names. An entry is ignored when its name is not an address, or
    /// when its value is neither a number nor a string, is itself an address, or is longer than
    /// [`MAX_ID_BYTES`]. The last of several entries for the same address counts.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, not one JSON document of at most
    /// [`MAX_DEPTH`](crate::decode::MAX_DEPTH) levels, not an object, or an object that has members
    /// but none named by an address: such a document is not a table but, say, an error message.
    #[expect(clippy::needless_pass_by_value, reason = "drops the body as soon as it is decoded")]
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut entries = AddressEntries::default();
        entries.add(&body, &[])?;
        let mut digester = ContentDigester::default();
        digester.add_page(&body);
        Ok(entries.finish(digester.finish()))
    }
}

#[cfg(test)]
mod tests;
