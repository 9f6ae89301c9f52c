//! The result of the join: incidents grouped by employee and priority, and ways to find them.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::time_index::TimeIndex;
use super::{GROUPS_PER_EMPLOYEE, IncidentRef, Unattributed, narrow};

/// An employee and their incidents.
#[derive(Clone, Copy, Debug)]
pub struct Employee<'a> {
    /// The employee's id.
    pub id: &'a str,
    /// A list for each priority, in the order of [`Priority::ALL`](crate::decode::Priority::ALL);
    /// each ascends by timestamp, ties in the order of the sources, then upstream order.
    pub groups: [&'a [IncidentRef]; GROUPS_PER_EMPLOYEE],
}

impl Employee<'_> {
    /// How many incidents they have.
    #[must_use]
    pub fn incident_count(&self) -> usize {
        self.groups.iter().map(|group| group.len()).sum()
    }
}

/// The employees with at least one incident, in the order of the document, and their incidents.
///
/// An employee's position in this order is called the rank.
#[derive(Debug)]
pub struct IncidentIndex {
    pub(super) groups: Groups,
    unattributed: Vec<Unattributed>,
    counts: Vec<[usize; GROUPS_PER_EMPLOYEE]>,
    /// Ranks, by the hash of the employees' ids.
    ranks: HashTable<u32>,
    hasher: DefaultHashBuilder,
    time_index: TimeIndex,
    time_range: Option<(f64, f64)>,
}

/// Employees and their incidents, one after another in the order of the document.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The ids of all employees, concatenated.
    pub(super) ids: String,
    /// The end of each employee's id in `ids`, by rank.
    pub(super) id_ends: Vec<u32>,
    /// The end of each group in `incidents`; an employee has [`GROUPS_PER_EMPLOYEE`] groups.
    pub(super) group_ends: Vec<u32>,
    pub(super) incidents: Vec<IncidentRef>,
}

impl Groups {
    fn id(&self, rank: usize) -> &str {
        let start = rank.checked_sub(1).map_or(0, |before| self.id_ends[before]);
        &self.ids[start as usize..self.id_ends[rank] as usize]
    }

    fn group(&self, group: usize) -> &[IncidentRef] {
        let start = group.checked_sub(1).map_or(0, |before| self.group_ends[before]);
        &self.incidents[start as usize..self.group_ends[group] as usize]
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        // Each group is sorted by time.
        let groups = (0..self.group_ends.len()).map(|group| self.group(group));
        let ranges =
            groups.filter_map(|group| Some((group.first()?.timestamp, group.last()?.timestamp)));
        ranges.reduce(|all, group| (all.0.min(group.0), all.1.max(group.1)))
    }
}

impl IncidentIndex {
    pub(super) fn new(
        groups: Groups,
        unattributed: Vec<Unattributed>,
        counts: Vec<[usize; GROUPS_PER_EMPLOYEE]>,
    ) -> Self {
        let hasher = DefaultHashBuilder::default();
        let hash = |rank: u32| hasher.hash_one(groups.id(rank as usize));
        let mut ranks = HashTable::with_capacity(groups.id_ends.len());
        for rank in 0..narrow(groups.id_ends.len()) {
            ranks.insert_unique(hash(rank), rank, |&rank| hash(rank));
        }
        let time_index = TimeIndex::new(&groups.incidents, &groups.group_ends);
        let time_range = groups.time_range();
        Self { groups, unattributed, counts, ranks, hasher, time_index, time_range }
    }

    /// How many employees have incidents.
    #[must_use]
    pub fn employee_count(&self) -> usize {
        self.groups.id_ends.len()
    }

    /// How many incidents have an employee.
    #[must_use]
    pub fn incident_count(&self) -> usize {
        self.groups.incidents.len()
    }

    /// All incidents, in the order of the document.
    #[must_use]
    pub fn incidents(&self) -> &[IncidentRef] {
        &self.groups.incidents
    }

    /// The employee with this rank.
    ///
    /// # Panics
    ///
    /// When `rank` is not below [`Self::employee_count`].
    #[must_use]
    pub fn employee_at(&self, rank: usize) -> Employee<'_> {
        let group = |priority: usize| self.groups.group(rank * GROUPS_PER_EMPLOYEE + priority);
        Employee { id: self.groups.id(rank), groups: [group(0), group(1), group(2), group(3)] }
    }

    /// All employees with incidents, in the order of the document.
    #[must_use]
    pub fn employees(&self) -> impl ExactSizeIterator<Item = Employee<'_>> {
        (0..self.employee_count()).map(|rank| self.employee_at(rank))
    }

    /// The employee with this id.
    #[must_use]
    pub fn employee(&self, id: &str) -> Option<Employee<'_>> {
        self.rank(id).map(|rank| self.employee_at(rank))
    }

    /// The rank of the employee with this id.
    #[must_use]
    pub fn rank(&self, id: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(id);
        let rank = self.ranks.find(hash, |&rank| self.groups.id(rank as usize) == id)?;
        Some(*rank as usize)
    }

    /// The ranks, ascending, of all employees with incidents from `since` (inclusive) to `until`
    /// (exclusive), and perhaps of a few others. `None` if there are so many that a scan of all
    /// employees is as fast.
    #[must_use]
    pub fn ranks_between(&self, since: Option<f64>, until: Option<f64>) -> Option<Vec<usize>> {
        self.time_index.ranks(since, until, self.employee_count())
    }

    /// The timestamps of the earliest and the latest incident, in seconds since the epoch.
    #[must_use]
    pub fn time_range(&self) -> Option<(f64, f64)> {
        self.time_range
    }

    /// The records without an employee, in the order of the sources, then upstream order.
    #[must_use]
    pub fn unattributed(&self) -> &[Unattributed] {
        &self.unattributed
    }

    /// For each source, how many of its incidents have an employee, by priority
    /// ([`Priority::ALL`](crate::decode::Priority::ALL)).
    #[must_use]
    pub fn counts(&self) -> &[[usize; GROUPS_PER_EMPLOYEE]] {
        &self.counts
    }
}
