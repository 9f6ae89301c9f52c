//! `/employees/{employee_id}`: all of one employee's incidents, newest first, and with a store what
//! the history has beyond them.

use std::time::SystemTime;

use askama::Template;

use super::Layout;
use super::display::{DisplayTime, count, employee_id, person_name, truncate, visible};
use super::envelope::{Envelope, Title};
use super::history::EmployeeHistory;
use super::links::{self, Pager, Root};
use super::timeline::{Chart, Timeline};
use crate::decode::{Priority, members};
use crate::http::visibility::Visibility;
use crate::join::{Employee, IncidentRef};
use crate::render::{Filter, is_json, member_value};
use crate::snapshot::Snapshot;

/// The number of incidents on one page.
const PAGE_SIZE: usize = 50;

/// How many records of the history are listed.
const MAX_HISTORY_RECORDS: usize = 100;

/// How many characters of a record are shown, which bounds the size of a page. The JSON document
/// has the whole record.
const MAX_RECORD_CHARS: usize = 280;

/// How deep objects of a mapped record are taken apart; deeper ones are shown as JSON.
const MAX_NESTING: usize = 16;

/// How many characters of a field's name are shown.
const MAX_FIELD_NAME_CHARS: usize = 60;

/// The longest path to a nested value that is shown, in bytes.
const MAX_PATH_BYTES: usize = 1_000;

#[derive(Template)]
#[template(path = "employee.html")]
pub(super) struct Page {
    layout: Layout,
    id: String,
    /// The person's name, if a table has one.
    name: Option<String>,
    /// The link to the same data as JSON.
    document: Option<String>,
    /// Whether no source lists an incident of theirs, so that there is only history.
    is_only_in_history: bool,
    total: String,
    /// From critical to low: the name, the count, and the link to the page with only these.
    priorities: Vec<(&'static str, String, String)>,
    filtered: bool,
    all: String,
    incidents: Vec<Incident>,
    pager: Pager,
    /// `None` without a store, like the history.
    chart: Option<Chart>,
    history: Option<History>,
}

/// What the page is to show.
pub(super) struct Shown<'a> {
    pub(super) employee: Employee<'a>,
    pub(super) filter: &'a Filter,
    /// From 0.
    pub(super) page: usize,
    /// `None` without a store.
    pub(super) history: Option<EmployeeHistory>,
}

struct Incident {
    time: DisplayTime,
    priority: &'static str,
    source: String,
    details: Details,
}

/// What people see of a record's members.
struct Details {
    /// Of a mapped record.
    title: Option<Title>,
    fields: Vec<(String, String)>,
}

/// What the history has beyond the incidents.
struct History {
    is_available: bool,
    records: Vec<HistoryRecord>,
    /// Whether there are more records than the page shows.
    has_more: bool,
    /// How many records the timeline has, if that is not all of them.
    charted: Option<String>,
    /// The link to the employee's history as JSON.
    document: Option<String>,
}

struct HistoryRecord {
    time: Option<DisplayTime>,
    priority: &'static str,
    source: String,
    details: Details,
    first_seen: DisplayTime,
    last_seen: DisplayTime,
}

impl Page {
    pub(super) fn new(snapshot: &Snapshot, shown: Shown<'_>, visibility: &Visibility) -> Self {
        let Shown { employee, filter, page, history } = shown;
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
            details: Details::new(view.members(incident)),
        });
        let chart = history.as_ref().map(|history| {
            let present =
                incidents.iter().map(|(priority, incident)| (incident.timestamp, *priority));
            let times: Vec<(f64, Priority)> = present.chain(history.times()).collect();
            Timeline::new(&times, now).chart(filter, names, now, |filter| href(filter, 0))
        });
        let priorities = Priority::ALL.into_iter().rev().map(|priority| {
            let number = incidents.iter().filter(|(of, _)| *of == priority).count();
            (priority.as_str(), count(number), href(&links::with_priority(priority, filter), 0))
        });
        let id = employee_id(employee.id, 120);
        let name = person_name(view.person_name(employee.id));
        let title = match &name {
            Some(name) => format!("Employee {id} ({name})"),
            None => format!("Employee {id}"),
        };
        Self {
            layout: Layout::new(title, Root::PARENT, snapshot, visibility),
            id,
            name,
            document: links::document(Root::PARENT, employee.id),
            is_only_in_history: employee.incident_count() == 0,
            total: count(incidents.len()),
            priorities: priorities.collect(),
            filtered: !visibility.chosen(filter).is_empty(),
            all: href(&Filter::default(), 0),
            incidents: shown.collect(),
            pager,
            chart,
            history: history.map(|history| History::new(&history, employee.id, now)),
        }
    }
}

impl Details {
    /// Reads a record's members: everything after its opening brace.
    fn new(record: &[u8]) -> Self {
        let envelope = Envelope::read(record);
        Self {
            title: envelope.as_ref().and_then(Envelope::title),
            fields: match envelope {
                Some(envelope) => mapped_fields(&envelope),
                None => plain_fields(record),
            },
        }
    }

    /// Reads a record of the history, which may have been changed in the database.
    fn of_history(record: &[u8]) -> Self {
        match record.split_first() {
            Some((b'{', members)) if is_json(record) => Self::new(members),
            _ => Self { title: None, fields: Vec::new() },
        }
    }
}

impl History {
    fn new(history: &EmployeeHistory, id: &str, now: SystemTime) -> Self {
        let document = links::history(Root::PARENT, id);
        let EmployeeHistory::Read(history) = history else {
            return Self {
                is_available: false,
                records: Vec::new(),
                has_more: false,
                charted: None,
                document,
            };
        };
        let records = history.rows.iter().take(MAX_HISTORY_RECORDS).map(|row| HistoryRecord {
            time: row.timestamp.map(|timestamp| DisplayTime::new(timestamp, now)),
            priority: row.priority.map_or("", Priority::as_str),
            source: row.source.clone(),
            details: Details::of_history(&row.bytes),
            first_seen: DisplayTime::new(row.first_seen, now),
            last_seen: DisplayTime::new(row.last_seen, now),
        });
        Self {
            is_available: true,
            records: records.collect(),
            has_more: history.has_more || history.rows.len() > MAX_HISTORY_RECORDS,
            charted: history.has_more.then(|| count(history.rows.len())),
            document,
        }
    }
}

/// The members of a plain record that have no column of their own.
fn plain_fields(record: &[u8]) -> Vec<(String, String)> {
    let mut fields = Fields::default();
    for (name, member) in members(record) {
        let name = name.as_deref().unwrap_or("\u{fffd}");
        if !matches!(name, "type" | "priority" | "timestamp")
            && !fields.add(name, member_value(member))
        {
            break;
        }
    }
    fields.list
}

/// The id of a mapped record, an address that is no link, and the values of the record itself
/// except for those that are shown already.
fn mapped_fields(envelope: &Envelope<'_>) -> Vec<(String, String)> {
    let mut fields = Fields { shown: envelope.texts(), ..Fields::default() };
    for (name, value) in [("id", envelope.id), ("url", envelope.unlinked_url())] {
        if let Some(value) = value {
            fields.add(name, value);
        }
    }
    fields.add_values("", envelope.record, 0);
    fields.list
}

/// Names and texts of values, up to [`MAX_RECORD_CHARS`]. Strings are shown without quotes and
/// escapes, other values as the source wrote them.
struct Fields<'a> {
    list: Vec<(String, String)>,
    remaining_chars: usize,
    /// Values, as spelled, that are shown elsewhere.
    shown: [Option<&'a [u8]>; 3],
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self { list: Vec::new(), remaining_chars: MAX_RECORD_CHARS, shown: [None; 3] }
    }
}

impl Fields<'_> {
    /// Adds a value; false when there is no room for more.
    fn add(&mut self, name: &str, value: &[u8]) -> bool {
        if self.remaining_chars == 0 {
            self.list.push((String::new(), "…".to_owned()));
            return false;
        }
        let raw = String::from_utf8_lossy(value);
        let text = serde_json::from_str::<String>(&raw).unwrap_or_else(|_| raw.into_owned());
        let name = truncate(&visible(name), self.remaining_chars.min(MAX_FIELD_NAME_CHARS));
        let text = truncate(&visible(&text), self.remaining_chars);
        let shown = name.chars().count() + text.chars().count();
        self.remaining_chars = self.remaining_chars.saturating_sub(shown);
        self.list.push((name, text));
        true
    }

    /// Adds the values in an object, also nested ones, whose names are joined by dots; false when
    /// there is no room for more. What holds nothing or is shown elsewhere is left out. `depth` is
    /// how many objects are around the value.
    fn add_values(&mut self, prefix: &str, value: &[u8], depth: usize) -> bool {
        // Each level reads the rest of the record once more.
        if value.first() != Some(&b'{') || depth == MAX_NESTING {
            let is_left_out =
                matches!(value, b"null" | b"\"\"" | b"[]") || self.shown.contains(&Some(value));
            return is_left_out || self.add(prefix, value);
        }
        for (name, member) in members(&value[1..]) {
            let name = name.as_deref().unwrap_or("\u{fffd}");
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            if path.len() > MAX_PATH_BYTES
                || !self.add_values(&path, member_value(member), depth + 1)
            {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_taken_apart_to_a_bounded_depth() {
        let nested = |depth: usize| {
            let record = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            let mut fields = Fields::default();
            assert!(fields.add_values("", record.as_bytes(), 0));
            fields.list.pop().unwrap()
        };
        let path = ["a"; MAX_NESTING].join(".");
        assert_eq!(nested(MAX_NESTING), (path.clone(), "1".to_owned()));
        assert_eq!(nested(MAX_NESTING + 1), (path, "{\"a\":1}".to_owned()));
    }
}
