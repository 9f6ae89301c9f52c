//! Joins records and identities into incidents, grouped by employee and priority.
//!
//! Each record of each source is in exactly one place of the result: in a group of an employee, or
//! among the unattributed records, with a reason. The join is a pure function.

mod incident_ref;
mod index;
mod order;
mod time_index;
mod time_slices;
mod unattributed;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use incident_ref::IncidentRef;
pub use index::{Employee, IncidentIndex};
pub use order::OrderKey;
pub use unattributed::{Reason, Unattributed};

use self::index::Groups;
use self::time_slices::for_each_by_time_slice;
use crate::decode::{IdentityKey, IdentityValue, Incidents, Priority, Record};
use crate::identity::{EmployeeId, Resolver, TableSlot, UnresolvedIdentity};

/// Joins the records of all sources by employee. `tables` and `sources` are in the configured
/// order; a source without data is `None`.
#[must_use]
pub fn join(tables: &[TableSlot], sources: &[Option<Arc<Incidents>>]) -> IncidentIndex {
    let mut resolver = Resolver::new(tables);
    let Assignment { slots, group_sizes, counts, unattributed } = assign(sources, &mut resolver);
    let groups = group(sources, &resolver, &slots, group_sizes);
    IncidentIndex::new(groups, unattributed, counts)
}

/// Identifies a group before the employees are sorted: the employee's index in the [`Resolver`]
/// times [`GROUPS_PER_EMPLOYEE`], plus the priority.
type Slot = u32;

/// An employee has a group for each priority.
const GROUPS_PER_EMPLOYEE: usize = Priority::ALL.len();

const SLOTS_PER_EMPLOYEE: Slot = 4;
const _: () = assert!(SLOTS_PER_EMPLOYEE as usize == GROUPS_PER_EMPLOYEE);

/// The slot of a record without an employee.
const UNATTRIBUTED: Slot = Slot::MAX;

/// The slot of each record, and counts.
struct Assignment {
    /// For each source, a slot for each record.
    slots: Vec<Vec<Slot>>,
    /// How many records each slot has.
    group_sizes: Vec<u32>,
    /// For each source, how many records have an employee, by priority.
    counts: Vec<[usize; GROUPS_PER_EMPLOYEE]>,
    unattributed: Vec<Unattributed>,
}

fn assign(sources: &[Option<Arc<Incidents>>], resolver: &mut Resolver<'_>) -> Assignment {
    let mut slots = Vec::with_capacity(sources.len());
    let mut group_sizes = vec![0; resolver.employee_count() * GROUPS_PER_EMPLOYEE];
    let mut counts = vec![[0; GROUPS_PER_EMPLOYEE]; sources.len()];
    let mut unattributed = Vec::new();
    for (source, batch) in sources.iter().enumerate() {
        let Some(batch) = batch else {
            slots.push(Vec::new());
            continue;
        };
        let values = ResolvedValues {
            batch,
            others: batch.other_identities().map(|value| Ok(resolver.resolve(value)?)).collect(),
            keys: batch.keys().iter().map(|key| resolve_key(key, resolver)).collect(),
        };
        let mut slots_of_source = Vec::with_capacity(batch.records().len());
        for (index, record) in batch.records().iter().enumerate() {
            match attribute(record, resolver, &values) {
                Ok((employee, priority)) => {
                    let slot = employee * SLOTS_PER_EMPLOYEE + priority as Slot;
                    if slot as usize >= group_sizes.len() {
                        group_sizes.resize(resolver.employee_count() * GROUPS_PER_EMPLOYEE, 0);
                    }
                    group_sizes[slot as usize] += 1;
                    counts[source][priority as usize] += 1;
                    slots_of_source.push(slot);
                }
                Err(reason) => {
                    let (record, source) = (narrow(index), narrow_source(source));
                    unattributed.push(Unattributed { record, source, reason });
                    slots_of_source.push(UNATTRIBUTED);
                }
            }
        }
        slots.push(slots_of_source);
    }
    group_sizes.resize(resolver.employee_count() * GROUPS_PER_EMPLOYEE, 0);
    Assignment { slots, group_sizes, counts, unattributed }
}

/// What the distinct identity values of a batch resolve to.
struct ResolvedValues<'a> {
    batch: &'a Incidents,
    /// For the values of [`Incidents::other_identities`].
    others: Vec<Result<u32, Reason>>,
    /// For the keys of [`Incidents::keys`].
    keys: Vec<Result<u32, UnresolvedIdentity>>,
}

fn resolve_key(key: &IdentityKey, resolver: &mut Resolver<'_>) -> Result<u32, UnresolvedIdentity> {
    match key {
        IdentityKey::EmployeeId(id) => Ok(resolver.by_id(id)),
        IdentityKey::Ip(address) => resolver.by_address(*address),
        IdentityKey::Email(text) | IdentityKey::Username(text) | IdentityKey::Hostname(text) => {
            resolver.by_text(key.kind(), text)
        }
    }
}

impl ResolvedValues<'_> {
    /// The employee of a list of keys: that of the first key that has one.
    fn by_key_list(&self, list: usize) -> Result<u32, Reason> {
        let list = self.batch.key_list(list);
        let mut reason = if list.is_empty() { Reason::UnknownIdentity } else { Reason::UnknownIp };
        for key in list {
            match self.keys[*key as usize] {
                Ok(employee) => return Ok(employee),
                Err(UnresolvedIdentity::TableUnavailable) => reason = Reason::IdentitiesUnavailable,
                Err(UnresolvedIdentity::UnknownIp) => {}
                Err(_) if reason == Reason::UnknownIp => reason = Reason::UnknownIdentity,
                Err(_) => {}
            }
        }
        Err(reason)
    }
}

/// The employee and priority of a record, or why it is unattributed.
#[inline]
fn attribute(
    record: &Record,
    resolver: &mut Resolver<'_>,
    values: &ResolvedValues<'_>,
) -> Result<(u32, Priority), Reason> {
    if let Some(fault) = record.identity_fault() {
        return Err(fault.into());
    }
    let employee = match record.identity() {
        Some(IdentityValue::Number(number)) => resolver.by_number(number),
        Some(IdentityValue::V4(address)) => resolver.by_address(address.into())?,
        Some(IdentityValue::Other(index)) => values.others[index]?,
        Some(IdentityValue::Keys(list)) => values.by_key_list(list)?,
        None => return Err(Reason::MissingIdentity),
    };
    match (record.value_fault(), record.priority()) {
        (None, Some(priority)) => Ok((employee, priority)),
        (fault, _) => Err(fault.map_or(Reason::InvalidPriority, Reason::from)),
    }
}

/// Sorts the employees into the order of the document, and their incidents into groups.
fn group(
    sources: &[Option<Arc<Incidents>>],
    resolver: &Resolver<'_>,
    slots: &[Vec<Slot>],
    group_sizes: Vec<u32>,
) -> Groups {
    let ranked = order::document_order(resolver.ids(), &group_sizes);
    let mut groups = Groups::default();
    groups.id_ends.reserve_exact(ranked.len());
    groups.group_ends.reserve_exact(ranked.len() * GROUPS_PER_EMPLOYEE);
    // For each slot, the position of its group's next incident.
    let mut next = group_sizes;
    let mut end = 0;
    for &employee in &ranked {
        match resolver.employee_id(employee) {
            EmployeeId::Number(number) => groups.ids.push_str(itoa::Buffer::new().format(*number)),
            EmployeeId::Text(text) => groups.ids.push_str(text),
        }
        groups.id_ends.push(narrow(groups.ids.len()));
        for size in &mut next[employee as usize * GROUPS_PER_EMPLOYEE..][..GROUPS_PER_EMPLOYEE] {
            let start = end;
            end += *size;
            groups.group_ends.push(end);
            *size = start;
        }
    }
    groups.incidents = vec![IncidentRef::default(); end as usize];
    for_each_by_time_slice(sources, |source, index, record| {
        let slot = slots[source][index];
        if slot != UNATTRIBUTED {
            let next = &mut next[slot as usize];
            groups.incidents[*next as usize] =
                IncidentRef::new(record, narrow(index), narrow_source(source));
            *next += 1;
        }
    });
    let mut start = 0;
    for &end in &groups.group_ends {
        groups.incidents[start as usize..end as usize].sort_by(IncidentRef::cmp_in_group);
        start = end;
    }
    groups
}

/// An index in 32 bits. A body has less than 2^32 bytes, so the records of one source fit. Should
/// the sum over all sources not fit, a panic is better than a wrong document.
#[inline]
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 records")
}

#[inline]
fn narrow_source(index: usize) -> u16 {
    u16::try_from(index).expect("the configuration allows 1,000 sources")
}
