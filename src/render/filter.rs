//! Which incidents a question is about.

use crate::decode::Priority;
use crate::join::Placed;

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

    /// Whether the incident's source is asked for.
    #[must_use]
    #[inline]
    pub fn wants_source(&self, placed: &Placed) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(&placed.source()))
    }
}
