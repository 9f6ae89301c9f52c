//! What is sent, word for word.

mod properties;

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::*;
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::StableId;

const ALERTS: ForwardFormat = ForwardFormat::Alertmanager { active_for: Duration::from_hours(1) };

const FORMATS: [ForwardFormat; 5] = [
    ForwardFormat::Ndjson,
    ForwardFormat::CloudEvents,
    ForwardFormat::SplunkHec,
    ForwardFormat::Elasticsearch,
    ALERTS,
];

fn forward(format: ForwardFormat, tags: &[(&str, &str)]) -> Forward {
    let url = Url::parse("https://collector.test/_bulk").unwrap();
    let tags = tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Forward { tags, ..Forward::new("siem", url, format) }
}

fn row(bytes: &str) -> HistoryRow {
    HistoryRow {
        id: StableId([0xab; 16]),
        number: 7,
        source: "denial".to_owned(),
        employee_id: Some("1234".to_owned()),
        priority: Some(Priority::Low),
        timestamp: Some(1_629_939_474.134_612),
        reason: None,
        first_seen: 1_629_939_500.5,
        last_seen: 1_629_939_600.0,
        is_current: true,
        bytes: bytes.as_bytes().to_vec(),
    }
}

/// A record that lacks all that one can lack.
fn bare() -> HistoryRow {
    HistoryRow {
        id: StableId([0xcd; 16]),
        employee_id: None,
        priority: None,
        timestamp: None,
        reason: Some(Reason::NotAnObject),
        ..row("[\n7]")
    }
}

const ID: &str = "abababababababababababababababab";
const BARE_ID: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
const ROW: &str = r#"{"id":"abababababababababababababababab","type":"denial","employee_id":"1234","priority":"low","timestamp":1629939474.134612,"first_seen":1629939500.5,"incident":{"type":"denial","title":"T\n\"é","n":1.0}}"#;
const BARE_ROW: &str = r#"{"id":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","type":"denial","employee_id":null,"priority":null,"timestamp":null,"first_seen":1629939500.5,"reason":"not_an_object","incident":[7]}"#;

/// What is sent of a whole record and a bare one.
fn sent(forward: &Forward, public_url: Option<&str>) -> (String, String) {
    let rows = [row("{\"title\":\"T\\n\\\"é\",\r\n\"n\":1.0}"), bare()];
    let public_url = public_url.map(|url| Url::parse(url).unwrap());
    let encoder = Encoder::new(forward, public_url.as_ref());
    let sent_at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
    let batch = encoder.encode(&rows, sent_at);
    assert_eq!(batch.records, 2);
    let content_type = encoder.content_type().to_str().unwrap().to_owned();
    (content_type, String::from_utf8(batch.body.to_vec()).unwrap())
}

#[test]
fn ndjson_has_a_row_a_line_with_tags_last() {
    let (content_type, body) = sent(&forward(ForwardFormat::Ndjson, &[]), None);
    assert_eq!(content_type, "application/x-ndjson");
    assert_eq!(body, format!("{ROW}\n{BARE_ROW}\n"));
    let tags = [("environment", "production"), ("b_2", "\"")];
    let (_, body) = sent(&forward(ForwardFormat::Ndjson, &tags), None);
    let tags = r#","tags":{"environment":"production","b_2":"\""}}"#;
    let expected = [ROW, BARE_ROW].map(|row| format!("{}{tags}\n", &row[..row.len() - 1]));
    assert_eq!(body, expected.concat());
}

#[test]
fn cloudevents_have_the_required_attributes_and_those_that_are_known() {
    let forward = forward(ForwardFormat::CloudEvents, &[("environment", "production")]);
    let (content_type, body) = sent(&forward, None);
    assert_eq!(content_type, "application/cloudevents-batch+json");
    assert_eq!(
        body,
        format!(
            r#"[{{"specversion":"1.0","id":"{ID}","source":"/incident-gateway/denial","type":"incident-gateway.incident","time":"2021-08-26T00:57:54.134612Z","subject":"1234","datacontenttype":"application/json","environment":"production","data":{ROW}}},{{"specversion":"1.0","id":"{BARE_ID}","source":"/incident-gateway/denial","type":"incident-gateway.incident","datacontenttype":"application/json","environment":"production","data":{BARE_ROW}}}]"#
        )
    );
}

#[test]
fn cloudevents_have_no_attribute_that_is_none() {
    let encoder = Encoder::new(&forward(ForwardFormat::CloudEvents, &[]), None);
    let hostile = HistoryRow {
        source: "a b/\"ü".to_owned(),
        employee_id: Some("a\nb".to_owned()),
        timestamp: Some(1e300),
        ..row("{}")
    };
    let body = encoder.encode(&[hostile], UNIX_EPOCH).body;
    let events: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(events[0]["source"], "/incident-gateway/a%20b%2F%22%C3%BC");
    assert_eq!((events[0].get("subject"), events[0].get("time")), (None, None));
    assert_eq!(events[0]["data"]["employee_id"], "a\nb");
}

#[test]
fn splunk_gets_events_one_after_another_with_their_metadata() {
    let (content_type, body) = sent(&forward(ForwardFormat::SplunkHec, &[("env", "p")]), None);
    assert_eq!(content_type, "application/json");
    assert_eq!(
        body,
        format!(
            r#"{{"time":1629939474.134612,"source":"incident-gateway","sourcetype":"incident-gateway:denial","event":{ROW},"fields":{{"env":"p"}}}}{{"source":"incident-gateway","sourcetype":"incident-gateway:denial","event":{BARE_ROW},"fields":{{"env":"p"}}}}"#
        )
    );
    let (_, body) = sent(&forward(ForwardFormat::SplunkHec, &[]), None);
    assert!(body.ends_with(&format!("\"event\":{BARE_ROW}}}")), "{body}");
}

#[test]
fn elasticsearch_creates_a_document_with_a_timestamp() {
    let forward = forward(ForwardFormat::Elasticsearch, &[("env", "p")]);
    let (content_type, body) = sent(&forward, None);
    assert_eq!(content_type, "application/x-ndjson");
    let (row, bare) = (&ROW[..ROW.len() - 1], &BARE_ROW[..BARE_ROW.len() - 1]);
    assert_eq!(
        body,
        format!(
            r#"{{"create":{{"_id":"{ID}"}}}}
{row},"@timestamp":"2021-08-26T00:57:54.134612Z","tags":{{"env":"p"}}}}
{{"create":{{"_id":"{BARE_ID}"}}}}
{bare},"@timestamp":"2021-08-26T00:58:20.500000Z","tags":{{"env":"p"}}}}
"#
        )
    );
}

#[test]
fn alertmanager_gets_an_alert_with_labels_annotations_and_times() {
    let forward = forward(ALERTS, &[("environment", "production"), ("empty", "")]);
    let (content_type, body) = sent(&forward, Some("https://gateway.test/base/"));
    assert_eq!(content_type, "application/json");
    assert_eq!(
        body,
        format!(
            r#"[{{"labels":{{"alertname":"incident","type":"denial","priority":"low","employee_id":"1234","id":"{ID}","environment":"production"}},"annotations":{{"title":"T\n\"é","incident":"{{\"type\":\"denial\",\"title\":\"T\\n\\\"é\",\"n\":1.0}}"}},"startsAt":"2021-08-26T00:57:54.134612Z","endsAt":"2023-11-14T23:13:20.000001Z","generatorURL":"https://gateway.test/base/employees/1234"}},{{"labels":{{"alertname":"incident","type":"denial","id":"{BARE_ID}","environment":"production"}},"annotations":{{"incident":"[7]"}},"endsAt":"2023-11-14T23:13:20.000001Z"}}]"#
        )
    );
}

#[test]
fn alerts_begin_before_they_end_and_within_the_years_that_alertmanager_takes() {
    let encoder = Encoder::new(&forward(ALERTS, &[]), None);
    let starts_at = |timestamp: f64| {
        let row = HistoryRow { timestamp: Some(timestamp), ..row("{}") };
        let body = encoder.encode(&[row], UNIX_EPOCH + Duration::from_hours(1)).body;
        let alerts: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(alerts[0]["endsAt"], "1970-01-01T02:00:00.000000Z");
        alerts[0].get("startsAt").cloned()
    };
    assert_eq!(starts_at(7199.5), Some("1970-01-01T01:59:59.500000Z".into()));
    assert_eq!(starts_at(-62_135_596_800.0), Some("0001-01-01T00:00:00.000000Z".into()));
    for none in [7200.0, 1e12, -62_135_596_801.0, f64::NAN] {
        assert_eq!(starts_at(none), None, "{none}");
    }
}

#[test]
fn alerts_link_to_the_employees_page() {
    let public_url = Url::parse("https://gateway.test").unwrap();
    let encoder = Encoder::new(&forward(ALERTS, &[]), Some(&public_url));
    for (employee, expected) in [
        ("é 1?", "employees/%C3%A9%201%3F"),
        ("a/b", "employees/?employee_id=a%2Fb"),
        ("..", "employees/?employee_id=.."),
    ] {
        let row = HistoryRow { employee_id: Some(employee.to_owned()), ..row("{}") };
        let body = encoder.encode(&[row], UNIX_EPOCH).body;
        let alerts: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(alerts[0]["generatorURL"], format!("https://gateway.test/{expected}"));
    }
}

#[test]
fn a_title_is_a_top_level_member_that_is_text() {
    let encoder = Encoder::new(&forward(ALERTS, &[]), None);
    for (bytes, expected) in [
        (r#"{"a":1,"ti\u0074le" : "x\u00e9"}"#, Some("xé")),
        (r#"{"title":"a","title":"b"}"#, Some("b")),
        (r#"{"title":""}"#, None),
        (r#"{"title":7}"#, None),
        (r#"{"title":"\ud800"}"#, None),
        (r#"{"record":{"title":"x"}}"#, None),
        (r#"["title"]"#, None),
        (r#"{"title":"x""#, None),
    ] {
        let body = encoder.encode(&[row(bytes)], UNIX_EPOCH).body;
        let alerts: Value = serde_json::from_slice(&body).unwrap();
        let title = alerts[0]["annotations"].get("title").map(|title| title.as_str().unwrap());
        assert_eq!(title, expected, "{bytes}");
    }
}

#[test]
fn batches_are_as_large_as_the_limits_allow() {
    let rows = vec![row("{}"); 5];
    for format in FORMATS {
        let mut forward = forward(format, &[]);
        let mut batch = |max_records, max_bytes| {
            forward.batch = config::Batch { max_records, max_bytes, ..config::Batch::default() };
            Encoder::new(&forward, None).encode(&rows, UNIX_EPOCH)
        };
        let two = batch(2, 1 << 20);
        assert_eq!(two.records, 2, "{format:?}");
        let size = two.body.len();
        assert_eq!((batch(5, size).records, batch(5, size - 1).records), (2, 1), "{format:?}");
        assert_eq!(batch(5, size).body, two.body, "{format:?}");
        assert_eq!(batch(5, 1).records, 1, "{format:?}");
        assert_eq!(batch(500, 1 << 20).records, 5, "{format:?}");
    }
}
