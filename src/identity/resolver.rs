//! Resolves identity values to the employees that they name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::employee_id::{EmployeeId, EmployeeIds};
use super::table::IdentityTable;
use super::table_slot::TableSlot;
use crate::mapping::{IdentityKind, parse_address};

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
mod tests;
