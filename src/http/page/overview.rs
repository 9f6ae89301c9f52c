//! `/`: who needs attention first, when it happened, and what is missing from the picture.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use askama::Template;
use moka::future::Cache;

use super::Frame;
use super::links::{self, Pager};
use super::shown::{Moment, brief, count};
use super::timeline::{Chart, Timeline};
use crate::decode::Priority;
use crate::join::{Employee, Reason};
use crate::render::Filter;
use crate::snapshot::{Snapshot, View};

/// Employees a page.
const EMPLOYEES: usize = 50;

/// How many bytes of overviews are kept.
const KEPT_BYTES: u64 = 16 << 20;

/// For how long an overview is kept that nobody asks for again.
const KEPT_FOR: Duration = Duration::from_mins(2);

/// What the page says of one view under one filter, whatever page of it and whenever it is asked
/// for.
pub(super) struct Overview {
    /// Ranks of the employees in the document, those first who need attention first.
    urgent: Vec<u32>,
    priorities: [usize; 4],
    sources: Vec<usize>,
    latest: Option<f64>,
    reasons: [usize; Reason::ALL.len()],
    timeline: Timeline,
}

impl Overview {
    fn new(view: &View, filter: &Filter) -> Self {
        let joined = view.joined();
        let (mut priorities, mut sources) = ([0; 4], vec![0; view.names().len()]);
        let mut incidents = Vec::new();
        let mut urgent = Vec::new();
        for employee in filter.employees(joined) {
            let mut urgency = None;
            for (priority, placed) in filter.incidents(&employee) {
                priorities[priority as usize] += 1;
                sources[placed.source()] += 1;
                incidents.push((placed.timestamp, priority));
                // Incidents come by priority, then by time: the last is the latest of the highest.
                urgency = Some((priority, placed.timestamp));
            }
            if let Some((priority, latest)) = urgency {
                let rank = joined.rank(employee.id).expect("the employee is of this view");
                urgent.push((
                    priority,
                    latest,
                    u32::try_from(rank).expect("fewer than 2^32 employees"),
                ));
            }
        }
        urgent.sort_unstable_by(|left, right| {
            Reverse(left.0)
                .cmp(&Reverse(right.0))
                .then(right.1.total_cmp(&left.1))
                .then(left.2.cmp(&right.2))
        });
        let mut reasons = [0; Reason::ALL.len()];
        for record in joined.unattributed() {
            reasons[record.reason as usize] += 1;
        }
        let latest = incidents.iter().map(|(timestamp, _)| *timestamp).max_by(f64::total_cmp);
        let urgent = urgent.into_iter().map(|(_, _, rank)| rank).collect();
        Self {
            urgent,
            priorities,
            sources,
            latest,
            reasons,
            timeline: Timeline::new(&incidents, SystemTime::now()),
        }
    }
}

/// The overviews that were asked for lately.
pub(in crate::http) struct Overviews(Cache<(u64, String), Arc<Overview>>);

impl Overviews {
    pub(in crate::http) fn new() -> Self {
        let weight = |_: &(u64, String), overview: &Arc<Overview>| {
            u32::try_from(overview.urgent.len() * size_of::<u32>() + 4096).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .weigher(weight)
                .max_capacity(KEPT_BYTES)
                .time_to_idle(KEPT_FOR)
                .build(),
        )
    }

    /// The overview of a view under a filter, made once however many ask, by a task that goes on
    /// when the caller stops waiting. `None` when making it panicked.
    pub(super) async fn get(&self, view: &Arc<View>, filter: &Filter) -> Option<Arc<Overview>> {
        let (cache, view, filter) = (self.0.clone(), Arc::clone(view), filter.clone());
        let key = (view.id(), format!("{filter:?}"));
        let made = async move {
            let make = async {
                tokio::task::spawn_blocking(move || Arc::new(Overview::new(&view, &filter)))
                    .await
                    .map_err(|_| ())
            };
            cache.try_get_with(key, make).await
        };
        tokio::spawn(made).await.ok()?.ok()
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Page {
    frame: Frame,
    total: String,
    /// Highest first.
    priorities: Vec<Choice>,
    types: Vec<Choice>,
    employees: Vec<Row>,
    employee_id: String,
    since: String,
    until: String,
    quick: Vec<Choice>,
    filtered: bool,
    chart: Chart,
    pager: Pager,
    unattributed: String,
    reasons: Vec<Missing>,
    /// The same question to the documents.
    query: String,
}

/// Something that can be chosen in the filter.
struct Choice {
    name: String,
    count: String,
    chosen: bool,
    href: String,
}

/// An employee's line.
struct Row {
    id: String,
    href: Option<String>,
    /// The highest priority of theirs.
    urgency: &'static str,
    critical: usize,
    high: usize,
    medium: usize,
    low: usize,
    /// Of the highest priority.
    latest: Moment,
}

/// Why records have no employee.
struct Missing {
    reason: &'static str,
    sentence: &'static str,
    count: String,
}

impl Page {
    pub(super) fn new(
        snapshot: &Snapshot,
        overview: &Overview,
        filter: &Filter,
        page: usize,
    ) -> Self {
        let (view, now) = (&snapshot.view, SystemTime::now());
        let names = view.names();
        let href = |filter: &Filter, page| format!("/{}", links::query(filter, names, page));
        let pager = Pager::new("employees", overview.urgent.len(), page, EMPLOYEES, |page| {
            href(filter, page)
        });
        let employees = overview.urgent[pager.range()].iter().map(|&rank| {
            let employee = view.joined().employee_at(rank as usize);
            row(&employee, filter, names, now)
        });
        let priorities = Priority::ALL.into_iter().rev().map(|priority| Choice {
            name: priority.as_str().to_owned(),
            count: count(overview.priorities[priority as usize]),
            chosen: filter.priorities.as_ref().is_some_and(|chosen| chosen.contains(&priority)),
            href: href(&links::only(priority, filter), 0),
        });
        let types = names.iter().enumerate().map(|(source, name)| Choice {
            name: name.to_string(),
            count: count(overview.sources[source]),
            chosen: filter.sources.as_ref().is_some_and(|chosen| chosen.contains(&source)),
            href: href(&Filter { sources: Some(vec![source]), ..filter.clone() }, 0),
        });
        let reasons =
            Reason::ALL.into_iter().filter(|reason| overview.reasons[*reason as usize] > 0);
        let time = |seconds: Option<f64>| seconds.map_or_else(String::new, links::time);
        Self {
            frame: Frame::new("Incidents", snapshot),
            total: count(overview.priorities.iter().sum()),
            priorities: priorities.collect(),
            types: types.collect(),
            employees: employees.collect(),
            employee_id: filter
                .employees
                .iter()
                .flatten()
                .map(|id| brief(id, 200))
                .collect::<Vec<_>>()
                .join(","),
            since: time(filter.since),
            until: time(filter.until),
            quick: quick(overview.latest, filter, href),
            filtered: !filter.is_empty(),
            chart: overview.timeline.chart(filter, names, now),
            pager,
            unattributed: count(overview.reasons.iter().sum()),
            reasons: reasons
                .map(|reason| Missing {
                    reason: reason.as_str(),
                    sentence: sentence(reason),
                    count: count(overview.reasons[reason as usize]),
                })
                .collect(),
            query: links::query(filter, names, 0),
        }
    }
}

/// The stretches of time before the latest incident that people ask for.
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

fn row(employee: &Employee<'_>, filter: &Filter, names: &[Arc<str>], now: SystemTime) -> Row {
    let mut counts = [0; 4];
    // Incidents come by priority, then by time: the last is the latest of the highest.
    let (mut urgency, mut latest) = (Priority::Low, f64::NEG_INFINITY);
    for (priority, placed) in filter.incidents(employee) {
        counts[priority as usize] += 1;
        (urgency, latest) = (priority, placed.timestamp);
    }
    let [low, medium, high, critical] = counts;
    Row {
        id: brief(employee.id, 60),
        href: links::employee(employee.id, filter, names),
        urgency: urgency.as_str(),
        critical,
        high,
        medium,
        low,
        latest: Moment::new(latest, now),
    }
}

const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownIp => "the address is not among the identities",
        Reason::IdentitiesUnavailable => "the identities have not come",
        Reason::MissingIdentity => "the record names nobody",
        Reason::InvalidPriority => "the priority is none of the four",
        Reason::InvalidTimestamp => "there is no valid time",
        Reason::NotAnObject => "it is no record at all",
    }
}
