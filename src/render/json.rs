//! Renders JSON: employees with their groups, and the unattributed records.

use super::Filter;
use super::member::{drop_line_breaks, splice_maybe_empty, splice_replacing, splice_unchanged};
use super::prefetch::Prefetcher;
use crate::decode::{Member, Priority};
use crate::join::{Employee, IncidentRef};
use crate::snapshot::View;

/// The most bytes of an employee beside the id and the incidents: the names, counts and brackets of
/// four groups.
const EMPLOYEE_FRAME_BYTES: usize = 192;

/// The document of `/incidents`: employee → priority → count and incidents.
#[must_use]
pub fn incidents(view: &View, filter: &Filter) -> Vec<u8> {
    let mut out = Vec::with_capacity(if filter.is_empty() { max_document_size(view) } else { 0 });
    out.push(b'{');
    let begin = out.len();
    let prefetcher = Prefetcher::new(view, filter.is_empty());
    let mut writer = Writer::new(&mut out, view, filter, prefetcher);
    for employee in filter.employees(view.index()) {
        writer.member(&employee, begin);
    }
    out.push(b'}');
    out
}

/// An upper bound of the whole document's size, unless ids need many escapes. Reserved memory that
/// is never written to costs nothing.
fn max_document_size(view: &View) -> usize {
    let prefix = prefixes(view).iter().map(Vec::len).max().unwrap_or_default();
    let employees =
        view.index().employees().map(|employee| employee.id.len() + EMPLOYEE_FRAME_BYTES);
    view.size() + view.index().incident_count() * (prefix + 1) + employees.sum::<usize>()
}

/// The document of `/incidents/{employee_id}`: the employee's incidents that meet the filter, in
/// four groups.
#[must_use]
pub fn employee(view: &View, employee: &Employee<'_>, filter: &Filter) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out, view, filter, Prefetcher::new(view, false)).groups(employee);
    out
}

/// The document of `/unattributed`.
#[must_use]
pub fn unattributed(view: &View) -> Vec<u8> {
    let mut out = Vec::new();
    let list = view.index().unattributed();
    let prefixes = prefixes(view);
    out.extend_from_slice(b"{\"count\":");
    out.extend_from_slice(itoa::Buffer::new().format(list.len()).as_bytes());
    out.extend_from_slice(b",\"incidents\":[");
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"source\":\"");
        out.extend_from_slice(view.names()[item.source()].as_bytes());
        out.extend_from_slice(b"\",\"reason\":\"");
        out.extend_from_slice(item.reason.as_str().as_bytes());
        out.extend_from_slice(b"\",\"incident\":");
        let (record, bytes) = view.unattributed(item);
        // The envelope of a mapped record is an object, even if the record is none.
        match bytes.split_first() {
            Some((b'{', members)) => {
                write_record(&mut out, &prefixes[item.source()], record.has_type(), members);
            }
            _ => out.extend_from_slice(bytes),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// For each source, the start of its records. The configuration allows only source names that need
/// no escapes.
fn prefixes(view: &View) -> Vec<Vec<u8>> {
    view.names().iter().map(|name| prefix(name)).collect()
}

fn prefix(name: &str) -> Vec<u8> {
    format!("{{\"type\":\"{name}\",").into_bytes()
}

/// Writes a record, which may have no members.
fn write_record(out: &mut Vec<u8>, prefix: &[u8], has_type: bool, record: &[u8]) {
    if has_type {
        splice_replacing(out, prefix, record, &[Member::Type]);
    } else {
        splice_maybe_empty(out, prefix, record);
    }
}

/// Writes a record on a single line. `record` is everything after its opening brace, `name` the
/// name of its source.
pub(crate) fn record_line(out: &mut Vec<u8>, name: &str, has_type: bool, record: &[u8]) {
    let begin = out.len();
    write_record(out, &prefix(name), has_type, record);
    drop_line_breaks(out, begin);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    view: &'a View,
    filter: &'a Filter,
    prefixes: Vec<Vec<u8>>,
    prefetcher: Prefetcher<'a>,
}

impl<'a> Writer<'a> {
    fn new(
        out: &'a mut Vec<u8>,
        view: &'a View,
        filter: &'a Filter,
        prefetcher: Prefetcher<'a>,
    ) -> Self {
        Self { out, view, filter, prefixes: prefixes(view), prefetcher }
    }

    /// Writes the member `"<id>":{groups}`, or nothing if no incident of the employee meets the
    /// filter. `first` is the position of the first member in `out`.
    fn member(&mut self, employee: &Employee<'_>, first: usize) {
        let begin = self.out.len();
        if begin > first {
            self.out.push(b',');
        }
        write_string(self.out, employee.id);
        self.out.push(b':');
        if self.groups(employee) == 0 {
            self.out.truncate(begin);
        }
    }

    /// Writes the four groups; returns the number of their incidents.
    fn groups(&mut self, employee: &Employee<'_>) -> usize {
        let mut total = 0;
        for (priority, group) in Priority::ALL.into_iter().zip(employee.groups) {
            self.out.extend_from_slice(if priority == Priority::Low { b"{\"" } else { b",\"" });
            self.out.extend_from_slice(priority.as_str().as_bytes());
            total += self.list(self.filter.slice(priority, group));
        }
        self.out.push(b'}');
        total
    }

    /// Writes the count and the incidents of a group; returns the count.
    #[inline]
    fn list(&mut self, group: &[IncidentRef]) -> usize {
        let Self { out, view, filter, prefixes, prefetcher } = self;
        let is_any_source = filter.sources.is_none();
        let count = if is_any_source {
            group.len()
        } else {
            group.iter().filter(|incident| filter.wants_source(incident)).count()
        };
        out.extend_from_slice(b"\":{\"count\":");
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        out.extend_from_slice(b",\"incidents\":[");
        let mut is_first = true;
        for incident in
            group.iter().filter(|incident| is_any_source || filter.wants_source(incident))
        {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            let prefix = &prefixes[incident.source()];
            if incident.has_type() {
                splice_replacing(out, prefix, view.members(incident), &[Member::Type]);
            } else {
                splice_unchanged(out, prefix, view.members(incident));
            }
            prefetcher.advance();
        }
        out.extend_from_slice(b"]}");
        count
    }
}

/// Writes a JSON string, with the escapes that RFC 8259 demands and no others.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}
