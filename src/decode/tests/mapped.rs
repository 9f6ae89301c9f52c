//! What a mapping makes of documents.

use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use crate::config;
use crate::json::Path;
use crate::mapping::{
    IdentityEntry, IdentityKind, Paths, PriorityMapping, PriorityRule, TimeUnit, TimestampMapping,
    TimestampRule,
};

pub(super) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub(super) fn paths(texts: &[&str]) -> Paths {
    texts.iter().map(|text| path(text)).collect()
}

pub(super) fn entry(at: &str, kind: IdentityKind) -> IdentityEntry {
    IdentityEntry { at: vec![path(at)], kind: Some(kind) }
}

/// A source whose records have an id at `/id`.
pub(super) fn source() -> config::Source {
    config::Source {
        records: Some(path("/data")),
        id: paths(&["/id"]),
        identity: vec![entry("/who", IdentityKind::Email), entry("/ip", IdentityKind::Ip)],
        ..config::Source::plain("mapped", "/", &[])
    }
}

pub(super) fn decode_pages(
    source: &config::Source,
    pages: &[&str],
) -> Result<Incidents, DecodeError> {
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
    for page in pages {
        decoder.add_page(Bytes::from((*page).to_owned()))?;
    }
    Ok(decoder.finish())
}

fn decode(source: &config::Source, page: &str) -> Incidents {
    decode_pages(source, &[page]).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The envelopes of all records.
pub(super) fn envelopes(incidents: &Incidents) -> Vec<&str> {
    let bytes = incidents.records().iter().map(|record| incidents.bytes(record));
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
}

/// The only record, decoded.
fn only(source: &config::Source, record: &str) -> (Incidents, Record, String) {
    let incidents = decode(source, &format!("{{\"data\":[{record}]}}"));
    let (decoded, envelope) = (incidents.records()[0], envelopes(&incidents)[0].to_owned());
    (incidents, decoded, envelope)
}

/// The keys of a record; `None` if it has no identity.
pub(super) fn keys(incidents: &Incidents, record: &Record) -> Option<Vec<IdentityKey>> {
    let Some(IdentityValue::Keys(list)) = record.identity() else { return None };
    let list = incidents.key_list(list).iter();
    Some(list.map(|key| incidents.keys()[*key as usize].clone()).collect())
}

#[test]
fn a_record_stands_in_an_envelope() {
    let source = config::Source {
        id: paths(&["/id", "/no"]),
        priority: Some(
            PriorityMapping::new(
                paths(&["/a/severity", "/severity"]),
                PriorityRule::values(vec![("3".to_owned(), Priority::High)]).unwrap(),
                None,
            )
            .unwrap(),
        ),
        timestamp: Some(TimestampMapping {
            at: paths(&["/at"]),
            rule: TimestampRule::new(TimeUnit::Milliseconds, None, None).unwrap(),
        }),
        title: paths(&["/none", "$.names[*]"]),
        url: paths(&["/url"]),
        ..source()
    };
    let record = r#"{ "id" : "u/2", "no":7.50, "severity": [null, 3], "at": "1772449200230",
        "names": ["", ["A \u0022title\u0022\ud800"]], "url": 5, "who": "ADA@example.org" }"#;
    let members = r#""priority":"high","timestamp":1772449200.230000,"id":"u/2/7.50","title":"A \u0022title\u0022\ud800","url":"5","#;
    let incidents = decode(&source, &format!("{{\"data\":[{record}]}}"));
    assert_eq!(envelopes(&incidents), [format!("{{{members}\"record\":{record}}}")]);
    let record = incidents.records()[0];
    assert_eq!(record.priority(), Some(Priority::High));
    assert!((record.timestamp() - 1_772_449_200.23).abs() < f64::EPSILON);
    assert_eq!((record.identity_fault(), record.value_fault()), (None, None));
    assert!(!record.has_type() && !record.has_employee_id());
    assert_eq!(keys(&incidents, &record), Some(vec![IdentityKey::Email("ada@example.org".into())]));
    assert_eq!(incidents.body().len(), record.span().length as usize);
}

#[test]
fn an_envelope_lacks_what_the_record_does_not_yield() {
    let source = config::Source { title: paths(&["/title"]), url: paths(&["/url"]), ..source() };
    for (record, members) in [
        ("{}", ""),
        (
            r#"{"priority":"HIGH","timestamp":"2026-03-02T11:00:00Z"}"#,
            r#""priority":"high","timestamp":1772449200.000000,"#,
        ),
        (r#"{"priority":"urgent","timestamp":"yesterday"}"#, ""),
        (r#"{"timestamp":1.7724492e9}"#, r#""timestamp":1772449200.000000,"#),
        (r#"{"timestamp":12}"#, ""),
        (r#"{"id":null,"title":"","url":[]}"#, ""),
        (r#"{"id":{},"title":{"a":1},"url":true}"#, ""),
        (r#"{"id":[{"a":1},"x"],"title":[{"a":1},"x"]}"#, ""),
        (r#"{"id":[[],"",1],"title":[null,2],"url":"\/"}"#, r#""id":"1","title":"2","url":"\/","#),
    ] {
        assert_eq!(only(&source, record).2, format!("{{{members}\"record\":{record}}}"));
    }
}

#[test]
fn a_record_that_is_no_object_stands_in_the_envelope_as_it_is() {
    use RecordFault::NotAnObject;
    let low = PriorityMapping::new(vec![], PriorityRule::names(), Some(Priority::Low)).unwrap();
    let source = config::Source { priority: Some(low), id: vec![Path::whole()], ..source() };
    for record in ["7", "\"x\"", "null", "[ {\"id\":1} ]"] {
        let (_, decoded, envelope) = only(&source, record);
        assert_eq!(envelope, format!("{{\"record\":{record}}}"));
        assert_eq!(decoded.identity_fault(), Some(NotAnObject));
    }
}

#[test]
fn values_that_map_to_nothing_are_counted_where_the_default_stands_in_too() {
    let mapping = |default| {
        let values = vec![("1".to_owned(), Priority::High)];
        PriorityMapping::new(paths(&["/p"]), PriorityRule::values(values).unwrap(), default)
    };
    let values = r#"{"p":1},{"p":"1"},{"p":"x"},{"p":2},{"p":"X"},{"p":"x"},{"p":null},{},{"p":[]},
        {"p":[{"a":"é"}]},{"p":false}"#;
    let values = values.split(",{").map(str::trim).collect::<Vec<_>>().join(",{");
    for default in [None, Some(Priority::Low)] {
        let source = config::Source { priority: Some(mapping(default).unwrap()), ..source() };
        let incidents = decode(&source, &format!("{{\"data\":[{values}]}}"));
        let expected = [("x", 2), ("2", 1), ("X", 1), (r#"{"a":"é"}"#, 1), ("false", 1)];
        let expected = expected.map(|(value, count)| (value.to_owned(), count));
        assert_eq!(incidents.unmapped(), expected);
        let priorities = incidents.records().iter().map(Record::priority);
        let high = Some(Priority::High);
        assert_eq!(
            priorities.collect::<Vec<_>>(),
            [high, high].into_iter().chain([default; 9]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn unmapped_values_are_bounded_in_number_and_length() {
    let record = |index: usize| format!("{{\"priority\":\"{index:02}{}\"}}", "é".repeat(100));
    let records: Vec<String> = (0..30).chain(0..30).map(record).collect();
    let incidents = decode(&source(), &format!("{{\"data\":[{}]}}", records.join(",")));
    assert_eq!(incidents.unmapped().len(), 20);
    for (index, (value, count)) in incidents.unmapped().iter().enumerate() {
        assert_eq!(*value, format!("{index:02}{}", "é".repeat(31)));
        assert_eq!(*count, 2);
    }
    let plain = config::Source::plain("plain", "/", &["who"]);
    let body = r#"{"results":[{"priority":"LOW"},{"priority":3},{"priority":"LOW","priority":"low"},
        {"priority":null},{"priority":"LOW"}]}"#;
    let incidents = decode(&plain, body);
    assert_eq!(incidents.unmapped(), [("LOW".to_owned(), 2), ("3".to_owned(), 1)]);
}

#[test]
fn identity_values_are_cleaned_up_in_order_of_their_paths() {
    use IdentityKey::{Email, EmployeeId, Hostname, Ip, Username};
    let source = config::Source {
        identity: vec![
            entry("$.people[*].mail", IdentityKind::Email),
            entry("/login", IdentityKind::Username),
            entry("/host", IdentityKind::Hostname),
            entry("/ip", IdentityKind::Ip),
            IdentityEntry { at: paths(&["/any"]), kind: None },
        ],
        ..source()
    };
    let text = |text: &str| text.into();
    let address = |text: &str| Ip(text.parse().unwrap());
    for (record, expected) in [
        (
            r#"{"any":4711,"ip":["[2001:db8::1]:80","10.0.0.1"],"people":[{"mail":"B@x"},{},{"mail":["a@x"]}]}"#,
            Some(vec![
                Email(text("b@x")),
                Email(text("a@x")),
                address("2001:db8::1"),
                address("10.0.0.1"),
                EmployeeId(text("4711")),
            ]),
        ),
        (
            r#"{"login":"CORP\\ada","host":"WS1.corp:80","any":" 10.0.0.2 "}"#,
            Some(vec![Username(text("ada")), Hostname(text("ws1")), address("10.0.0.2")]),
        ),
        (r#"{"any":"10.0.0.2","login":"n/a"}"#, Some(vec![address("10.0.0.2")])),
        (r#"{"any":"\u0041"}"#, Some(vec![EmployeeId(text("A"))])),
        // Values that are there, but not of their kind.
        (r#"{"host":"10.0.0.1"}"#, Some(vec![])),
        (r#"{"ip":"host"}"#, Some(vec![])),
        (r#"{"any":true}"#, Some(vec![])),
        (r#"{"any":{"a":1}}"#, Some(vec![])),
        (r#"{"any":"\ud800"}"#, Some(vec![])),
        // Nothing there.
        ("{}", None),
        (r#"{"any":null,"ip":["",[],"-"],"login":" Unknown ","host":"NONE","people":[]}"#, None),
    ] {
        let (incidents, decoded, _) = only(&source, record);
        assert_eq!(keys(&incidents, &decoded), expected, "{record}");
        let fault = expected.is_none().then_some(RecordFault::MissingIdentity);
        assert_eq!(decoded.identity_fault(), fault, "{record}");
    }
    let long = format!("{{\"any\":\"{}\"}}", "x".repeat(257));
    let (incidents, decoded, _) = only(&source, &long);
    assert_eq!(keys(&incidents, &decoded), Some(vec![]));
}

#[test]
fn the_first_path_of_an_identity_that_holds_something_is_used() {
    use IdentityKey::{Email, EmployeeId};
    let source = config::Source {
        identity: vec![
            IdentityEntry { at: paths(&["/mail", "$.old[*]"]), kind: Some(IdentityKind::Email) },
            IdentityEntry { at: paths(&["/number", "/id"]), kind: None },
        ],
        ..source()
    };
    let mail = |text: &str| Email(text.into());
    let id = |text: &str| EmployeeId(text.into());
    for (record, expected) in [
        (r#"{"mail":"a@x","old":["b@x"]}"#, Some(vec![mail("a@x")])),
        (
            r#"{"mail":["-","a@x","c@x"],"old":["b@x"],"id":7}"#,
            Some(vec![mail("a@x"), mail("c@x"), id("7")]),
        ),
        (
            r#"{"mail":["-","Unknown",null],"old":["b@x","","c@x"]}"#,
            Some(vec![mail("b@x"), mail("c@x")]),
        ),
        (r#"{"mail":[],"number":"none","id":7}"#, Some(vec![id("7")])),
        (r#"{"number":8,"id":7}"#, Some(vec![id("8")])),
        // What is not of its kind holds something all the same.
        (r#"{"mail":true,"old":["b@x"]}"#, Some(vec![])),
        (r#"{"mail":"N/A","old":["unknown"],"number":"","id":null}"#, None),
    ] {
        let (incidents, decoded, _) = only(&source, record);
        assert_eq!(keys(&incidents, &decoded), expected, "{record}");
    }
}

#[test]
fn each_key_and_each_list_is_kept_once() {
    let records = r#"{"who":"a@x","ip":"1.1.1.1"},{"who":"A@X ","ip":"1.1.1.1:80"},{"who":"b@x"},{"ip":"1.1.1.1"},{"who":"b@x"}"#;
    let incidents = decode(&source(), &format!("{{\"data\":[{records}]}}"));
    assert_eq!(incidents.keys().len(), 3);
    let lists = incidents.records().iter().map(|record| record.identity().unwrap());
    let list = IdentityValue::Keys;
    assert_eq!(lists.collect::<Vec<_>>(), [list(0), list(0), list(1), list(2), list(1)]);
}

#[test]
fn the_copy_that_came_last_counts() {
    let two_parts = config::Source { id: paths(&["/a", "/b"]), ..source() };
    for (source, records, kept, duplicates) in [
        (source(), r#"{"id":1},{"id":2},{"id":"1","n":3}"#, vec![1, 2], 1),
        (source(), r#"{"id":1},{"id":1},{"id":1}"#, vec![2], 2),
        (source(), r#"{"id":"a"},{"id":"\u0061"},{"id":"A"}"#, vec![1, 2], 1),
        (source(), r#"{"id":null},{"id":null},{},{},7,7"#, vec![0, 1, 2, 3, 4, 5], 0),
        (source(), r#"{"id":"\ud800"},{"id":"\ud801"},{"id":"\ud800"}"#, vec![1, 2], 1),
        (source(), r#"{"id":1},{"id":1.0}"#, vec![0, 1], 0),
        (
            two_parts.clone(),
            r#"{"a":"x/y","b":"z"},{"a":"x","b":"y/z"},{"a":"x"},{"a":"x"},{"a":"x","b":"y/z"}"#,
            vec![0, 2, 3, 4],
            1,
        ),
    ] {
        let body = format!("{{\"data\":[{records}]}}");
        let incidents = decode(&source, &body);
        assert_eq!(incidents.duplicates(), duplicates, "{records}");
        let without_ids = config::Source { id: vec![], ..source };
        let everything = decode(&without_ids, &body);
        let everything = envelopes(&everything);
        let strip = |envelope: &str| envelope[envelope.find("\"record\"").unwrap()..].to_owned();
        let kept: Vec<String> = kept.iter().map(|index| strip(everything[*index])).collect();
        let found = envelopes(&incidents);
        assert_eq!(found.iter().map(|envelope| strip(envelope)).collect::<Vec<_>>(), kept);
    }
}

#[test]
fn what_a_dropped_copy_says_does_not_count() {
    let body = r#"{"data":[{"id":1,"priority":"p","timestamp":"2026-03-02T11:00:00Z"},
        {"id":1,"priority":"q","timestamp":"2026-03-02T12:00:00Z"}]}"#;
    let incidents = decode(&source(), body);
    assert_eq!(incidents.unmapped(), [("q".to_owned(), 1)]);
    assert!((incidents.timestamps().earliest - 1_772_452_800.0).abs() < f64::EPSILON);
}

#[test]
fn records_are_found_in_their_envelopes_as_they_were_sent() {
    let source = config::Source { title: paths(&["/title"]), url: paths(&["/url"]), ..source() };
    let records = [
        r#"{ "id" : "a\"b" , "title": "\"record\":{}", "url": "}", "priority": "high", "x": [{}] }"#,
        r#"{"id":7,"timestamp":1,"record":{"record":2}}"#,
        r#"{"id":{"x":1}}"#,
        "[ ]",
        "null",
        "{}",
    ];
    let page = format!("{{\"data\":[{}]}}", records.join(" ,\n"));
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source).keeping_ids()));
    decoder.add_page(Bytes::from(page.clone())).unwrap();
    let incidents = decoder.finish();
    let raw = |incidents: &Incidents| -> Vec<String> {
        let raw = incidents.records().iter().map(|record| incidents.raw(record).to_vec());
        raw.map(|raw| String::from_utf8(raw).unwrap()).collect()
    };
    assert_eq!(raw(&incidents), records);
    let has_id = [true, true, false, false, false, false];
    assert_eq!([0, 1, 2, 3, 4, 5].map(|record| incidents.id_key(record).is_some()), has_id);
    assert_ne!(incidents.id_key(0), incidents.id_key(1));
    assert!(incidents.id_key(6).is_none());
    let merged = Incidents::merged(&decode(&source, &page), incidents, 0).unwrap();
    assert!(raw(&merged).ends_with(&records.map(str::to_owned)));
    assert!(decode(&source, &page).id_key(0).is_none(), "kept only when asked for");
    let plain = Incidents::decode(
        Bytes::from_static(br#"{"results":[{"record":1}]}"#),
        &SourceFields::new(&[]),
    );
    assert_eq!(raw(&plain.unwrap()), [r#"{"record":1}"#]);
}
