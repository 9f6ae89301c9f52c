//! The documents: employees with their groups, and the unattributed.

use super::Filter;
use super::member::{drop_line_breaks, splice, splice_whole};
use super::prefetch::Prefetch;
use crate::decode::{Member, Priority};
use crate::join::{Employee, Placed};
use crate::snapshot::View;

/// Bytes that an employee's frame takes beside the id: four groups with names, counts and brackets.
const EMPLOYEE_FRAME: usize = 192;

/// The document of `/incidents`: employee → priority → count and incidents.
#[must_use]
pub fn incidents(view: &View, filter: &Filter) -> Vec<u8> {
    let mut writer = Writer::new(view, filter, Prefetch::of(view, filter));
    let joined = view.joined();
    writer.out.push(b'{');
    if filter.is_empty() {
        writer.out.reserve(writer.size_of_all());
    }
    for employee in filter.employees(joined) {
        writer.member(&employee);
    }
    writer.out.push(b'}');
    writer.out
}

/// The document of `/incidents/{employee_id}`: that employee's four groups, as far as they meet the filter.
#[must_use]
pub fn employee(view: &View, employee: &Employee<'_>, filter: &Filter) -> Vec<u8> {
    let mut writer = Writer::new(view, filter, Prefetch::nothing(view));
    writer.groups(employee);
    writer.out
}

/// The document of `/unattributed`.
#[must_use]
pub fn unattributed(view: &View) -> Vec<u8> {
    let mut out = Vec::new();
    let list = view.joined().unattributed();
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
        if record.is_object() {
            write_record(&mut out, &prefixes[item.source()], record.has_type(), bytes);
        } else {
            out.extend_from_slice(bytes);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// What every record of a source begins with. Names are checked by the configuration, so they need no escapes.
fn prefixes(view: &View) -> Vec<Vec<u8>> {
    view.names().iter().map(|name| format!("{{\"type\":\"{name}\"").into_bytes()).collect()
}

#[inline]
fn write_record(out: &mut Vec<u8>, prefix: &[u8], has_type: bool, bytes: &[u8]) {
    if has_type {
        splice(out, prefix, bytes, &[Member::Type]);
    } else {
        splice_whole(out, prefix, bytes);
    }
}

/// A record as the documents have it, without line breaks.
pub(crate) fn line(out: &mut Vec<u8>, name: &str, has_type: bool, bytes: &[u8]) {
    let begin = out.len();
    let prefix = format!("{{\"type\":\"{name}\"");
    if has_type {
        splice(out, prefix.as_bytes(), bytes, &[Member::Type]);
    } else {
        splice_whole(out, prefix.as_bytes(), bytes);
    }
    drop_line_breaks(out, begin);
}

struct Writer<'a> {
    view: &'a View,
    filter: &'a Filter,
    prefixes: Vec<Vec<u8>>,
    prefetch: Prefetch<'a>,
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(view: &'a View, filter: &'a Filter, prefetch: Prefetch<'a>) -> Self {
        Self { view, filter, prefixes: prefixes(view), prefetch, out: Vec::new() }
    }

    /// An upper bound of the whole document's size. Memory that is reserved and not written to is never used.
    fn size_of_all(&self) -> usize {
        let records: usize = self
            .view
            .batches()
            .iter()
            .zip(&self.prefixes)
            .filter_map(|(batch, prefix)| {
                batch.as_ref().map(|batch| batch.body().len() + batch.records().len() * (prefix.len() + 1))
            })
            .sum();
        records + self.view.joined().employees().map(|employee| employee.id.len() + EMPLOYEE_FRAME).sum::<usize>()
    }

    /// `"<id>":{groups},`, unless the employee has no incident that meets the filter.
    fn member(&mut self, employee: &Employee<'_>) {
        let begin = self.out.len();
        if begin > 1 {
            self.out.push(b',');
        }
        write_string(&mut self.out, employee.id);
        self.out.push(b':');
        if self.groups(employee) == 0 {
            self.out.truncate(begin);
        }
    }

    /// The four groups; returns how many incidents they have.
    fn groups(&mut self, employee: &Employee<'_>) -> usize {
        let mut total = 0;
        for (priority, group) in Priority::ALL.into_iter().zip(employee.groups) {
            self.out.push(if priority == Priority::Low { b'{' } else { b',' });
            self.out.push(b'"');
            self.out.extend_from_slice(priority.as_str().as_bytes());
            total += self.list(self.filter.slice(priority, group));
        }
        self.out.push(b'}');
        total
    }

    #[inline]
    fn list(&mut self, group: &[Placed]) -> usize {
        let Self { view, filter, prefixes, prefetch, out } = self;
        let all = filter.sources.is_none();
        let count = if all { group.len() } else { group.iter().filter(|placed| filter.wants_source(placed)).count() };
        out.extend_from_slice(b"\":{\"count\":");
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        out.extend_from_slice(b",\"incidents\":[");
        let mut first = true;
        for placed in group.iter().filter(|placed| all || filter.wants_source(placed)) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_record(out, &prefixes[placed.source()], placed.has_type(), view.bytes(placed));
            prefetch.step();
        }
        out.extend_from_slice(b"]}");
        count
    }
}

/// A JSON string, with the escapes that RFC 8259 demands and no others.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}
