//! Whom a source's records name, and what they are answered as.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lines::Lines;
use super::reading::{Reading, Tables};
use super::shown::{count, grouped, shown};
use crate::decode::Incidents;
use crate::join::{IncidentIndex, Reason, Unattributed, join};
use crate::render::record_line;

/// The longest record that is printed whole.
const MAX_RECORD_CHARS: usize = 4_000;

/// How many records have an employee, and what the first record is answered as.
pub(super) fn attribution(
    reading: &Reading<Arc<Incidents>>,
    incidents: &Arc<Incidents>,
    tables: &Tables,
    lines: &mut Lines,
) {
    let index = join(&tables.slots, &[Some(Arc::clone(incidents))]);
    let attributed = index.incident_count();
    let employees = count(index.employee_count(), "employee");
    lines.add("attributed", &format!("{} to {employees}", count(attributed, "record")));
    let names_nobody = |item: &Unattributed| {
        matches!(item.reason, Reason::UnknownIp | Reason::UnknownIdentity | Reason::MissingIdentity)
    };
    if index.unattributed().len() == incidents.records().len()
        && index.unattributed().iter().all(names_nobody)
    {
        lines.problem("no record has an employee: see the reasons below, and identity above");
    }
    let mut reasons: BTreeMap<usize, (Reason, usize)> = BTreeMap::new();
    for unattributed in index.unattributed() {
        let order = Reason::ALL.iter().position(|reason| *reason == unattributed.reason);
        reasons.entry(order.unwrap_or_default()).or_insert((unattributed.reason, 0)).1 += 1;
    }
    for (label, (reason, records)) in
        std::iter::once("unattributed").chain(std::iter::repeat("")).zip(reasons.values())
    {
        let meaning = meaning(*reason);
        lines.add(label, &format!("{} {}: {meaning}", grouped(*records), reason.as_str()));
    }
    first_record(reading, incidents, &index, tables, lines);
}

fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownIp => "the address is in no table",
        Reason::UnknownIdentity => "the values are in no table",
        Reason::IdentitiesUnavailable => "a table that may have the value is missing",
        Reason::MissingIdentity => "no path leads to a value that holds something",
        Reason::InvalidPriority => "see priority",
        Reason::InvalidTimestamp => "see timestamp",
        Reason::NotAnObject => "the record is no object",
    }
}

fn first_record(
    reading: &Reading<Arc<Incidents>>,
    incidents: &Incidents,
    index: &IncidentIndex,
    tables: &Tables,
    lines: &mut Lines,
) {
    let Some(record) = incidents.records().first() else { return };
    let span = record.members_span();
    let employee = index.employees().find(|employee| {
        let mut incidents = employee.groups.iter().flat_map(|group| group.iter());
        incidents.any(|incident| incident.members_span() == span)
    });
    let place = match employee {
        Some(employee) => {
            let mut tables = tables.slots.iter().filter_map(|slot| slot.table.as_ref());
            let name = tables.find_map(|table| table.name(employee.id));
            let name = name.map_or_else(String::new, |name| format!(" ({})", shown(name, 60)));
            format!("of employee {}{name} is answered as", shown(employee.id, 60))
        }
        None => {
            let unattributed = index.unattributed().iter().find(|item| item.record() == 0);
            let reason = unattributed.map_or("", |item| item.reason.as_str());
            format!("stands in /unattributed ({reason}) as")
        }
    };
    lines.add("first record", &place);
    let bytes = incidents.bytes(record);
    let mut line = Vec::new();
    match bytes.split_first() {
        Some((b'{', members)) => record_line(&mut line, &reading.name, record.has_type(), members),
        _ => line.extend_from_slice(bytes),
    }
    let compact = without_whitespace(&String::from_utf8_lossy(&line));
    lines.more(&shown(&compact, MAX_RECORD_CHARS).to_string());
}

/// JSON without the whitespace between its tokens.
fn without_whitespace(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if is_in_string {
            is_in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            is_in_string = character == '"';
        }
        compact.push(character);
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::without_whitespace;

    #[test]
    fn whitespace_in_strings_is_kept() {
        let json = "{ \"a b\" : [ 1 ,\n\t\"c \\\" d\\\\\" , 2 ] }";
        assert_eq!(without_whitespace(json), r#"{"a b":[1,"c \" d\\",2]}"#);
    }
}
