//! Resolves identity values to the employees that they name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::employee_id::{EmployeeId, EmployeeIds};
use super::table::IdentityTable;
use super::table_slot::TableSlot;
use crate::mapping::IdentityKind;
use crate::mapping::parse_address;

/// Why a value names no employee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnresolvedIdentity {
    /// It is an address that is in no table.
    UnknownIp,
    /// It is in no table, and not an address.
    UnknownIdentity,
    /// A table that might have it is missing.
    TableUnavailable,
    /// It is not Unicode text, and so no identity.
    NotAnIdentity,
}

/// Gives each employee an index: first those of the first table with data, in its order, then
/// others in the order in which records or other tables name them.
pub struct Resolver<'a> {
    slots: &'a [TableSlot],
    /// The slot of the first table with data, and that table.
    first: Option<(usize, &'a IdentityTable)>,
    /// How many employees the first table names.
    first_len: u32,
    others: EmployeeIds,
    /// For each slot, the index of each employee of its table, or [`UNKNOWN`]; empty for the first
    /// table, and for tables that no record needs.
    indices: Vec<Vec<u32>>,
}

/// The join numbers groups with 32 bits, and has four groups for each employee.
const MAX_EMPLOYEES: u32 = u32::MAX / 4;

/// The index of an employee of a table who is not known by an index yet.
const UNKNOWN: u32 = u32::MAX;

impl<'a> Resolver<'a> {
    /// A resolver that looks values up in the tables of `slots`, in their order.
    ///
    /// # Panics
    ///
    /// When there are 2^30 employees or more.
    #[must_use]
    pub fn new(slots: &'a [TableSlot]) -> Self {
        let first = slots
            .iter()
            .enumerate()
            .find_map(|(index, slot)| Some((index, slot.table.as_deref()?)));
        let first_len = first.map_or(0, |(_, table)| table.ids().len());
        let first_len = u32::try_from(first_len).ok().filter(|len| *len < MAX_EMPLOYEES);
        let first_len = first_len.expect("fewer than 2^30 employees");
        let indices = vec![Vec::new(); slots.len()];
        Self { slots, first, first_len, others: EmployeeIds::default(), indices }
    }

    /// How many employees have an index so far.
    #[must_use]
    pub fn employee_count(&self) -> usize {
        self.first_len as usize + self.others.len()
    }

    /// The index of the employee whose id is this number.
    #[inline]
    pub fn by_number(&mut self, number: u32) -> u32 {
        let known = self.first.and_then(|(_, table)| table.ids().find_number(number));
        known.unwrap_or_else(|| {
            let other = self.others.intern_number(number);
            self.other_employee(other)
        })
    }

    /// The index of the employee with this id.
    pub fn by_id(&mut self, id: &str) -> u32 {
        let known = self.first.and_then(|(_, table)| table.ids().find(id));
        known.unwrap_or_else(|| {
            let other = self.others.intern(id);
            self.other_employee(other)
        })
    }

    fn other_employee(&self, index: u32) -> u32 {
        let employee = self.first_len + index;
        assert!(employee < MAX_EMPLOYEES, "fewer than 2^30 employees");
        employee
    }

    /// The index of the employee that a canonical address belongs to.
    ///
    /// # Errors
    ///
    /// When no table has the address, or a table that might have it is missing.
    #[inline]
    pub fn by_address(&mut self, address: IpAddr) -> Result<u32, UnresolvedIdentity> {
        self.look_up(IdentityKind::Ip, |table| table.employee(address))
    }

    /// The index of the employee that a cleaned key belongs to, which is not an address.
    ///
    /// # Errors
    ///
    /// When no table has the key, or a table that might have it is missing.
    pub fn by_text(&mut self, kind: IdentityKind, key: &str) -> Result<u32, UnresolvedIdentity> {
        self.look_up(kind, |table| table.employee_by_text(kind, key))
    }

    /// Asks the tables that have keys of this kind, up to the first that finds an employee. Those
    /// after a missing one are not asked, because the missing one might name somebody else.
    #[inline]
    fn look_up(
        &mut self,
        kind: IdentityKind,
        find: impl Fn(&IdentityTable) -> Option<u32>,
    ) -> Result<u32, UnresolvedIdentity> {
        for (index, slot) in self.slots.iter().enumerate() {
            if !slot.kinds.contains(kind) {
                continue;
            }
            let table = slot.table.as_deref().ok_or(UnresolvedIdentity::TableUnavailable)?;
            if let Some(employee) = find(table) {
                return Ok(self.index_of(index, table, employee));
            }
        }
        Err(match kind {
            IdentityKind::Ip => UnresolvedIdentity::UnknownIp,
            _ => UnresolvedIdentity::UnknownIdentity,
        })
    }

    /// The index of a table's employee, who may have another index in the table.
    #[inline]
    fn index_of(&mut self, slot: usize, table: &IdentityTable, employee: u32) -> u32 {
        if self.first.is_some_and(|(first, _)| first == slot) {
            return employee;
        }
        if self.indices[slot].is_empty() {
            self.indices[slot] = vec![UNKNOWN; table.ids().len()];
        }
        let known = self.indices[slot][employee as usize];
        if known != UNKNOWN {
            return known;
        }
        let index = match &table.ids().list()[employee as usize] {
            EmployeeId::Number(number) => self.by_number(*number),
            EmployeeId::Text(id) => self.by_id(id),
        };
        self.indices[slot][employee as usize] = index;
        index
    }

    /// The index of the employee that a value names: an IP address is looked up, anything else is
    /// the employee's id itself. `None` stands for a string that is not Unicode text.
    ///
    /// # Errors
    ///
    /// When the value is `None`, or an address that is not found.
    pub fn resolve(&mut self, value: Option<Cow<'_, str>>) -> Result<u32, UnresolvedIdentity> {
        let value = value.ok_or(UnresolvedIdentity::NotAnIdentity)?;
        match parse_address(&value) {
            Some(address) => self.by_address(address),
            None => Ok(self.by_id(&value)),
        }
    }

    /// The ids of all employees, in the order of their indices.
    pub fn ids(&self) -> impl Iterator<Item = &EmployeeId> {
        self.first.map_or(&[][..], |(_, table)| table.ids().list()).iter().chain(self.others.list())
    }

    /// The id of the employee with this index.
    ///
    /// # Panics
    ///
    /// When there is no such employee.
    #[must_use]
    pub fn employee_id(&self, employee: u32) -> &EmployeeId {
        match (self.first, employee.checked_sub(self.first_len)) {
            (Some((_, table)), None) => &table.ids().list()[employee as usize],
            (_, other) => &self.others.list()[other.unwrap_or_default() as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::UnresolvedIdentity::{NotAnIdentity, TableUnavailable, UnknownIdentity, UnknownIp};
    use super::*;

    fn table(body: &'static str) -> TableSlot {
        let table = IdentityTable::decode(Bytes::from_static(body.as_bytes())).unwrap();
        TableSlot::addresses(Some(Arc::new(table)))
    }

    #[test]
    fn addresses_are_looked_up_as_addresses() {
        let tables = [table(
            r#"{"17.1.2.3": 7, "2001:DB8:0::1": "eight", "::ffff:17.9.9.9": "009",
                "17.0.0.1": null, "17.0.0.2": "17.1.2.3", "host": 5, "fe80::1%eth1": "nine"}"#,
        )];
        let mut resolver = Resolver::new(&tables);
        let mut resolve = |value: &'static str| {
            let employee = resolver.resolve(Some(Cow::Borrowed(value)));
            employee.map(|employee| resolver.employee_id(employee).to_string())
        };
        for seven in ["17.1.2.3", "::ffff:17.1.2.3", "::FFFF:1101:203", " 17.1.2.3", "17.1.2.3:443"]
        {
            assert_eq!(resolve(seven).as_deref(), Ok("7"), "{seven}");
        }
        for eight in ["2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", "[2001:db8::1]:443"]
        {
            assert_eq!(resolve(eight).as_deref(), Ok("eight"), "{eight}");
        }
        assert_eq!(resolve("17.9.9.9").as_deref(), Ok("009"));
        assert_eq!(resolve("fe80::1%eth0").as_deref(), Ok("nine"));
        for unknown in ["17.0.0.1", "17.0.0.2", "17.255.255.255", "::1", "[::1]:80"] {
            assert_eq!(resolve(unknown), Err(UnknownIp), "{unknown}");
        }
        for id in ["1234", "host", "17.1.2", "017.1.2.3", " 1234", "17.1.2.3:x", "::ffff:17.1.2"] {
            assert_eq!(resolve(id).as_deref(), Ok(id), "{id}");
        }
    }

    #[test]
    fn without_a_table_only_ids_are_resolved() {
        let mut resolver = Resolver::new(&[]);
        assert_eq!(resolver.resolve(Some("::1".into())), Err(UnknownIp));
        let missing = [TableSlot::addresses(None)];
        let mut resolver = Resolver::new(&missing);
        assert_eq!(resolver.resolve(Some("::1".into())), Err(TableUnavailable));
        assert_eq!(resolver.resolve(Some("1234".into())), Ok(resolver.by_number(1234)));
        assert_eq!(resolver.resolve(None), Err(NotAnIdentity));
    }

    #[test]
    fn an_id_names_the_same_employee_as_number_as_text_and_by_address() {
        let tables = [table(r#"{"17.0.0.1": 7, "17.0.0.2": "x"}"#)];
        let mut resolver = Resolver::new(&tables);
        let seven = resolver.by_address([17, 0, 0, 1].into()).unwrap();
        assert_eq!((resolver.by_number(7), resolver.resolve(Some("7".into()))), (seven, Ok(seven)));
        assert_eq!(resolver.resolve(Some("x".into())), resolver.by_address([17, 0, 0, 2].into()));
        assert_eq!(resolver.resolve(Some("8".into())), Ok(resolver.by_number(8)));
        assert_eq!(resolver.resolve(Some("y".into())), resolver.resolve(Some("y".into())));
        assert_eq!(resolver.employee_count(), 4);
    }

    #[test]
    fn tables_are_asked_in_order_up_to_a_missing_one_that_might_have_the_key() {
        let first = table(r#"{"17.0.0.1": 1, "17.0.0.2": "x"}"#);
        let second = table(r#"{"17.0.0.1": 2, "17.0.0.3": "x", "17.0.0.4": 9, "17.0.0.5": 1}"#);
        let missing = TableSlot::addresses(None);
        let of_emails =
            TableSlot { kinds: [IdentityKind::Email].into_iter().collect(), table: None };
        let addresses = ["17.0.0.1", "17.0.0.2", "17.0.0.3", "17.0.0.4", "17.0.0.5", "17.0.0.6"];
        let found = |slots: &[&TableSlot]| {
            let slots: Vec<TableSlot> = slots.iter().copied().cloned().collect();
            let mut resolver = Resolver::new(&slots);
            let found = addresses.map(|address| resolver.by_address(address.parse().unwrap()));
            assert_eq!(resolver.by_text(IdentityKind::Hostname, "h"), Err(UnknownIdentity));
            found.map(|found| found.map(|index| resolver.employee_id(index).to_string()))
        };
        let employee = |id: &str| Ok(id.to_owned());
        let all = [
            employee("1"),
            employee("x"),
            employee("x"),
            employee("9"),
            employee("1"),
            Err(UnknownIp),
        ];
        assert_eq!(found(&[&first, &second]), all);
        assert_eq!(found(&[&of_emails, &first, &second, &of_emails]), all, "none has addresses");
        let unavailable = Err(TableUnavailable);
        let of_first = [employee("1"), employee("x")];
        let after_first = [(); 4].map(|()| unavailable.clone());
        assert_eq!(found(&[&first, &missing, &second]), [&of_first[..], &after_first].concat()[..]);
        assert_eq!(found(&[&missing, &first]), [(); 6].map(|()| unavailable.clone()));
        let mut last = all;
        (last[0], last[1], last[5]) = (employee("2"), unavailable.clone(), unavailable);
        assert_eq!(found(&[&second, &missing]), last);
    }

    #[test]
    fn an_employee_of_several_tables_has_one_index() {
        let slots = [
            TableSlot::addresses(None),
            table(r#"{"17.0.0.1": 7}"#),
            table(r#"{"17.0.0.2": "y", "17.0.0.3": "7", "17.0.0.4": "x"}"#),
        ];
        let mut resolver = Resolver::new(&slots[1..]);
        let mut by_address = |last| resolver.by_address([17, 0, 0, last].into()).unwrap();
        assert_eq!((by_address(1), by_address(3), by_address(4)), (0, 0, 1));
        assert_eq!((by_address(2), by_address(2), by_address(4)), (2, 2, 1));
        assert_eq!((resolver.by_id("x"), resolver.by_number(7), resolver.by_id("7")), (1, 0, 0));
        assert_eq!(resolver.employee_count(), 3);
        let ids: Vec<String> = resolver.ids().map(ToString::to_string).collect();
        assert_eq!(ids, ["7", "x", "y"]);
        let mut resolver = Resolver::new(&slots);
        assert_eq!(resolver.by_address([17, 0, 0, 1].into()), Err(TableUnavailable));
        assert_eq!((resolver.employee_count(), resolver.by_number(7)), (1, 0));
    }
}
