//! Renders records of the history, as JSON, NDJSON or CSV.

use serde::Serialize;

use super::Format;
use super::csv::{write_quoted, write_text};
use super::json::write_string;
use super::member::{drop_line_breaks, splice_maybe_empty, splice_replacing};
use crate::decode::{Member, Priority, unescape};
use crate::join::Reason;
use crate::json::Scanner;
use crate::store::HistoryRow;

/// The columns of the CSV.
pub const HISTORY_COLUMNS: [&str; 10] = [
    "id",
    "type",
    "employee_id",
    "priority",
    "timestamp",
    "first_seen",
    "last_seen",
    "current",
    "reason",
    "incident",
];

/// Renders the rows in their order.
///
/// - JSON: the document of `/history`.
/// - NDJSON: an object a line, as in that document.
/// - CSV: a header and the [`HISTORY_COLUMNS`]; `incident` is JSON, what a record lacks is empty.
#[must_use]
pub fn history(format: Format, rows: &[HistoryRow]) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Json => {
            out.extend_from_slice(b"{\"count\":");
            write_json(&mut out, &rows.len());
            out.extend_from_slice(b",\"incidents\":[");
            for (index, row) in rows.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_object(&mut out, row);
            }
            out.extend_from_slice(b"]}");
        }
        Format::Ndjson => {
            for row in rows {
                let begin = out.len();
                write_object(&mut out, row);
                drop_line_breaks(&mut out, begin);
                out.push(b'\n');
            }
        }
        Format::Csv => {
            out.extend_from_slice(HISTORY_COLUMNS.join(",").as_bytes());
            out.extend_from_slice(b"\r\n");
            let mut incident = Vec::new();
            for row in rows {
                incident.clear();
                write_incident(&mut incident, row);
                drop_line_breaks(&mut incident, 0);
                write_cells(&mut out, row, &incident);
            }
        }
    }
    out
}

/// Writes a row as an object.
fn write_object(out: &mut Vec<u8>, row: &HistoryRow) {
    write_members(out, row, true);
    out.push(b'}');
}

/// Writes a row as it is sent to receivers, on one line: an object without `last_seen` and
/// `current`. Its closing brace is left out, so that members can be added.
pub(crate) fn open_sent_row(out: &mut Vec<u8>, row: &HistoryRow) {
    let begin = out.len();
    write_members(out, row, false);
    drop_line_breaks(out, begin);
}

/// Writes a row's record as it is in the row that is sent.
pub(crate) fn sent_incident(out: &mut Vec<u8>, row: &HistoryRow) {
    let begin = out.len();
    write_incident(out, row);
    drop_line_breaks(out, begin);
}

/// Writes a row as an object without its closing brace; `is_seen` adds `last_seen` and `current`.
fn write_members(out: &mut Vec<u8>, row: &HistoryRow, is_seen: bool) {
    out.extend_from_slice(b"{\"id\":\"");
    row.id.write(out);
    out.extend_from_slice(b"\",\"type\":");
    write_string(out, &row.source);
    out.extend_from_slice(b",\"employee_id\":");
    write_json(out, &row.employee_id);
    out.extend_from_slice(b",\"priority\":");
    write_json(out, &row.priority.map(Priority::as_str));
    out.extend_from_slice(b",\"timestamp\":");
    write_json(out, &row.timestamp);
    out.extend_from_slice(b",\"first_seen\":");
    write_json(out, &row.first_seen);
    if is_seen {
        out.extend_from_slice(b",\"last_seen\":");
        write_json(out, &row.last_seen);
        out.extend_from_slice(b",\"current\":");
        write_json(out, &row.is_current);
    }
    if let Some(reason) = row.reason {
        out.extend_from_slice(b",\"reason\":");
        write_string(out, reason.as_str());
    }
    out.extend_from_slice(b",\"incident\":");
    write_incident(out, row);
}

/// Writes a row as a line of CSV; `incident` is its record on a single line.
fn write_cells(out: &mut Vec<u8>, row: &HistoryRow, incident: &[u8]) {
    write_text(out, &row.id.to_string());
    out.push(b',');
    write_text(out, &row.source);
    out.push(b',');
    write_text(out, row.employee_id.as_deref().unwrap_or_default());
    out.push(b',');
    write_text(out, row.priority.map_or("", Priority::as_str));
    for time in [row.timestamp, Some(row.first_seen), Some(row.last_seen)] {
        out.push(b',');
        if let Some(time) = time.filter(|time| time.is_finite()) {
            write_json(out, &time);
        }
    }
    out.push(b',');
    write_json(out, &row.is_current);
    out.push(b',');
    write_text(out, row.reason.map_or("", Reason::as_str));
    out.push(b',');
    write_quoted(out, incident);
    out.extend_from_slice(b"\r\n");
}

/// Writes a record as `/incidents` and `/unattributed` do: an object with `type` first, anything
/// else as it is. The bytes are from a database, so they are checked: what is no JSON is written as
/// null, which leaves the document whole.
fn write_incident(out: &mut Vec<u8>, row: &HistoryRow) {
    let Some(has_type) = has_type(&row.bytes) else {
        out.extend_from_slice(b"null");
        return;
    };
    let Some((b'{', record)) = row.bytes.split_first() else {
        out.extend_from_slice(&row.bytes);
        return;
    };
    out.extend_from_slice(b"{\"type\":");
    write_string(out, &row.source);
    if has_type {
        splice_replacing(out, b"", record, &[Member::Type]);
    } else {
        splice_maybe_empty(out, b",", record);
    }
}

/// Whether the bytes are an object with a member `type`; `None` if they are not one JSON value.
fn has_type(bytes: &[u8]) -> Option<bool> {
    let mut scanner = Scanner::new(bytes);
    let mut has_type = false;
    let read = if bytes.starts_with(b"{") {
        scanner.object("", |scanner, name| {
            has_type |= unescape(name).is_some_and(|name| name == "type");
            scanner.value(1).map(drop)
        })
    } else {
        scanner.value(0).map(drop)
    };
    let is_json = read.and_then(|()| scanner.end()).is_ok();
    (is_json && (scanner.is_ascii() || str::from_utf8(bytes).is_ok())).then_some(has_type)
}

/// Whether the bytes are one JSON value.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    has_type(bytes).is_some()
}

/// Writes a number as rows have it; null if it is not finite.
pub(crate) fn write_number(out: &mut Vec<u8>, number: f64) {
    write_json(out, &number);
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::StableId;

    fn row(bytes: &str) -> HistoryRow {
        HistoryRow {
            id: StableId::of_bytes("denial", bytes.as_bytes()),
            number: 7,
            source: "denial".to_owned(),
            employee_id: Some("1234".to_owned()),
            priority: Some(Priority::Low),
            timestamp: Some(1_629_939_474.134_612_8),
            reason: None,
            first_seen: 1_629_939_500.5,
            last_seen: 1_629_939_600.0,
            is_current: false,
            bytes: bytes.as_bytes().to_vec(),
        }
    }

    fn unattributed(bytes: &str) -> HistoryRow {
        HistoryRow {
            employee_id: None,
            priority: None,
            timestamp: None,
            reason: Some(Reason::NotAnObject),
            is_current: true,
            ..row(bytes)
        }
    }

    fn text(format: Format, rows: &[HistoryRow]) -> String {
        String::from_utf8(history(format, rows)).unwrap()
    }

    #[test]
    fn a_document_has_each_member_in_its_order() {
        let rows = [row(r#"{"priority":"low","timestamp":1629939474.1346128}"#), unattributed("7")];
        let ids = rows.each_ref().map(|row| row.id.to_string());
        assert_eq!(
            text(Format::Json, &rows),
            format!(
                r#"{{"count":2,"incidents":[{{"id":"{}","type":"denial","employee_id":"1234","priority":"low","timestamp":1629939474.1346128,"first_seen":1629939500.5,"last_seen":1629939600.0,"current":false,"incident":{{"type":"denial","priority":"low","timestamp":1629939474.1346128}}}},{{"id":"{}","type":"denial","employee_id":null,"priority":null,"timestamp":null,"first_seen":1629939500.5,"last_seen":1629939600.0,"current":true,"reason":"not_an_object","incident":7}}]}}"#,
                ids[0], ids[1]
            )
        );
        assert_eq!(text(Format::Json, &[]), r#"{"count":0,"incidents":[]}"#);
        assert_eq!(text(Format::Ndjson, &[]), "");
    }

    #[test]
    fn a_record_is_written_as_elsewhere() {
        let incident = |bytes: &str| {
            let mut out = Vec::new();
            write_incident(&mut out, &row(bytes));
            String::from_utf8(out).unwrap()
        };
        for (bytes, expected) in [
            (r#"{ "a":1.0 , "b":"\u00e9" }"#, r#"{"type":"denial", "a":1.0 , "b":"\u00e9" }"#),
            (r#"{"ty\u0070e":"x","a":1}"#, r#"{"type":"denial","a":1}"#),
            (r#"{"type":1}"#, r#"{"type":"denial"}"#),
            ("{}", r#"{"type":"denial"}"#),
            (r#"["type"]"#, r#"["type"]"#),
            ("\"x\"", "\"x\""),
        ] {
            assert_eq!(incident(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn what_a_database_must_not_have_leaves_the_document_whole() {
        for bytes in ["", "{", "{\"a\":1}}", "{\"a\"", "nul", "1,2"] {
            let mut row = row(bytes);
            row.source = "\"\\".to_owned();
            (row.timestamp, row.first_seen) = (Some(f64::NAN), f64::INFINITY);
            let document: Value = serde_json::from_str(&text(Format::Json, &[row])).unwrap();
            let shown = &document["incidents"][0];
            assert_eq!((&shown["incident"], &shown["timestamp"]), (&Value::Null, &Value::Null));
            assert_eq!(shown["type"], "\"\\");
        }
        let mut invalid = row("\"x\"");
        invalid.bytes[1] = 0xff;
        let document: Value = serde_json::from_str(&text(Format::Json, &[invalid])).unwrap();
        assert_eq!(document["incidents"][0]["incident"], json!(null));
    }

    #[test]
    fn a_row_takes_one_line() {
        let rows = [row("{\n\"a\":\r\n\"b\\n\"}"), unattributed("[\n]")];
        let lines = text(Format::Ndjson, &rows);
        assert_eq!(lines.lines().count(), 2);
        for (line, row) in lines.lines().zip(&rows) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["id"], row.id.to_string());
        }
        assert_eq!(text(Format::Csv, &rows).matches('\n').count(), 3);
    }

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let mut formula = row(r#"{"a":"=1"}"#);
        formula.employee_id = Some("=cmd,1".to_owned());
        let csv = text(Format::Csv, &[formula.clone(), unattributed("7")]);
        let mut lines = csv.split("\r\n");
        assert_eq!(lines.next(), Some(HISTORY_COLUMNS.join(",").as_str()));
        assert_eq!(
            lines.next().unwrap(),
            format!(
                r#"{},denial,"'=cmd,1",low,1629939474.1346128,1629939500.5,1629939600.0,false,,"{{""type"":""denial"",""a"":""=1""}}""#,
                formula.id
            )
        );
        assert!(
            lines
                .next()
                .unwrap()
                .ends_with(r#",denial,,,,1629939500.5,1629939600.0,true,not_an_object,"7""#)
        );
    }
}
