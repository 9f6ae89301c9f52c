//! `/`: the overview: employees by urgency, incidents over time, and the state of the sources.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use askama::Template;

use super::Layout;
use super::display::{DisplayTime, count, employee_id, person_name, truncate};
use super::links::{self, Pager, Root};
use super::timeline::{Chart, Timeline};
use crate::decode::Priority;
use crate::http::visibility::Visibility;
use crate::join::{Employee, Reason};
use crate::render::Filter;
use crate::snapshot::{Snapshot, View};

/// The number of employees on one page.
const PAGE_SIZE: usize = 50;

/// The counts of the incidents of a view that match a filter.
struct Overview {
    /// The employees in the order of the page, each by its rank in the document.
    employees: Vec<u32>,
    priorities: [usize; 4],
    sources: Vec<usize>,
    latest: Option<f64>,
    timeline: Timeline,
}

impl Overview {
    fn new(view: &View, filter: &Filter, now: SystemTime) -> Self {
        let joined = view.index();
        let (mut priorities, mut sources) = ([0; 4], vec![0; view.names().len()]);
        let mut incidents = Vec::new();
        let mut employees = Vec::new();
        for employee in filter.employees(joined) {
            let mut highest = None;
            for (priority, incident) in filter.incidents(&employee) {
                priorities[priority as usize] += 1;
                sources[incident.source()] += 1;
                incidents.push((incident.timestamp, priority));
                // Incidents are in ascending order of priority, then time, so the last one decides.
                highest = Some((priority, incident.timestamp));
            }
            if let Some((priority, latest)) = highest {
                let rank = joined.rank(employee.id).expect("the employee is of this view");
                employees.push((
                    priority,
                    latest,
                    u32::try_from(rank).expect("fewer than 2^32 employees"),
                ));
            }
        }
        employees.sort_unstable_by(|left, right| {
            Reverse(left.0)
                .cmp(&Reverse(right.0))
                .then(right.1.total_cmp(&left.1))
                .then(left.2.cmp(&right.2))
        });
        let latest = incidents.iter().map(|(timestamp, _)| *timestamp).max_by(f64::total_cmp);
        let employees = employees.into_iter().map(|(_, _, rank)| rank).collect();
        Self { employees, priorities, sources, latest, timeline: Timeline::new(&incidents, now) }
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Page {
    layout: Layout,
    total: String,
    /// Highest first.
    priorities: Vec<Choice>,
    types: Vec<Choice>,
    employees: Vec<Row>,
    employee_id: String,
    since: String,
    until: String,
    example_since: String,
    example_until: String,
    quick: Vec<Choice>,
    filtered: bool,
    chart: Chart,
    pager: Pager,
    /// `None` where the caller may not see everything.
    unattributed: Option<UnattributedCounts>,
    /// The query of the links to the same data as JSON and as a summary.
    query: String,
}

/// An option of the filter.
struct Choice {
    name: String,
    count: String,
    chosen: bool,
    href: String,
}

/// An employee's row.
struct Row {
    id: String,
    /// The person's name, if a table has one.
    name: Option<String>,
    href: String,
    /// Their highest priority.
    highest: &'static str,
    critical: usize,
    high: usize,
    medium: usize,
    low: usize,
    /// The latest incident of the highest priority.
    latest: DisplayTime,
}

/// How many records have no employee.
struct UnattributedCounts {
    total: String,
    /// Those of which there are some.
    reasons: Vec<UnattributedCount>,
}

/// How many records have no employee for one reason.
struct UnattributedCount {
    reason: &'static str,
    sentence: &'static str,
    count: String,
}

impl Page {
    pub(super) fn new(
        snapshot: &Snapshot,
        filter: &Filter,
        page: usize,
        visibility: &Visibility,
    ) -> Self {
        let (view, now) = (&snapshot.view, SystemTime::now());
        let overview = Overview::new(view, filter, now);
        let filter = &visibility.chosen(filter);
        let names = view.names();
        let href = |filter: &Filter, page| links::overview(Root::SAME, filter, names, page);
        let pager = Pager::new("employees", overview.employees.len(), page, PAGE_SIZE, |page| {
            href(filter, page)
        });
        let employees = overview.employees[pager.range()].iter().map(|&rank| {
            let employee = view.index().employee_at(rank as usize);
            row(view, &employee, filter, now)
        });
        let priorities = Priority::ALL.into_iter().rev().map(|priority| Choice {
            name: priority.as_str().to_owned(),
            count: count(overview.priorities[priority as usize]),
            chosen: filter.priorities.as_ref().is_some_and(|chosen| chosen.contains(&priority)),
            href: href(&links::with_priority(priority, filter), 0),
        });
        let types = names.iter().enumerate().map(|(source, name)| Choice {
            name: name.to_string(),
            count: count(overview.sources[source]),
            chosen: filter.sources.as_ref().is_some_and(|chosen| chosen.contains(&source)),
            href: href(&Filter { sources: Some(vec![source]), ..filter.clone() }, 0),
        });
        let time = |seconds: Option<f64>| seconds.map_or_else(String::new, links::time);
        Self {
            layout: Layout::new("Incidents", Root::SAME, snapshot, visibility),
            total: count(overview.priorities.iter().sum()),
            priorities: priorities.collect(),
            types: types.collect(),
            employees: employees.collect(),
            employee_id: filter
                .employees
                .iter()
                .flatten()
                .map(|id| truncate(id, 200))
                .collect::<Vec<_>>()
                .join(","),
            since: time(filter.since),
            until: time(filter.until),
            example_since: example_time(now - Duration::from_hours(24)),
            example_until: example_time(now),
            quick: quick(overview.latest, filter, href),
            filtered: !filter.is_empty(),
            chart: overview.timeline.chart(filter, names, now, |filter| href(filter, 0)),
            pager,
            unattributed: visibility.is_everything().then(|| UnattributedCounts::new(view)),
            query: links::query(filter, names, 0),
        }
    }
}

impl UnattributedCounts {
    fn new(view: &View) -> Self {
        let mut counts = [0; Reason::ALL.len()];
        for record in view.index().unattributed() {
            counts[record.reason as usize] += 1;
        }
        let reasons = Reason::ALL.into_iter().filter(|reason| counts[*reason as usize] > 0);
        let reasons = reasons.map(|reason| UnattributedCount {
            reason: reason.as_str(),
            sentence: sentence(reason),
            count: count(counts[reason as usize]),
        });
        Self { total: count(counts.iter().sum()), reasons: reasons.collect() }
    }
}

/// A time as the form accepts it, rounded down to the hour.
fn example_time(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    links::time((seconds / 3_600 * 3_600) as f64)
}

/// Links to the last hour, day and week before the latest incident.
fn quick(
    latest: Option<f64>,
    filter: &Filter,
    href: impl Fn(&Filter, usize) -> String,
) -> Vec<Choice> {
    let Some(latest) = latest else { return Vec::new() };
    let choices = [("Last hour", 3_600.0), ("Last day", 86_400.0), ("Last week", 604_800.0)].map(
        |(name, seconds)| {
            let since = Some((latest - seconds).floor());
            Choice {
                name: name.to_owned(),
                count: String::new(),
                chosen: filter.since == since,
                href: href(&Filter { since, until: None, ..filter.clone() }, 0),
            }
        },
    );
    choices.into()
}

fn row(view: &View, employee: &Employee<'_>, filter: &Filter, now: SystemTime) -> Row {
    let mut counts = [0; 4];
    // Incidents are in ascending order of priority, then time, so the last one has the highest
    // priority and is the latest of it.
    let (mut highest, mut latest) = (Priority::Low, f64::NEG_INFINITY);
    for (priority, incident) in filter.incidents(employee) {
        counts[priority as usize] += 1;
        (highest, latest) = (priority, incident.timestamp);
    }
    let [low, medium, high, critical] = counts;
    Row {
        id: employee_id(employee.id, 60),
        name: person_name(view.person_name(employee.id)),
        href: links::employee(Root::SAME, employee.id, filter, view.names(), 0),
        highest: highest.as_str(),
        critical,
        high,
        medium,
        low,
        latest: DisplayTime::new(latest, now),
    }
}

const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownIp => "the address is not among the identities",
        Reason::UnknownIdentity => "no identity table has any identity of the record",
        Reason::IdentitiesUnavailable => "an identity table that may name the person has no data",
        Reason::MissingIdentity => "the record names no employee",
        Reason::InvalidPriority => "the priority is missing or means none of the four",
        Reason::InvalidTimestamp => "the time is missing or cannot be read",
        Reason::NotAnObject => "the record is not a JSON object",
    }
}
