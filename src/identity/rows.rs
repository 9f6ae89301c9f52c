//! Collects a table's rows: an employee with their keys and name.

use super::content_digest::ContentDigest;
use super::employee_id::EmployeeIds;
use super::key_kinds::KeyKinds;
use super::person_names::PersonNames;
use super::table::{Addresses, IdentityTable};
use super::text_keys::TextKeys;
use crate::decode::MAX_ID_BYTES;
use crate::mapping::{IdentityKind, holds_nothing, parse_address};

/// The rows of a table so far.
#[derive(Default)]
pub(super) struct Rows {
    addresses: Addresses,
    texts: TextKeys,
    ids: EmployeeIds,
    names: PersonNames,
    count: usize,
    conflicts: usize,
    oversized_ids: usize,
    is_too_large: bool,
}

impl Rows {
    /// Begins the row of an employee; returns their index, unless `id` is no employee id: it holds
    /// nothing, is an address, or is longer than [`MAX_ID_BYTES`].
    pub(super) fn begin(&mut self, id: Option<&str>) -> Option<u32> {
        self.count += 1;
        let id = id.filter(|id| !holds_nothing(id) && parse_address(id).is_none())?;
        if id.len() > MAX_ID_BYTES {
            self.oversized_ids += 1;
            return None;
        }
        Some(self.ids.intern(id))
    }

    /// Gives a key to an employee. A key that another employee has stays theirs. A value that is
    /// not of this kind is ignored.
    pub(super) fn add_key(&mut self, employee: u32, kind: IdentityKind, value: &str) {
        let holder = if kind == IdentityKind::Ip {
            // What `clean` does, without the text.
            let address = parse_address(value).filter(|_| value.len() <= MAX_ID_BYTES);
            let Some(address) = address else { return };
            self.addresses.get_or_insert(address, employee)
        } else {
            let Some(key) = kind.clean(value) else { return };
            let Some(holder) = self.texts.get_or_insert(kind, &key, employee) else {
                self.is_too_large = true;
                return;
            };
            holder
        };
        self.conflicts += usize::from(holder != employee);
    }

    /// Whether keys were left out because their text takes more than 4 GiB.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Sets the name of an employee who has none so far.
    pub(super) fn set_name(&mut self, employee: u32, name: &str) {
        self.names.set(employee, name);
    }

    /// The table of all rows, which has keys of these kinds.
    pub(super) fn finish(mut self, kinds: KeyKinds, digest: ContentDigest) -> IdentityTable {
        self.addresses.shrink_to_fit();
        self.texts.shrink_to_fit();
        self.names.shrink_to_fit();
        IdentityTable {
            kinds,
            addresses: self.addresses,
            texts: self.texts,
            ids: self.ids,
            names: self.names,
            records: self.count,
            conflicts: self.conflicts,
            oversized_ids: self.oversized_ids,
            digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content_digest::ContentDigester;
    use super::*;
    use IdentityKind::{Email, Hostname, Ip, Username};

    /// A row: the employee's id, keys, and the name.
    type TestRow<'a> = (Option<&'a str>, &'a [(IdentityKind, &'a str)], &'a str);

    fn table(rows: &[TestRow<'_>]) -> IdentityTable {
        let mut collected = Rows::default();
        for (id, keys, name) in rows {
            let Some(employee) = collected.begin(*id) else { continue };
            for (kind, value) in *keys {
                collected.add_key(employee, *kind, value);
            }
            collected.set_name(employee, name);
        }
        collected.finish(KeyKinds::default(), ContentDigester::default().finish())
    }

    fn employee(table: &IdentityTable, kind: IdentityKind, key: &str) -> Option<String> {
        let employee = match key.parse() {
            Ok(address) => table.employee(address),
            Err(_) => table.employee_by_text(kind, key),
        };
        employee.map(|employee| table.ids().list()[employee as usize].to_string())
    }

    #[test]
    fn the_first_of_two_employees_for_a_key_counts() {
        let table = table(&[
            (Some("1"), &[(Email, "A@x.example"), (Ip, "17.0.0.1"), (Email, "a@X.example")], ""),
            (Some("2"), &[(Email, "a@x.example"), (Ip, "::ffff:17.0.0.1"), (Username, "b")], ""),
            (Some("1"), &[(Username, "B"), (Hostname, "b")], ""),
            (Some("3"), &[(Email, "a@x.example")], ""),
        ]);
        assert_eq!(employee(&table, Email, "a@x.example").as_deref(), Some("1"));
        assert_eq!(employee(&table, Ip, "17.0.0.1").as_deref(), Some("1"));
        assert_eq!(employee(&table, Username, "b").as_deref(), Some("2"));
        assert_eq!(employee(&table, Hostname, "b").as_deref(), Some("1"), "of another kind");
        assert_eq!((table.len(), table.records(), table.conflicts()), (4, 4, 4));
    }

    #[test]
    fn rows_without_an_employee_id_and_keys_that_are_nothing_map_nothing() {
        let long = "x".repeat(MAX_ID_BYTES + 1);
        let keys: &[(IdentityKind, &str)] = &[(Email, "a@x.example")];
        let ids = [None, Some(""), Some(" - "), Some("N/A"), Some("17.0.0.1:80"), Some(&*long)];
        let rows: Vec<_> = ids.into_iter().map(|id| (id, keys, "Ann")).collect();
        let skipped = table(&rows);
        assert_eq!((skipped.len(), skipped.ids().len(), skipped.has_names()), (0, 0, false));
        assert_eq!((skipped.records(), skipped.oversized_ids()), (6, 1));

        let nothing: &[(IdentityKind, &str)] =
            &[(Email, "unknown"), (Ip, "host"), (Hostname, "17.0.0.1"), (Username, "corp\\")];
        let table = table(&[(Some("1"), nothing, "")]);
        assert_eq!((table.len(), table.ids().len()), (0, 1));
    }

    #[test]
    fn the_first_name_of_an_employee_counts() {
        let (longest, longer) = ("é".repeat(128), "é".repeat(129));
        let table = table(&[
            (Some("1"), &[], ""),
            (Some("2"), &[], &longer),
            (Some("1"), &[], "Ann Ås"),
            (Some("1"), &[], "Bo"),
            (Some("2"), &[], &longest),
            (Some("3"), &[], ""),
        ]);
        assert_eq!((table.name("1"), table.name("2")), (Some("Ann Ås"), Some(&*longest)));
        assert_eq!((table.name("3"), table.name("4")), (None, None));
    }
}
