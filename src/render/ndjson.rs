//! Renders NDJSON: a line for each incident, each a JSON object.

use super::Filter;
use super::json::write_string;
use super::member::{drop_line_breaks, splice_replacing, splice_unchanged};
use super::prefetch::Prefetcher;
use crate::decode::Member;
use crate::snapshot::View;

/// Renders a line for each incident that meets the filter, in the order of the document: `type` and
/// `employee_id` (a string), then the record's other members byte for byte.
#[must_use]
pub fn ndjson(view: &View, filter: &Filter) -> Vec<u8> {
    let prefixes: Vec<_> = view
        .names()
        .iter()
        .map(|name| format!("{{\"type\":\"{name}\",\"employee_id\":").into_bytes())
        .collect();
    let mut out =
        Vec::with_capacity(if filter.is_empty() { expected_size(view, &prefixes) } else { 0 });
    let mut prefetcher = Prefetcher::new(view, filter.is_empty());
    let mut id = Vec::new();
    for employee in filter.employees(view.index()) {
        id.clear();
        write_string(&mut id, employee.id);
        id.push(b',');
        for (_, incident) in filter.incidents(&employee) {
            let members = view.members(incident);
            out.extend_from_slice(&prefixes[incident.source()]);
            let begin = out.len();
            if incident.has_type() || incident.has_employee_id() {
                splice_replacing(&mut out, &id, members, &[Member::Type, Member::EmployeeId]);
            } else {
                splice_unchanged(&mut out, &id, members);
            }
            drop_line_breaks(&mut out, begin);
            out.push(b'\n');
            prefetcher.advance();
        }
    }
    out
}

/// About the size of all lines; the buffer grows if ids are longer. The actual lengths are not
/// used, because the upstream chooses them and one long id would be multiplied by all incidents.
fn expected_size(view: &View, prefixes: &[Vec<u8>]) -> usize {
    const EXPECTED_ID_BYTES: usize = 16;
    let prefix = prefixes.iter().map(Vec::len).max().unwrap_or_default();
    view.size() + view.index().incident_count() * (prefix + EXPECTED_ID_BYTES)
}
