//! Records and identities → employees, groups in order, and what could not be placed with the
//! reason. Pure.
//!
//! Every record of every source ends in exactly one place: a group of an employee, or the
//! unattributed.

mod by_time;
mod employees;
mod order;
mod placed;
mod slices;

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

pub use order::OrderKey;
pub use placed::Placed;

use self::by_time::TimeIndex;
use self::employees::Employees;
use crate::decode::{
    EmployeeId, Identities, IdentityValue, Incidents, Priority, Record, RecordFault,
};

/// Why a record stands among the unattributed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// Its address is not among the identities.
    UnknownIp,
    /// It names an address, and there are no identities to look it up in.
    IdentitiesUnavailable,
    /// It names nobody.
    MissingIdentity,
    /// Its priority is absent or none of the four.
    InvalidPriority,
    /// Its timestamp is absent, no number, or not finite.
    InvalidTimestamp,
    /// It is no JSON object.
    NotAnObject,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::UnknownIp,
        Self::IdentitiesUnavailable,
        Self::MissingIdentity,
        Self::InvalidPriority,
        Self::InvalidTimestamp,
        Self::NotAnObject,
    ];

    /// The word for it in `/unattributed` and the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIp => "unknown_ip",
            Self::IdentitiesUnavailable => "identities_unavailable",
            Self::MissingIdentity => "missing_identity",
            Self::InvalidPriority => "invalid_priority",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::NotAnObject => "not_an_object",
        }
    }
}

impl From<RecordFault> for Reason {
    fn from(fault: RecordFault) -> Self {
        match fault {
            RecordFault::NotAnObject => Self::NotAnObject,
            RecordFault::MissingIdentity => Self::MissingIdentity,
            RecordFault::InvalidPriority => Self::InvalidPriority,
            RecordFault::InvalidTimestamp => Self::InvalidTimestamp,
        }
    }
}

/// A record that no employee could be found for, or that is too broken to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Unattributed {
    record: u32,
    source: u16,
    /// Why.
    pub reason: Reason,
}

impl Unattributed {
    /// The index of its source.
    #[must_use]
    pub fn source(&self) -> usize {
        self.source.into()
    }

    /// Its index among the source's records.
    #[must_use]
    pub fn record(&self) -> usize {
        self.record as usize
    }
}

/// An employee with their incidents.
#[derive(Clone, Copy, Debug)]
pub struct Employee<'a> {
    /// The employee's id.
    pub id: &'a str,
    /// A list for each priority, in the order of [`Priority::ALL`]; each ascends by timestamp, ties
    /// in the order of the sources, then upstream order.
    pub groups: [&'a [Placed]; 4],
}

impl Employee<'_> {
    /// How many incidents they have.
    #[must_use]
    pub fn incident_count(&self) -> usize {
        self.groups.iter().map(|group| group.len()).sum()
    }
}

/// All records of all sources, each in its place.
#[derive(Debug, Default)]
pub struct Joined {
    /// The ids of all employees with incidents, in order, one after the other.
    ids: String,
    /// Where each id ends in `ids`.
    id_ends: Vec<u32>,
    /// Where each group ends in `placed`; four an employee.
    group_ends: Vec<u32>,
    placed: Vec<Placed>,
    unattributed: Vec<Unattributed>,
    /// Ranks of employees, by the hash of their ids.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// How many incidents each source has of each priority.
    tally: Vec<[usize; 4]>,
    by_time: TimeIndex,
}

/// Where a record goes before the groups have their places: the employee's number times four, plus
/// the priority.
type Slot = u32;

/// The slot of a record that has no employee.
const NO_SLOT: Slot = Slot::MAX;

/// Joins the sources' records (in their configured order, absent ones as `None`) by employee.
#[must_use]
pub fn join(identities: Option<&Identities>, sources: &[Option<&Incidents>]) -> Joined {
    let records = |source: usize| sources[source].map_or(&[][..], Incidents::records);
    let mut employees = Employees::new(identities);
    let mut counts: Vec<u32> = vec![0; employees.len() * 4];
    let mut tally = vec![[0; 4]; sources.len()];
    let mut unattributed = Vec::new();
    let mut slots =
        Vec::with_capacity((0..sources.len()).map(|source| records(source).len()).sum());
    let mut first_slots = Vec::with_capacity(sources.len());
    for source in 0..sources.len() {
        first_slots.push(slots.len());
        let others: Vec<_> = match sources[source] {
            Some(incidents) => {
                incidents.other_identities().map(|value| employees.other(value)).collect()
            }
            None => Vec::new(),
        };
        for (index, record) in records(source).iter().enumerate() {
            match place(record, &mut employees, &others) {
                Ok((employee, priority)) => {
                    let slot = employee * 4 + priority as Slot;
                    if slot as usize >= counts.len() {
                        counts.resize(employees.len() * 4, 0);
                    }
                    counts[slot as usize] += 1;
                    tally[source][priority as usize] += 1;
                    slots.push(slot);
                }
                Err(reason) => {
                    let (record, source) = (narrow(index), narrow_source(source));
                    unattributed.push(Unattributed { record, source, reason });
                    slots.push(NO_SLOT);
                }
            }
        }
    }
    counts.resize(employees.len() * 4, 0);

    let ranked = employees.ranked(&counts);
    let mut joined = Joined { unattributed, tally, ..Joined::default() };
    joined.id_ends.reserve_exact(ranked.len());
    joined.group_ends.reserve_exact(ranked.len() * 4);
    let mut end = 0;
    for &employee in &ranked {
        match employees.get(employee) {
            EmployeeId::Number(number) => joined.ids.push_str(itoa::Buffer::new().format(*number)),
            EmployeeId::Text(text) => joined.ids.push_str(text),
        }
        joined.id_ends.push(narrow(joined.ids.len()));
        // Each count becomes where its group begins, which the scatter below moves on to its end.
        for count in &mut counts[employee as usize * 4..][..4] {
            let begin = end;
            end += *count;
            joined.group_ends.push(end);
            *count = begin;
        }
    }
    joined.placed = vec![Placed::default(); end as usize];
    slices::for_each(sources, |source, index, record| {
        let slot = slots[first_slots[source] + index];
        if slot != NO_SLOT {
            let next = &mut counts[slot as usize];
            joined.placed[*next as usize] = Placed::new(record, narrow_source(source));
            *next += 1;
        }
    });
    let mut begin = 0;
    for &end in &joined.group_ends {
        joined.placed[begin as usize..end as usize].sort_by(Placed::order);
        begin = end;
    }
    joined.build_index();
    joined.by_time = TimeIndex::new(&joined);
    joined
}

/// The employee and priority of a record, or why it has none. `others` are the employees of the
/// source's identity values that are neither small numbers nor IPv4 addresses.
#[inline]
fn place(
    record: &Record,
    employees: &mut Employees<'_>,
    others: &[Result<u32, Reason>],
) -> Result<(u32, Priority), Reason> {
    if let Some(fault) = record.identity_fault() {
        return Err(fault.into());
    }
    let employee = match record.identity() {
        Some(IdentityValue::Number(number)) => employees.number(number),
        Some(IdentityValue::V4(address)) => employees.address(address.into())?,
        Some(IdentityValue::Other(index)) => others[index]?,
        None => return Err(Reason::MissingIdentity),
    };
    match (record.value_fault(), record.priority()) {
        (None, Some(priority)) => Ok((employee, priority)),
        (fault, _) => Err(fault.map_or(Reason::InvalidPriority, Reason::from)),
    }
}

/// An index as 32 bits: a body has less than 2³² bytes, so every count of things in one fits, and
/// their sum over the few sources does in all but absurd cases, which end here rather than in a
/// wrong document.
#[inline]
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 records")
}

#[inline]
fn narrow_source(index: usize) -> u16 {
    let narrow = u16::try_from(index).ok().filter(|index| *index <= placed::MAX_SOURCE);
    narrow.expect("configuration allows 1000 sources")
}

impl Joined {
    fn build_index(&mut self) {
        let mut index = HashTable::with_capacity(self.id_ends.len());
        for rank in 0..self.id_ends.len() {
            let hash = self.hasher.hash_one(self.id(rank));
            index.insert_unique(hash, narrow(rank), |&rank| {
                self.hasher.hash_one(self.id(rank as usize))
            });
        }
        self.index = index;
    }

    fn id(&self, rank: usize) -> &str {
        let begin = rank.checked_sub(1).map_or(0, |before| self.id_ends[before]);
        &self.ids[begin as usize..self.id_ends[rank] as usize]
    }

    /// How many employees have incidents.
    #[must_use]
    pub fn employee_count(&self) -> usize {
        self.id_ends.len()
    }

    /// How many incidents have an employee.
    #[must_use]
    pub fn incident_count(&self) -> usize {
        self.placed.len()
    }

    /// The employee at a place in the order of the document.
    ///
    /// # Panics
    ///
    /// When `rank` is not below [`Self::employee_count`].
    #[must_use]
    pub fn employee_at(&self, rank: usize) -> Employee<'_> {
        let end = |group: usize| {
            group.checked_sub(1).map_or(0, |before| self.group_ends[before]) as usize
        };
        let group =
            |priority: usize| &self.placed[end(rank * 4 + priority)..end(rank * 4 + priority + 1)];
        Employee { id: self.id(rank), groups: [group(0), group(1), group(2), group(3)] }
    }

    /// The employees with incidents, in the order of the document.
    #[must_use]
    pub fn employees(&self) -> impl ExactSizeIterator<Item = Employee<'_>> {
        (0..self.employee_count()).map(|rank| self.employee_at(rank))
    }

    /// The employee of that id, found without a scan.
    #[must_use]
    pub fn employee(&self, id: &str) -> Option<Employee<'_>> {
        self.rank(id).map(|rank| self.employee_at(rank))
    }

    /// Where the employee of that id stands in the document.
    #[must_use]
    pub fn rank(&self, id: &str) -> Option<usize> {
        let rank =
            self.index.find(self.hasher.hash_one(id), |&rank| self.id(rank as usize) == id)?;
        Some(*rank as usize)
    }

    /// The ranks, in order, of all employees with incidents from `since` on and before `until`, and
    /// of some others; none when these are so many that it is as well to go through all.
    #[must_use]
    pub fn ranks_between(&self, since: Option<f64>, until: Option<f64>) -> Option<Vec<usize>> {
        self.by_time.ranks(since, until, self.employee_count())
    }

    /// What could not be placed, in the order of the sources, then upstream order.
    #[must_use]
    pub fn unattributed(&self) -> &[Unattributed] {
        &self.unattributed
    }

    /// How many incidents of each priority ([`Priority::ALL`]) each source has.
    #[must_use]
    pub fn tally(&self) -> &[[usize; 4]] {
        &self.tally
    }
}
