//! Whom identity values name: each employee once, by the order of first mention.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::net::Ipv4Addr;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable, hash_table};

use super::identity::{Meaning, OrderKey, resolve, resolve_address};
use super::{NO_SLOT, Reason, narrow};
use crate::decode::{EmployeeId, Identities};

/// The employees that identity values name, each once.
#[derive(Default)]
pub(super) struct Employees {
    /// Their ids, in the order in which they were met.
    pub(super) ids: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// What was found before, without making a text of the value again.
    numbers: HashMap<u32, u32>,
    addresses: HashMap<Ipv4Addr, Result<u32, Reason>>,
}

impl Employees {
    fn intern(&mut self, id: &str) -> u32 {
        let Self { ids, index, hasher, .. } = self;
        let entry = index.entry(
            hasher.hash_one(id),
            |&known| &*ids[known as usize] == id,
            |&known| hasher.hash_one(&*ids[known as usize]),
        );
        match entry {
            hash_table::Entry::Occupied(known) => *known.get(),
            hash_table::Entry::Vacant(vacant) => {
                let new = narrow(ids.len());
                // Four slots an employee must have numbers of 32 bits too.
                assert!(new < NO_SLOT / 4, "fewer than 2^30 employees");
                vacant.insert(new);
                ids.push(id.into());
                new
            }
        }
    }

    #[inline]
    pub(super) fn number(&mut self, number: u32) -> u32 {
        if let Some(&known) = self.numbers.get(&number) {
            return known;
        }
        let employee = self.intern(itoa::Buffer::new().format(number));
        self.numbers.insert(number, employee);
        employee
    }

    #[inline]
    pub(super) fn v4(&mut self, address: Ipv4Addr, identities: Option<&Identities>) -> Result<u32, Reason> {
        if let Some(&known) = self.addresses.get(&address) {
            return known;
        }
        let employee = self.resolved(resolve_address(address.into(), identities));
        self.addresses.insert(address, employee);
        employee
    }

    pub(super) fn other(
        &mut self,
        value: Option<Cow<'_, str>>,
        identities: Option<&Identities>,
    ) -> Result<u32, Reason> {
        value.map_or(Err(Reason::MissingIdentity), |value| self.resolved(resolve(value, identities)))
    }

    fn resolved(&mut self, meaning: Meaning<'_>) -> Result<u32, Reason> {
        match meaning {
            Meaning::Employee(EmployeeId::Number(number)) => Ok(self.number(number)),
            Meaning::Employee(EmployeeId::Text(id)) => Ok(self.intern(&id)),
            Meaning::UnknownAddress => Err(Reason::UnknownIp),
            Meaning::IdentitiesUnavailable => Err(Reason::IdentitiesUnavailable),
        }
    }

    /// The employees with at least one incident, in the order of the document.
    pub(super) fn ranked(&self, counts: &[u32]) -> Vec<u32> {
        let mut ranked: Vec<(OrderKey<'_>, u32)> = self
            .ids
            .iter()
            .zip(0..)
            .filter(|(_, employee)| counts[*employee as usize * 4..][..4] != [0; 4])
            .map(|(id, employee)| (OrderKey::new(id), employee))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, employee)| employee).collect()
    }
}
