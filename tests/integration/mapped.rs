//! Quirks of real APIs, from the YAML of a mapping to the document: what each record's envelope
//! says, and whose it is.

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config;
use incident_gateway::decode::{IncidentsDecoder, SourceMapping};
use incident_gateway::identity::{IdentityTable, TableSlot};
use incident_gateway::join::join;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;
use serde_json::Value;

const ADDRESSES: &str = r#"{"17.0.0.1":1,"2001:db8::1":2}"#;

/// The document and the unattributed records of one source, whose keys but for its name and path
/// are `mapping`.
fn documents(mapping: &str, pages: &[&str]) -> (Value, Value) {
    let yaml = format!("sources: [{{ name: api, path: /, {mapping} }}]");
    let config = config::from_yaml("test.yaml", &yaml).unwrap_or_else(|errors| panic!("{errors}"));
    let mapping = SourceMapping::new(&config.sources[0]);
    let mut decoder = IncidentsDecoder::new(Arc::new(mapping));
    for page in pages {
        decoder.add_page(Bytes::from((*page).to_owned())).unwrap();
    }
    let batches: Box<[_]> = Box::new([Some(Arc::new(decoder.finish()))]);
    let table = IdentityTable::decode(Bytes::from_static(ADDRESSES.as_bytes())).unwrap();
    let index = join(&[TableSlot::addresses(Some(Arc::new(table)))], &batches);
    let view = View::new(1, [Arc::from("api")].into(), batches, index);
    let json = |bytes: Vec<u8>| serde_json::from_slice(&bytes).unwrap();
    (json(render::incidents(&view, &Filter::default())), json(render::unattributed(&view)))
}

/// For each attributed record: employee, priority, time and the member `n` of the record.
fn attributed(document: &Value) -> Vec<(String, String, f64, i64)> {
    let mut records = Vec::new();
    for (employee, groups) in document.as_object().unwrap() {
        for (priority, group) in groups.as_object().unwrap() {
            for incident in group["incidents"].as_array().unwrap() {
                assert_eq!(incident["type"], "api");
                assert_eq!(incident["priority"], **priority);
                let time = incident["timestamp"].as_f64().unwrap();
                let number = incident["record"]["n"].as_i64().unwrap();
                records.push((employee.clone(), priority.clone(), time, number));
            }
        }
    }
    records.sort_by_key(|record| record.3);
    records
}

/// For each unattributed record: the reason, and the record.
fn reasons(unattributed: &Value) -> Vec<(String, Value)> {
    let incidents = unattributed["incidents"].as_array().unwrap().iter();
    let reason = |incident: &Value| {
        let reason = incident["reason"].as_str().unwrap().to_owned();
        (reason, incident["incident"]["record"].clone())
    };
    incidents.map(reason).collect()
}

const TIME: f64 = 1_772_449_200.0;

#[test]
fn an_envelope_is_found_through_the_quirks_of_an_api() {
    for (mapping, record, employee, priority, time) in [
        (
            // Elastic: the names of members have dots.
            "records: $.hits.hits, priority: kibana.alert.severity, timestamp: '@timestamp', \
             identity: { at: '$._source[''host.ip''][*]', as: ip }",
            r#"{"kibana.alert.severity":"HIGH","@timestamp":"2026-03-02T11:00:00.000Z","_source":{"host.ip":["fe80::2","2001:db8::1"]}"#,
            "2",
            "high",
            TIME,
        ),
        (
            // Wazuh: numbers as levels, an offset without a colon.
            "records: $.hits.hits, priority: { at: /rule/level, at_least: { low: 0, medium: 7, high: 12, critical: 15 } }, \
             timestamp: /timestamp, identity: { at: /agent/ip, as: ip }",
            r#"{"rule":{"level":"12"},"timestamp":"2026-03-02T13:00:00.250+0200","agent":{"ip":"17.0.0.1"}"#,
            "1",
            "high",
            TIME + 0.25,
        ),
        (
            // Cortex: milliseconds, and people in a list whose values have a domain.
            "records: /hits/hits, priority: { at: /severity, values: { informational: low } }, \
             timestamp: { at: /creation_time, unit: ms }, identity: { at: '$.users[*]', as: employee_id }",
            r#"{"severity":"Informational","creation_time":1772449200123.9,"users":["",null,"E7"]"#,
            "E7",
            "low",
            TIME + 0.1239,
        ),
        (
            // ServiceNow: 1 is the highest, and times have no zone.
            "records: /hits/hits, priority: { at: /priority, values: { 1: critical, 2: high, 3: medium, 4: low } }, \
             timestamp: { at: /opened_at, zone: UTC }, identity: /caller/employee_number",
            r#"{"priority":"1","opened_at":"2026-03-02 11:00:00","caller":{"employee_number":"0042"}"#,
            "0042",
            "critical",
            TIME,
        ),
        (
            // A list of paths: the first that holds something.
            "records: /hits/hits, priority: { at: [/a, /b], default: medium }, timestamp: [/t, /u], \
             identity: [{ at: /id }, { at: /src, as: ip }]",
            r#"{"a":[],"b":"unheard of","t":"","u":1772449200,"id":"n/a","src":"[2001:DB8::1]:443""#,
            "2",
            "medium",
            TIME,
        ),
        (
            // A format of its own, with a zone whose clock is an hour ahead.
            "records: /hits/hits, priority: { default: low }, \
             timestamp: { at: /when, zone: Europe/Oslo, format: '%d/%b/%Y %I:%M:%S %p' }, identity: { at: /id }",
            r#"{"when":"02/Mar/2026 12:00:00 PM","id":7"#,
            "7",
            "low",
            TIME,
        ),
    ] {
        let page = format!("{{\"hits\":{{\"hits\":[{record},\"n\":1}}]}}}}");
        let (document, unattributed) = documents(mapping, &[&page]);
        let expected = (employee.to_owned(), priority.to_owned(), time, 1);
        assert_eq!(attributed(&document), [expected], "{mapping}\n{unattributed}");
    }
}

#[test]
fn what_cannot_be_mapped_is_unattributed_with_the_first_reason() {
    let mapping = "records: '', priority: /p, timestamp: /t, \
        identity: [{ at: /ip, as: ip }, { at: /host, as: hostname }]";
    for (record, reason) in [
        (r#"{"p":"low","t":1772449200,"ip":"17.0.0.9"}"#, "unknown_ip"),
        (r#"{"p":"low","t":1772449200,"ip":"17.0.0.9","host":"ws1"}"#, "unknown_identity"),
        (r#"{"p":"low","t":1772449200,"ip":"printer"}"#, "unknown_identity"),
        (r#"{"p":"odd","t":"no","ip":"-","host":null}"#, "missing_identity"),
        (r#"{"p":"odd","t":"no","ip":"17.0.0.1"}"#, "invalid_priority"),
        (r#"{"p":"low","t":"2026-03-02 11:00:00","ip":"17.0.0.1"}"#, "invalid_timestamp"),
        (r#"{"p":"low","t":1772449200000,"ip":"17.0.0.1"}"#, "invalid_timestamp"),
        (r#"["p"]"#, "not_an_object"),
    ] {
        let (document, unattributed) = documents(mapping, &[&format!("[{record}]")]);
        assert_eq!(document, serde_json::json!({}), "{record}");
        assert_eq!(
            reasons(&unattributed),
            [(reason.to_owned(), serde_json::from_str(record).unwrap())]
        );
    }
}

#[test]
fn a_list_that_moves_while_it_is_read_has_each_record_once() {
    let mapping = "records: /d, id: [/k, /v], priority: { default: low }, \
        timestamp: { at: /t }, identity: { at: /who, as: employee_id }, \
        next: { page: page, size: 2 }";
    let record = |key: &str, version: i64, number: i64| {
        format!(r#"{{"k":"{key}","v":{version},"n":{number},"t":1772449200,"who":"E1"}}"#)
    };
    let page = |records: &[String]| format!("{{\"d\":[{}]}}", records.join(","));
    let pages = [
        page(&[record("a", 1, 1), record("b", 1, 2)]),
        page(&[record("b", 1, 3), record("b", 2, 4)]),
        page(&[]),
        page(&[record("a", 1, 5)]),
    ];
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let (document, _) = documents(mapping, &pages);
    let numbers: Vec<i64> = attributed(&document).into_iter().map(|record| record.3).collect();
    assert_eq!(numbers, [3, 4, 5]);
}
