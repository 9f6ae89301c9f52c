//! The conditions that incidents of an answer must meet.

use crate::decode::Priority;
use crate::join::{Employee, IncidentIndex, IncidentRef};
use crate::snapshot::View;

/// Up to this many incidents and bytes, rendering takes only tens of microseconds.
const MAX_SMALL_INCIDENTS: usize = 256;
const MAX_SMALL_BYTES: usize = 64 << 10;

/// Whether rendering these employees' incidents costs less than moving the work to another thread.
#[must_use]
pub fn is_small<'a>(view: &View, employees: impl Iterator<Item = Employee<'a>>) -> bool {
    let (mut incidents, mut bytes) = (0, 0);
    for employee in employees {
        incidents += employee.incident_count();
        if incidents > MAX_SMALL_INCIDENTS {
            return false;
        }
        bytes += employee
            .groups
            .into_iter()
            .flatten()
            .map(|incident| view.members(incident).len())
            .sum::<usize>();
    }
    bytes <= MAX_SMALL_BYTES
}

/// The conditions that an incident must meet; each may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Ids of employees, sorted, without duplicates.
    pub employees: Option<Vec<String>>,
    /// Indices of sources, sorted, without duplicates.
    pub sources: Option<Vec<usize>>,
    /// Priorities, sorted, without duplicates.
    pub priorities: Option<Vec<Priority>>,
    /// The earliest timestamp, inclusive, in seconds since the epoch.
    pub since: Option<f64>,
    /// The latest timestamp, exclusive, in seconds since the epoch.
    pub until: Option<f64>,
}

impl Filter {
    /// Whether every incident meets it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filter without the conditions that make no difference for this view: unknown employees,
    /// lists that name everything, times that all incidents meet. Filters that differ only in these
    /// give the same bytes, so that their answer is rendered and cached once.
    #[must_use]
    pub fn normalized(&self, view: &View) -> Self {
        let index = view.index();
        let known =
            |ids: &Vec<String>| ids.iter().filter(|id| index.rank(id).is_some()).cloned().collect();
        let sources = view.names().len();
        let range = view.index().time_range();
        Self {
            employees: self.employees.as_ref().map(known),
            sources: self.sources.clone().filter(|named| named.len() < sources),
            priorities: self.priorities.clone().filter(|named| named.len() < Priority::ALL.len()),
            since: self.since.filter(|since| range.is_some_and(|(earliest, _)| *since > earliest)),
            until: self.until.filter(|until| range.is_some_and(|(_, latest)| *until <= latest)),
        }
    }

    /// The part of a group that meets the conditions on priority and time.
    #[must_use]
    pub fn slice<'a>(&self, priority: Priority, group: &'a [IncidentRef]) -> &'a [IncidentRef] {
        if self.priorities.as_ref().is_some_and(|priorities| !priorities.contains(&priority)) {
            return &[];
        }
        let start = self
            .since
            .map_or(0, |since| group.partition_point(|incident| incident.timestamp < since));
        let end = self.until.map_or(group.len(), |until| {
            group.partition_point(|incident| incident.timestamp < until)
        });
        group.get(start..end).unwrap_or(&[])
    }

    /// The employees who may have incidents that meet the filter, in the order of the document. Ids
    /// or a short period are looked up; otherwise these are all employees.
    pub fn employees<'a>(
        &self,
        index: &'a IncidentIndex,
    ) -> impl ExactSizeIterator<Item = Employee<'a>> + use<'a> {
        let ranks = match (&self.employees, self.since.or(self.until)) {
            (Some(ids), _) => {
                let mut ranks: Vec<usize> = ids.iter().filter_map(|id| index.rank(id)).collect();
                ranks.sort_unstable();
                Some(ranks)
            }
            (None, Some(_)) => index.ranks_between(self.since, self.until),
            (None, None) => None,
        };
        let count = ranks.as_ref().map_or_else(|| index.employee_count(), Vec::len);
        (0..count).map(move |position| {
            index.employee_at(ranks.as_ref().map_or(position, |ranks| ranks[position]))
        })
    }

    /// Whether rendering what may meet the filter costs less than moving the work to another
    /// thread.
    #[must_use]
    pub fn is_small(&self, view: &View) -> bool {
        let index = view.index();
        match &self.employees {
            Some(ids) => is_small(view, ids.iter().filter_map(|id| index.employee(id))),
            None => {
                index.incident_count() <= MAX_SMALL_INCIDENTS && is_small(view, index.employees())
            }
        }
    }

    /// The employee's incidents that meet the filter, in the order of the document.
    pub fn incidents<'a>(
        &self,
        employee: &Employee<'a>,
    ) -> impl Iterator<Item = (Priority, &'a IncidentRef)> + use<'a, '_> {
        let groups = Priority::ALL.into_iter().zip(employee.groups);
        groups.flat_map(move |(priority, group)| {
            let slice = self.slice(priority, group).iter();
            slice
                .filter(|incident| self.wants_source(incident))
                .map(move |incident| (priority, incident))
        })
    }

    /// Whether the incident is of one of the given sources.
    #[must_use]
    #[inline]
    pub fn wants_source(&self, incident: &IncidentRef) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(&incident.source()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::decode::{Incidents, SourceFields};
    use crate::join::join;

    /// A view of incidents by employee and length.
    fn view(incidents: impl Iterator<Item = (usize, usize)>) -> View {
        let record = |(who, length)| {
            format!(
                r#"{{"who":{who},"priority":"low","timestamp":1,"text":"{}"}}"#,
                "x".repeat(length)
            )
        };
        let body =
            format!(r#"{{"results":[{}]}}"#, incidents.map(record).collect::<Vec<_>>().join(","));
        let incidents =
            Incidents::decode(Bytes::from(body), &SourceFields::new(&["who".to_owned()])).unwrap();
        let batches = [Some(Arc::new(incidents))];
        let index = join(&[], &batches);
        View::new(1, [Arc::from("denial")].into(), batches.into(), index)
    }

    #[test]
    fn a_normalized_filter_has_only_what_makes_a_difference() {
        let view = view([(1, 0), (2, 0)].into_iter());
        let everything = Filter {
            employees: None,
            sources: Some(vec![0]),
            priorities: Some(Priority::ALL.to_vec()),
            since: Some(1.0),
            until: Some(1.5),
        };
        assert!(everything.normalized(&view).is_empty());
        let narrow = Filter {
            employees: Some(vec!["1".to_owned()]),
            sources: Some(vec![]),
            priorities: Some(vec![Priority::Low]),
            since: Some(1.5),
            until: Some(1.0),
        };
        assert_eq!(narrow.normalized(&view), narrow);
        let unknown =
            Filter { employees: Some(vec!["1".to_owned(), "x".to_owned()]), ..Filter::default() };
        assert_eq!(unknown.normalized(&view).employees, narrow.employees);
    }

    #[test]
    fn small_is_few_incidents_of_few_bytes() {
        let all = Filter::default();
        let of = |ids: &[&str]| Filter {
            employees: Some(ids.iter().map(ToString::to_string).collect()),
            ..all.clone()
        };
        let few = view((0..MAX_SMALL_INCIDENTS).map(|who| (who, 0)));
        assert!(all.is_small(&few));
        // One with many incidents, one with a long one, one with neither.
        let many =
            view((0..=MAX_SMALL_INCIDENTS).map(|_| (1, 0)).chain([(2, MAX_SMALL_BYTES), (3, 0)]));
        assert!(!all.is_small(&many));
        for (ids, is_small) in [
            (&["1"][..], false),
            (&["2"], false),
            (&["3"], true),
            (&["1", "3"], false),
            (&["2", "3"], false),
            (&["4"], true),
        ] {
            assert_eq!(of(ids).is_small(&many), is_small, "{ids:?}");
        }
    }
}
