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
mod tests {
    use super::*;
    use crate::identity::EmployeeId;

    fn decode(body: &str) -> Result<IdentityTable, DecodeError> {
        IdentityTable::decode(Bytes::from(body.to_owned()))
    }

    fn employee(table: &IdentityTable, address: &str) -> Option<EmployeeId> {
        let employee = table.employee(address.parse().unwrap())?;
        Some(table.ids().list()[employee as usize].clone())
    }

    #[test]
    fn the_last_entry_for_an_address_counts() {
        let table = decode(
            r#"{"17.0.0.1":1,"17.0.0.1":2,"::ffff:17.0.0.2":"x","::1":3,"host":4,"17.0.0.3":[],
                "17.0.0.4":7,"17.0.0.4:80":null}"#,
        )
        .unwrap();
        assert_eq!(table.len(), 3);
        assert_eq!(employee(&table, "17.0.0.1"), Some(EmployeeId::Number(2)));
        assert_eq!(employee(&table, "17.0.0.2"), Some(EmployeeId::Text("x".into())));
        assert_eq!(employee(&table, "17.0.0.3"), None);
        assert_eq!(employee(&table, "17.0.0.4"), None);
    }

    #[test]
    fn an_address_of_two_employees_is_a_conflict() {
        for (body, conflicts) in [
            (r#"{"17.0.0.1":1,"17.0.0.2":1,"17.0.0.1":"1"}"#, 0),
            (r#"{"17.0.0.1":1,"17.0.0.1:80":2,"::ffff:17.0.0.1":"2","17.0.0.1":1}"#, 2),
            (r#"{"::1":"x","[::1]":"y"}"#, 1),
        ] {
            assert_eq!(decode(body).unwrap().conflicts(), conflicts, "{body}");
        }
    }

    #[test]
    fn tables_of_the_same_bytes_are_the_same() {
        let table = decode(r#"{"::1":1}"#).unwrap();
        assert_eq!(table.size_bytes(), 9);
        assert!(table.is_same_as(&decode(r#"{"::1":1}"#).unwrap()));
        assert!(!table.is_same_as(&decode(r#"{"::1":2}"#).unwrap()));
    }

    #[test]
    fn addresses_in_names_may_have_a_zone_a_port_brackets_and_blanks() {
        let table = decode(
            r#"{" 17.0.0.1":1,"17.0.0.2:443":2,"[2001:db8::1]:443":3,"fe80::1%eth0":4,
                "\u005b2001:db8::2\u005d":5}"#,
        )
        .unwrap();
        for (address, number) in [
            ("17.0.0.1", 1),
            ("17.0.0.2", 2),
            ("2001:db8::1", 3),
            ("fe80::1", 4),
            ("2001:db8::2", 5),
        ] {
            assert_eq!(employee(&table, address), Some(EmployeeId::Number(number)), "{address}");
        }
    }

    #[test]
    fn a_value_that_is_an_address_names_nobody() {
        let table = decode(r#"{"17.0.0.1":"17.1.2.3","17.0.0.2":" 17.1.2.3:80"}"#).unwrap();
        assert!(table.is_empty() && table.ids().is_empty());
    }

    #[test]
    fn an_id_has_at_most_256_bytes() {
        let (long, longer) = ("é".repeat(128), "é".repeat(129));
        let escaped = "\\u0061".repeat(256);
        let table = decode(&format!(
            r#"{{"17.0.0.1":"{long}","17.0.0.2":"{longer}","17.0.0.3":"{escaped}","17.0.0.4":5}}"#
        ))
        .unwrap();
        assert_eq!(employee(&table, "17.0.0.1"), Some(EmployeeId::Text(long.into())));
        assert_eq!(employee(&table, "17.0.0.2"), None);
        assert_eq!(employee(&table, "17.0.0.3"), Some(EmployeeId::Text("a".repeat(256).into())));
        assert_eq!((table.len(), table.oversized_ids()), (3, 1));
    }

    #[test]
    fn an_empty_object_is_an_empty_table() {
        assert!(decode("{}").unwrap().is_empty());
        assert!(decode("\u{feff} { } ").unwrap().is_empty());
    }

    #[test]
    fn other_documents_are_refused() {
        for body in [
            "",
            "[]",
            "null",
            r#"{"error":"busy"}"#,
            r#"{"17.0.0.1":1"#,
            r#"{"17.0.0.1":1}{}"#,
            r#"{"17.0.0.1" 1}"#,
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
    }
}
