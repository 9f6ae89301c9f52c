//! `/employees/{employee_id}`: all of one employee's incidents, newest first.

use std::time::SystemTime;

use askama::Template;

use super::Layout;
use super::display::{DisplayTime, count, employee_id, person_name, truncate, visible};
use super::envelope::{Envelope, Title};
use super::links::{self, Pager, Root};
use crate::decode::{Priority, members};
use crate::http::visibility::Visibility;
use crate::join::{Employee, IncidentRef};
use crate::render::{Filter, member_value};
use crate::snapshot::Snapshot;

/// The number of incidents on one page.
const PAGE_SIZE: usize = 50;

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
    /// Of a mapped record.
    title: Option<Title>,
    fields: Vec<(String, String)>,
}

impl Page {
    pub(super) fn new(
        snapshot: &Snapshot,
        employee: Employee<'_>,
        filter: &Filter,
        page: usize,
        visibility: &Visibility,
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
        let shown = incidents[pager.range()].iter().map(|&(priority, incident)| {
            let record = view.members(incident);
            let envelope = Envelope::read(record);
            Incident {
                time: DisplayTime::new(incident.timestamp, now),
                priority: priority.as_str(),
                source: names[incident.source()].to_string(),
                title: envelope.as_ref().and_then(Envelope::title),
                fields: match envelope {
                    Some(envelope) => mapped_fields(&envelope),
                    None => plain_fields(record),
                },
            }
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
            total: count(incidents.len()),
            priorities: priorities.collect(),
            filtered: !visibility.chosen(filter).is_empty(),
            all: href(&Filter::default(), 0),
            incidents: shown.collect(),
            pager,
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
