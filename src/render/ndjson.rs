//! Incidents as lines: one JSON object a record (NDJSON).

use super::Filter;
use super::json::write_string;
use super::member::{drop_line_breaks, splice, splice_whole};
use crate::decode::Member;
use crate::snapshot::View;

/// A line for each incident that meets the filter, in the order of the document: `type`,
/// `employee_id` (a string), then the record's own members as they came, without any of these two
/// names.
#[must_use]
pub fn ndjson(view: &View, filter: &Filter) -> Vec<u8> {
    let prefixes: Vec<_> = view
        .names()
        .iter()
        .map(|name| format!("{{\"type\":\"{name}\",\"employee_id\":").into_bytes())
        .collect();
    let mut out =
        Vec::with_capacity(if filter.is_empty() { size_of_all(view, &prefixes) } else { 0 });
    let mut id = Vec::new();
    for employee in filter.employees(view.joined()) {
        id.clear();
        write_string(&mut id, employee.id);
        id.push(b',');
        for (_, placed) in filter.incidents(&employee) {
            let tail = view.tail(placed);
            out.extend_from_slice(&prefixes[placed.source()]);
            let begin = out.len();
            if placed.has_type() || placed.has_employee_id() {
                splice(&mut out, &id, tail, &[Member::Type, Member::EmployeeId]);
            } else {
                splice_whole(&mut out, &id, tail);
            }
            drop_line_breaks(&mut out, begin);
            out.push(b'\n');
        }
    }
    out
}

/// About an upper bound of all lines' size: only ids full of escapes take more. Memory that is
/// reserved and not written to is never used.
fn size_of_all(view: &View, prefixes: &[Vec<u8>]) -> usize {
    let prefix = prefixes.iter().map(Vec::len).max().unwrap_or_default();
    let ids = view.joined().employees().map(|employee| {
        let incidents: usize = employee.groups.iter().map(|group| group.len()).sum();
        incidents * (employee.id.len() + 4)
    });
    view.size() + view.joined().incident_count() * prefix + ids.sum::<usize>()
}
