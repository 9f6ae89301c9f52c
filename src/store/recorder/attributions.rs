//! The employee of each record of a view, or why it has none.

use super::digests::Digests;
use crate::join::{IncidentIndex, Reason};
use crate::snapshot::View;

/// The employee of each record of a view. The index leads from employees to records; this leads
/// from records to employees, for all records in one pass.
#[derive(Debug)]
pub(super) struct Attributions {
    view: u64,
    /// For each source, a code for each record: the employee's rank, or [`code`] of a reason.
    sources: Vec<Vec<u32>>,
    /// The digest of each employee, by rank.
    employees: Vec<u64>,
}

/// Whom a record belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Attribution {
    /// The rank of the employee.
    Employee(usize),
    Nobody(Reason),
}

/// Employees have smaller codes: each has at least 24 bytes of the index.
fn code(reason: Reason) -> u32 {
    u32::MAX - reason as u32
}

impl Attributions {
    pub(super) fn of(view: &View, digests: &Digests) -> Self {
        let index = view.index();
        let batches = view.batches().iter();
        let counts = batches.map(|batch| batch.as_ref().map_or(0, |batch| batch.records().len()));
        let mut sources: Vec<Vec<u32>> = counts.map(|count| vec![u32::MAX; count]).collect();
        let mut employees = Vec::with_capacity(index.employee_count());
        for (employee, rank) in index.employees().zip(0..) {
            employees.push(digests.employee(employee.id));
            for incident in employee.groups.into_iter().flatten() {
                sources[incident.source()][incident.record()] = rank;
            }
        }
        for record in index.unattributed() {
            sources[record.source()][record.record()] = code(record.reason);
        }
        Self { view: view.id(), sources, employees }
    }

    /// Whether they are those of the view with this id.
    pub(super) fn are_of(&self, view: u64) -> bool {
        self.view == view
    }

    pub(super) fn get(&self, source: usize, record: usize) -> Attribution {
        let code = self.sources[source][record];
        match Reason::ALL.get((u32::MAX - code) as usize) {
            Some(reason) => Attribution::Nobody(*reason),
            None => Attribution::Employee(code as usize),
        }
    }

    /// The digest of an attribution.
    pub(super) fn digest(&self, attribution: Attribution) -> u64 {
        match attribution {
            Attribution::Employee(rank) => self.employees[rank],
            Attribution::Nobody(reason) => Digests::reason(Some(reason)),
        }
    }
}

impl Attribution {
    /// The employee's id, and the reason if there is none.
    pub(super) fn parts(self, index: &IncidentIndex) -> (Option<&str>, Option<Reason>) {
        match self {
            Self::Employee(rank) => (Some(index.employee_at(rank).id), None),
            Self::Nobody(reason) => (None, Some(reason)),
        }
    }
}
