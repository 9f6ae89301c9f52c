//! `/employees/{employee_id}`: all of one employee's incidents, newest first.

use std::time::SystemTime;

use askama::Template;

use super::Layout;
use super::display::{DisplayTime, count, employee_id, truncate};
use super::links::{self, Pager, Root};
use crate::decode::{Priority, members};
use crate::join::{Employee, IncidentRef};
use crate::render::Filter;
use crate::snapshot::{Snapshot, View};

/// The number of incidents on one page.
const PAGE_SIZE: usize = 50;

/// How many characters of a record are shown, which bounds the size of a page. The JSON document
/// has the whole record.
const MAX_RECORD_CHARS: usize = 280;

#[derive(Template)]
#[template(path = "employee.html")]
pub(super) struct Page {
    layout: Layout,
    id: String,
    /// The link to the same data as JSON.
    document: Option<String>,
    total: String,
    /// From critical to low: the name, the count, and the link to the page with only these.
    priorities: Vec<(&'static str, String, String)>,
    filtered: bool,
    all: String,
    incidents: Vec<Incident>,
    pager: Pager,
}

struct Incident {
    time: DisplayTime,
    priority: &'static str,
    source: String,
    fields: Vec<(String, String)>,
}

impl Page {
    pub(super) fn new(
        snapshot: &Snapshot,
        employee: Employee<'_>,
        filter: &Filter,
        page: usize,
    ) -> Self {
        let (view, now) = (&snapshot.view, SystemTime::now());
        let names = view.names();
        let href =
            |filter: &Filter, page| links::employee(Root::PARENT, employee.id, filter, names, page);
        let mut incidents: Vec<(Priority, &IncidentRef)> = filter.incidents(&employee).collect();
        incidents.sort_by(|left, right| {
            right.1.timestamp.total_cmp(&left.1.timestamp).then(right.0.cmp(&left.0))
        });
        let pager =
            Pager::new("incidents", incidents.len(), page, PAGE_SIZE, |page| href(filter, page));
        let shown = incidents[pager.range()].iter().map(|&(priority, incident)| Incident {
            time: DisplayTime::new(incident.timestamp, now),
            priority: priority.as_str(),
            source: names[incident.source()].to_string(),
            fields: fields(view, incident),
        });
        let priorities = Priority::ALL.into_iter().rev().map(|priority| {
            let number = incidents.iter().filter(|(of, _)| *of == priority).count();
            (priority.as_str(), count(number), href(&links::with_priority(priority, filter), 0))
        });
        let id = employee_id(employee.id, 120);
        Self {
            layout: Layout::new(format!("Employee {id}"), Root::PARENT, snapshot),
            id,
            document: links::document(Root::PARENT, employee.id),
            total: count(incidents.len()),
            priorities: priorities.collect(),
            filtered: !filter.is_empty(),
            all: href(&Filter::default(), 0),
            incidents: shown.collect(),
            pager,
        }
    }
}

/// The record's members that have no column of their own, up to [`MAX_RECORD_CHARS`]. Strings are
/// shown without quotes and escapes, other values as the source wrote them.
fn fields(view: &View, incident: &IncidentRef) -> Vec<(String, String)> {
    let mut remaining_chars = MAX_RECORD_CHARS;
    let mut fields = Vec::new();
    for (name, member) in members(view.members(incident)) {
        let name = name.as_deref().unwrap_or("\u{fffd}");
        if matches!(name, "type" | "priority" | "timestamp") {
            continue;
        }
        if remaining_chars == 0 {
            fields.push((String::new(), "…".to_owned()));
            break;
        }
        let raw = String::from_utf8_lossy(crate::render::member_value(member));
        let text = serde_json::from_str::<String>(&raw).unwrap_or_else(|_| raw.into_owned());
        let name = truncate(name, remaining_chars.min(60));
        let text = truncate(&text, remaining_chars);
        remaining_chars =
            remaining_chars.saturating_sub(name.chars().count() + text.chars().count());
        fields.push((name, text));
    }
    fields
}
