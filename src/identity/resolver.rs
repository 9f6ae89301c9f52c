//! Resolves identity values to the employees that they name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::address::parse_address;
use super::employee_id::{EmployeeId, EmployeeIds};
use super::table::IdentityTable;

/// Why a value names no employee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnresolvedIdentity {
    /// It is an address that is not in the table.
    UnknownIp,
    /// It is an address, and there is no table.
    TableUnavailable,
    /// It is not Unicode text, and so no identity.
    NotAnIdentity,
}

/// Gives each employee an index: first those of the table, in its order, then others in the order
/// in which identity values name them.
pub struct Resolver<'a> {
    table: Option<&'a IdentityTable>,
    /// How many employees the table names.
    table_len: u32,
    others: EmployeeIds,
}

/// The join numbers groups with 32 bits, and has four groups for each employee.
const MAX_EMPLOYEES: u32 = u32::MAX / 4;

impl<'a> Resolver<'a> {
    /// A resolver that looks addresses up in `table`.
    ///
    /// # Panics
    ///
    /// When there are 2^30 employees or more.
    #[must_use]
    pub fn new(table: Option<&'a IdentityTable>) -> Self {
        let table_len = table.map_or(0, |table| table.ids().len());
        let table_len = u32::try_from(table_len).ok().filter(|len| *len < MAX_EMPLOYEES);
        let table_len = table_len.expect("fewer than 2^30 employees");
        Self { table, table_len, others: EmployeeIds::default() }
    }

    /// How many employees have an index so far.
    #[must_use]
    pub fn employee_count(&self) -> usize {
        self.table_len as usize + self.others.len()
    }

    /// The index of the employee whose id is this number.
    #[inline]
    pub fn by_number(&mut self, number: u32) -> u32 {
        let known = self.table.and_then(|table| table.ids().find_number(number));
        known.unwrap_or_else(|| {
            let other = self.others.intern_number(number);
            self.other_employee(other)
        })
    }

    fn by_id(&mut self, id: &str) -> u32 {
        let known = self.table.and_then(|table| table.ids().find(id));
        known.unwrap_or_else(|| {
            let other = self.others.intern(id);
            self.other_employee(other)
        })
    }

    fn other_employee(&self, index: u32) -> u32 {
        let employee = self.table_len + index;
        assert!(employee < MAX_EMPLOYEES, "fewer than 2^30 employees");
        employee
    }

    /// The index of the employee that a canonical address belongs to.
    ///
    /// # Errors
    ///
    /// When there is no table, or the address is not in it.
    #[inline]
    pub fn by_address(&self, address: IpAddr) -> Result<u32, UnresolvedIdentity> {
        let table = self.table.ok_or(UnresolvedIdentity::TableUnavailable)?;
        table.employee(address).ok_or(UnresolvedIdentity::UnknownIp)
    }

    /// The index of the employee that a value names: an IP address is looked up, anything else is
    /// the employee's id itself. `None` stands for a string that is not Unicode text.
    ///
    /// # Errors
    ///
    /// When the value is `None`, or an address that is not in the table.
    pub fn resolve(&mut self, value: Option<Cow<'_, str>>) -> Result<u32, UnresolvedIdentity> {
        let value = value.ok_or(UnresolvedIdentity::NotAnIdentity)?;
        match parse_address(&value) {
            Some(address) => self.by_address(address),
            None => Ok(self.by_id(&value)),
        }
    }

    /// The ids of all employees, in the order of their indices.
    pub fn ids(&self) -> impl Iterator<Item = &EmployeeId> {
        self.table.map_or(&[][..], |table| table.ids().list()).iter().chain(self.others.list())
    }

    /// The id of the employee with this index.
    ///
    /// # Panics
    ///
    /// When there is no such employee.
    #[must_use]
    pub fn employee_id(&self, employee: u32) -> &EmployeeId {
        match (self.table, employee.checked_sub(self.table_len)) {
            (Some(table), None) => &table.ids().list()[employee as usize],
            (_, other) => &self.others.list()[other.unwrap_or_default() as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::UnresolvedIdentity::{NotAnIdentity, TableUnavailable, UnknownIp};
    use super::*;

    fn table(body: &'static str) -> IdentityTable {
        IdentityTable::decode(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn addresses_are_looked_up_as_addresses() {
        let table = table(
            r#"{"17.1.2.3": 7, "2001:DB8:0::1": "eight", "::ffff:17.9.9.9": "009",
                "17.0.0.1": null, "17.0.0.2": "17.1.2.3", "host": 5, "fe80::1%eth1": "nine"}"#,
        );
        let mut resolver = Resolver::new(Some(&table));
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
        let mut resolver = Resolver::new(None);
        assert_eq!(resolver.resolve(Some("::1".into())), Err(TableUnavailable));
        assert_eq!(resolver.resolve(Some("1234".into())), Ok(resolver.by_number(1234)));
        assert_eq!(resolver.resolve(None), Err(NotAnIdentity));
    }

    #[test]
    fn an_id_names_the_same_employee_as_number_as_text_and_by_address() {
        let table = table(r#"{"17.0.0.1": 7, "17.0.0.2": "x"}"#);
        let mut resolver = Resolver::new(Some(&table));
        let seven = resolver.by_address([17, 0, 0, 1].into()).unwrap();
        assert_eq!((resolver.by_number(7), resolver.resolve(Some("7".into()))), (seven, Ok(seven)));
        assert_eq!(resolver.resolve(Some("x".into())), resolver.by_address([17, 0, 0, 2].into()));
        assert_eq!(resolver.resolve(Some("8".into())), Ok(resolver.by_number(8)));
        assert_eq!(resolver.resolve(Some("y".into())), resolver.resolve(Some("y".into())));
        assert_eq!(resolver.employee_count(), 4);
    }
}
