//! Records and identities → employees, groups in order, and what could not be placed with the reason. Pure.
//!
//! Every record of every source ends in exactly one place: a group of an employee, or the unattributed.

mod identity;

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

pub use identity::{Meaning, OrderKey, resolve};

use crate::decode::{Identities, Incidents, Priority, Record, RecordFault};

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

/// A record in an employee's group.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Seconds since the epoch, finite.
    pub timestamp: f64,
    record: u32,
    source: u16,
}

/// A record that no employee could be found for, or that is too broken to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Unattributed {
    record: u32,
    source: u16,
    /// Why.
    pub reason: Reason,
}

/// A record's place in the batches that were joined.
pub trait Located {
    /// The index of its source.
    fn source(&self) -> usize;
    /// Its index among the source's records.
    fn record(&self) -> usize;
}

impl Located for Placed {
    fn source(&self) -> usize {
        self.source.into()
    }

    fn record(&self) -> usize {
        self.record as usize
    }
}

impl Located for Unattributed {
    fn source(&self) -> usize {
        self.source.into()
    }

    fn record(&self) -> usize {
        self.record as usize
    }
}

/// An employee with their incidents.
#[derive(Clone, Copy, Debug)]
pub struct Employee<'a> {
    /// The employee's id.
    pub id: &'a str,
    /// A list for each priority, in the order of [`Priority::ALL`]; each ascends by timestamp, ties in the order of the
    /// sources, then upstream order.
    pub groups: [&'a [Placed]; 4],
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
}

/// Joins the sources' records (in their configured order, absent ones as `None`) by employee.
#[must_use]
pub fn join(identities: Option<&Identities>, sources: &[Option<&Incidents>]) -> Joined {
    let mut employees = Employees::default();
    let resolutions: Vec<Vec<Result<u32, Reason>>> = sources
        .iter()
        .map(|source| source.map_or_else(Vec::new, |source| employees.resolve(source, identities)))
        .collect();
    let placements = || {
        sources.iter().zip(&resolutions).enumerate().flat_map(|(source_index, (source, resolution))| {
            let records = source.map_or(&[][..], Incidents::records);
            records
                .iter()
                .enumerate()
                .map(move |(index, record)| (source_index, index, record, place(record, resolution)))
        })
    };

    let mut counts = vec![[0_u32; 4]; employees.ids.len()];
    let mut tally = vec![[0; 4]; sources.len()];
    let mut unattributed = Vec::new();
    for (source, record, _, place) in placements() {
        match place {
            Ok((employee, priority)) => {
                counts[employee as usize][priority as usize] += 1;
                tally[source][priority as usize] += 1;
            }
            Err(reason) => {
                unattributed.push(Unattributed { record: narrow(record), source: narrow_source(source), reason });
            }
        }
    }

    let ranked = employees.ranked(&counts);
    let mut joined = Joined { unattributed, tally, ..Joined::default() };
    joined.id_ends.reserve_exact(ranked.len());
    joined.group_ends.reserve_exact(ranked.len() * 4);
    let mut end = 0;
    for &employee in &ranked {
        joined.ids.push_str(&employees.ids[employee as usize]);
        joined.id_ends.push(narrow(joined.ids.len()));
        // Each count becomes where its group begins, which the scatter below moves on to its end.
        for count in &mut counts[employee as usize] {
            let begin = end;
            end += *count;
            joined.group_ends.push(end);
            *count = begin;
        }
    }
    joined.placed = vec![Placed { timestamp: 0.0, record: 0, source: 0 }; end as usize];
    for (source, index, record, place) in placements() {
        if let Ok((employee, priority)) = place {
            let next = &mut counts[employee as usize][priority as usize];
            joined.placed[*next as usize] =
                Placed { timestamp: record.timestamp(), record: narrow(index), source: narrow_source(source) };
            *next += 1;
        }
    }
    // Records were scattered in the order of sources and upstream, so a stable sort keeps ties in that order; it also
    // makes use of the sorted runs that sources usually bring.
    let mut begin = 0;
    for &end in &joined.group_ends {
        joined.placed[begin as usize..end as usize].sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
        begin = end;
    }
    joined.build_index();
    joined
}

/// The employee and priority of a record, or why it has none.
#[inline]
fn place(record: &Record, resolution: &[Result<u32, Reason>]) -> Result<(u32, Priority), Reason> {
    if let Some(fault) = record.identity_fault() {
        return Err(fault.into());
    }
    let employee = record.identity().map_or(Err(Reason::MissingIdentity), |identity| resolution[identity])?;
    match (record.value_fault(), record.priority()) {
        (None, Some(priority)) => Ok((employee, priority)),
        (fault, _) => Err(fault.map_or(Reason::InvalidPriority, Reason::from)),
    }
}

/// An index as 32 bits: a body has less than 2³² bytes, so every count of things in one fits, and their sum over the few
/// sources does in all but absurd cases, which end here rather than in a wrong document.
#[inline]
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 records")
}

#[inline]
fn narrow_source(index: usize) -> u16 {
    u16::try_from(index).expect("configuration allows fewer than 2^16 sources")
}

/// The employees that identity values name, each once.
#[derive(Default)]
struct Employees {
    ids: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Employees {
    fn intern(&mut self, id: &str) -> u32 {
        let Self { ids, index, hasher } = self;
        let entry = index.entry(
            hasher.hash_one(id),
            |&known| &*ids[known as usize] == id,
            |&known| hasher.hash_one(&*ids[known as usize]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(known) => *known.get(),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let new = narrow(ids.len());
                vacant.insert(new);
                ids.push(id.into());
                new
            }
        }
    }

    /// Whom each distinct identity value of a source names.
    fn resolve(&mut self, source: &Incidents, identities: Option<&Identities>) -> Vec<Result<u32, Reason>> {
        let resolve = |value| match value {
            None => Err(Reason::MissingIdentity),
            Some(value) => match resolve(value, identities) {
                Meaning::Employee(id) => Ok(self.intern(&id)),
                Meaning::UnknownAddress => Err(Reason::UnknownIp),
                Meaning::IdentitiesUnavailable => Err(Reason::IdentitiesUnavailable),
            },
        };
        source.identities().map(resolve).collect()
    }

    /// The employees with at least one incident, in the order of the document.
    fn ranked(&self, counts: &[[u32; 4]]) -> Vec<u32> {
        let mut ranked: Vec<(OrderKey<'_>, u32)> = self
            .ids
            .iter()
            .zip(0..)
            .filter(|(_, employee)| counts[*employee as usize] != [0; 4])
            .map(|(id, employee)| (OrderKey::new(id), employee))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, employee)| employee).collect()
    }
}

impl Joined {
    fn build_index(&mut self) {
        let mut index = HashTable::with_capacity(self.id_ends.len());
        for rank in 0..self.id_ends.len() {
            let hash = self.hasher.hash_one(self.id(rank));
            index.insert_unique(hash, narrow(rank), |&rank| self.hasher.hash_one(self.id(rank as usize)));
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
        let end = |group: usize| group.checked_sub(1).map_or(0, |before| self.group_ends[before]) as usize;
        let group = |priority: usize| &self.placed[end(rank * 4 + priority)..end(rank * 4 + priority + 1)];
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
        let rank = self.index.find(self.hasher.hash_one(id), |&rank| self.id(rank as usize) == id)?;
        Some(*rank as usize)
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
