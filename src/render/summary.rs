//! Renders the document of `/summary`: counts and periods of incidents, and the employees with
//! most.

use std::cmp::Reverse;

use serde::{Serialize, Serializer};

use super::Filter;
use crate::decode::Priority;
use crate::snapshot::View;
use crate::store::MAX_TOP_EMPLOYEES;

/// How many candidates are kept before they are reduced to [`MAX_TOP_EMPLOYEES`]; bounds memory.
const MAX_TOP_CANDIDATES: usize = 32 * MAX_TOP_EMPLOYEES;

/// Renders the document of `/summary` for the incidents that meet the filter.
///
/// Its member `unattributed` counts all records without an employee, whatever the filter: it tells
/// how many records the other figures leave out. It is left out unless `counts_unattributed`.
#[must_use]
pub fn summary(view: &View, filter: &Filter, counts_unattributed: bool) -> Vec<u8> {
    let mut cells = vec![[Tally::default(); 4]; view.names().len()];
    let mut employees = EmployeeTotals { count: 0, top: Vec::new() };
    for employee in filter.employees(view.index()) {
        let mut total = EmployeeTotal {
            employee_id: employee.id,
            name: None,
            count: 0,
            priorities: [0; 4],
            latest: f64::NEG_INFINITY,
        };
        for (priority, incident) in filter.incidents(&employee) {
            cells[incident.source()][priority as usize].add(incident.timestamp);
            total.count += 1;
            total.priorities[priority as usize] += 1;
            total.latest = total.latest.max(incident.timestamp);
        }
        if total.count > 0 {
            employees.add(total);
        }
    }
    employees.keep_top();
    for employee in &mut employees.top {
        employee.name = view.person_name(employee.employee_id);
    }
    let names = view.names().iter().map(|name| &**name);
    let unattributed = counts_unattributed.then(|| view.index().unattributed().len() as u64);
    Document::new(names.zip(cells).collect(), unattributed, employees).to_json()
}

/// The document of `/summary`, and of `/history/summary`.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    total: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    unattributed: Option<u64>,
    by_type: OrderedObject<'a, Tally>,
    by_priority: OrderedObject<'static, Tally>,
    by_type_and_priority: OrderedObject<'a, OrderedObject<'static, Tally>>,
    employees: EmployeeTotals<'a>,
}

impl<'a> Document<'a> {
    /// `cells` are the tallies of each source by priority, with its name.
    pub(super) fn new(
        cells: Vec<(&'a str, [Tally; 4])>,
        unattributed: Option<u64>,
        employees: EmployeeTotals<'a>,
    ) -> Self {
        let sum =
            |cells: &[Tally]| cells.iter().fold(Tally::default(), |sum, cell| sum.merged(cell));
        let by_type: Vec<(&str, Tally)> =
            cells.iter().map(|(name, cells)| (*name, sum(cells))).collect();
        let of_priority = |priority: usize| {
            cells.iter().fold(Tally::default(), |sum, (_, cells)| sum.merged(&cells[priority]))
        };
        Self {
            total: by_type.iter().fold(Tally::default(), |total, (_, tally)| total.merged(tally)),
            unattributed,
            by_type: OrderedObject(by_type),
            by_priority: by_priority([0, 1, 2, 3].map(of_priority)),
            by_type_and_priority: OrderedObject(
                cells.into_iter().map(|(name, cells)| (name, by_priority(cells))).collect(),
            ),
            employees,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the document has no keys that JSON lacks")
    }
}

/// An object with these members, in this order.
struct OrderedObject<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for OrderedObject<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn by_priority<T>(values: [T; 4]) -> OrderedObject<'static, T> {
    OrderedObject(Priority::ALL.into_iter().map(Priority::as_str).zip(values).collect())
}

/// A number of incidents and their period (seconds since the epoch).
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) earliest: Option<f64>,
    pub(super) latest: Option<f64>,
}

impl Tally {
    fn add(&mut self, timestamp: f64) {
        *self = self.merged(&Self { count: 1, earliest: Some(timestamp), latest: Some(timestamp) });
    }

    fn merged(&self, other: &Self) -> Self {
        let either = |pick: fn(f64, f64) -> f64, left: Option<f64>, right: Option<f64>| match (
            left, right,
        ) {
            (Some(left), Some(right)) => Some(pick(left, right)),
            (left, right) => left.or(right),
        };
        Self {
            count: self.count + other.count,
            earliest: either(f64::min, self.earliest, other.earliest),
            latest: either(f64::max, self.latest, other.latest),
        }
    }
}

/// The number of employees, and those with most incidents.
#[derive(Serialize)]
pub(super) struct EmployeeTotals<'a> {
    pub(super) count: u64,
    pub(super) top: Vec<EmployeeTotal<'a>>,
}

pub(super) struct EmployeeTotal<'a> {
    pub(super) employee_id: &'a str,
    /// The person's name, if a table has one.
    pub(super) name: Option<&'a str>,
    pub(super) count: u64,
    /// From low to critical.
    pub(super) priorities: [u64; 4],
    pub(super) latest: f64,
}

impl Serialize for EmployeeTotal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("EmployeeTotal", 8)?;
        object.serialize_field("employee_id", self.employee_id)?;
        match self.name {
            Some(name) => object.serialize_field("name", name)?,
            None => object.skip_field("name")?,
        }
        object.serialize_field("count", &self.count)?;
        for (priority, count) in Priority::ALL.into_iter().zip(&self.priorities) {
            object.serialize_field(priority.as_str(), count)?;
        }
        object.serialize_field("latest", &self.latest)?;
        object.end()
    }
}

impl<'a> EmployeeTotals<'a> {
    /// Must be called in the order of the document.
    fn add(&mut self, total: EmployeeTotal<'a>) {
        self.count += 1;
        self.top.push(total);
        if self.top.len() == MAX_TOP_CANDIDATES {
            self.keep_top();
        }
    }

    /// Keeps the employees with most incidents. The sort is stable, so equals stay in the order of
    /// the document.
    pub(super) fn keep_top(&mut self) {
        self.top.sort_by_key(|total| {
            Reverse((total.count, total.priorities[Priority::Critical as usize]))
        });
        self.top.truncate(MAX_TOP_EMPLOYEES);
    }
}
