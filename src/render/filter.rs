//! Which incidents a question is about.

use crate::decode::Priority;
use crate::join::{Employee, Joined, Placed};

/// The conditions of a question; an incident must meet all that are given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Ids of employees, sorted and each once.
    pub employees: Option<Vec<String>>,
    /// Indices of sources, sorted and each once.
    pub sources: Option<Vec<usize>>,
    /// Priorities, sorted and each once.
    pub priorities: Option<Vec<Priority>>,
    /// The earliest timestamp, in seconds since the epoch.
    pub since: Option<f64>,
    /// The timestamp before which incidents must lie, in seconds since the epoch.
    pub until: Option<f64>,
}

impl Filter {
    /// Whether every incident meets it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The part of a group (ascending by time) that lies within the asked priority and times.
    #[must_use]
    pub fn slice<'a>(&self, priority: Priority, group: &'a [Placed]) -> &'a [Placed] {
        if self.priorities.as_ref().is_some_and(|priorities| !priorities.contains(&priority)) {
            return &[];
        }
        let begin = self.since.map_or(0, |since| group.partition_point(|placed| placed.timestamp < since));
        let end = self.until.map_or(group.len(), |until| group.partition_point(|placed| placed.timestamp < until));
        group.get(begin..end).unwrap_or(&[])
    }

    /// The employees that are asked for and known, in the order of the document, the others left out as far as that is
    /// known without a look at their incidents; found without a scan when they are named, or a short time is.
    pub fn employees<'a>(&self, joined: &'a Joined) -> impl ExactSizeIterator<Item = Employee<'a>> + use<'a> {
        let named = match (&self.employees, self.since.or(self.until)) {
            (Some(ids), _) => {
                let mut ranks: Vec<usize> = ids.iter().filter_map(|id| joined.rank(id)).collect();
                ranks.sort_unstable();
                Some(ranks)
            }
            (None, Some(_)) => joined.ranks_between(self.since, self.until),
            (None, None) => None,
        };
        let count = named.as_ref().map_or_else(|| joined.employee_count(), Vec::len);
        (0..count).map(move |index| joined.employee_at(named.as_ref().map_or(index, |ranks| ranks[index])))
    }

    /// The incidents that meet the filter, in the order of the document, where that is known at once: if they are all.
    #[must_use]
    pub fn foreseen<'a>(&self, joined: &'a Joined) -> &'a [Placed] {
        if self.is_empty() { joined.placed() } else { &[] }
    }

    /// The employee's incidents that meet the filter, in the order of the document.
    pub fn incidents<'a>(&self, employee: &Employee<'a>) -> impl Iterator<Item = (Priority, &'a Placed)> + use<'a, '_> {
        let groups = Priority::ALL.into_iter().zip(employee.groups);
        groups.flat_map(move |(priority, group)| {
            let slice = self.slice(priority, group).iter();
            slice.filter(|placed| self.wants_source(placed)).map(move |placed| (priority, placed))
        })
    }

    /// Whether the incident's source is asked for.
    #[must_use]
    #[inline]
    pub fn wants_source(&self, placed: &Placed) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(&placed.source()))
    }
}
