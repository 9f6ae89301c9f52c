//! A table that maps identities to employees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;

use super::content_digest::ContentDigest;
use super::employee_id::EmployeeIds;
use super::key_kinds::KeyKinds;
use super::person_names::PersonNames;
use super::text_keys::TextKeys;
use crate::mapping::IdentityKind;

/// Maps addresses, e-mail addresses, user names and host names to employees.
#[derive(Debug)]
pub struct IdentityTable {
    pub(super) kinds: KeyKinds,
    pub(super) addresses: Addresses,
    pub(super) texts: TextKeys,
    pub(super) ids: EmployeeIds,
    pub(super) names: PersonNames,
    pub(super) records: usize,
    pub(super) conflicts: usize,
    pub(super) oversized_ids: usize,
    pub(super) digest: ContentDigest,
}

/// Addresses with their employees.
type Entries<A> = Vec<(A, u32)>;

fn sorted<A: Copy + Ord>(addresses: &HashMap<A, u32>) -> Entries<A> {
    let mut entries: Entries<A> = addresses.iter().map(|(address, of)| (*address, *of)).collect();
    entries.sort_unstable();
    entries
}

/// Employees by canonical address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    v4: HashMap<Ipv4Addr, u32>,
    v6: HashMap<Ipv6Addr, u32>,
}

impl Addresses {
    #[inline]
    pub(super) fn get(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.v4.get(&address).copied(),
            IpAddr::V6(address) => self.v6.get(&address).copied(),
        }
    }

    /// Sets an address's employee; returns its former employee.
    pub(super) fn insert(&mut self, address: IpAddr, employee: u32) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.v4.insert(address, employee),
            IpAddr::V6(address) => self.v6.insert(address, employee),
        }
    }

    /// Gives an address to an employee unless another has it; returns who has it then.
    pub(super) fn get_or_insert(&mut self, address: IpAddr, employee: u32) -> u32 {
        match address {
            IpAddr::V4(address) => *self.v4.entry(address).or_insert(employee),
            IpAddr::V6(address) => *self.v6.entry(address).or_insert(employee),
        }
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.remove(&address),
            IpAddr::V6(address) => self.v6.remove(&address),
        };
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// All addresses with their employees, in order.
    pub(super) fn sorted(&self) -> (Entries<Ipv4Addr>, Entries<Ipv6Addr>) {
        (sorted(&self.v4), sorted(&self.v6))
    }

    /// Gives back memory that was reserved for more addresses.
    pub(super) fn shrink_to_fit(&mut self) {
        self.v4.shrink_to_fit();
        self.v6.shrink_to_fit();
    }
}

impl IdentityTable {
    /// The number of keys that map to an employee.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len() + self.texts.len()
    }

    /// Whether no key maps to an employee.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of records: of addresses that map to an employee, or of rows.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// Whether it can be looked up by keys of this kind.
    #[must_use]
    pub fn has(&self, kind: IdentityKind) -> bool {
        self.kinds.contains(kind)
    }

    /// The number of keys of this kind that map to an employee.
    #[must_use]
    pub fn key_count(&self, kind: IdentityKind) -> usize {
        match kind {
            IdentityKind::Ip => self.addresses.len(),
            kind => self.texts.count(kind),
        }
    }

    /// How often an entry gave a key to another employee than the key had. In rows the first
    /// employee counts, in an object of addresses the last.
    #[must_use]
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// The number of entries that are ignored because their employee id is longer than
    /// [`MAX_ID_BYTES`](crate::decode::MAX_ID_BYTES).
    #[must_use]
    pub fn oversized_ids(&self) -> usize {
        self.oversized_ids
    }

    /// The size in bytes of what it was decoded from.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.digest.size_bytes
    }

    /// Whether both were decoded from the same bytes.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// The ids of all employees that entries name.
    #[must_use]
    pub fn ids(&self) -> &EmployeeIds {
        &self.ids
    }

    /// The employee that a canonical address belongs to, as an index in [`Self::ids`].
    #[must_use]
    #[inline]
    pub fn employee(&self, address: IpAddr) -> Option<u32> {
        self.addresses.get(address)
    }

    /// The employee that a cleaned key of another kind belongs to, as an index in [`Self::ids`].
    #[must_use]
    pub fn employee_by_text(&self, kind: IdentityKind, key: &str) -> Option<u32> {
        self.texts.get(kind, key)
    }

    /// Whether it has the name of any person.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The name of the person with this employee id.
    #[must_use]
    pub fn name(&self, employee_id: &str) -> Option<&str> {
        self.names.get(self.ids.find(employee_id)?)
    }
}
