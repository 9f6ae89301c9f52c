//! Whatever a database has, documents are whole and have each record once, in order.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::render;

/// Records of a database that may have been damaged, with their ids from 0 on.
fn rows() -> impl Strategy<Value = Vec<HistoryRow>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[\\PC\\s]{0,40}".prop_map(String::into_bytes),
        r#"[\[\]{}",:0-9a\\ \n\r]{0,12}"#.prop_map(String::into_bytes),
        ("\\PC{0,20}", "[ \n\r\t]{0,3}", any::<f64>()).prop_map(|(text, space, number)| {
            let text = Value::from(text);
            let number = Value::from(number);
            let record = format!(
                "{{{space}\"title\"{space}:{text},{space}\"type\":{number},\"a\":[{text}]{space}}}"
            );
            record.into_bytes()
        }),
    ];
    let text = || prop_oneof!["[a-z]{1,8}", "\\PC{0,8}", any::<String>()];
    let time = || {
        prop_oneof![any::<f64>(), (0.0..2e9), Just(f64::NAN), Just(f64::INFINITY), (-1e12..1e12)]
    };
    let priority = prop::sample::select(vec![
        None,
        Some(Priority::Low),
        Some(Priority::Medium),
        Some(Priority::High),
        Some(Priority::Critical),
    ]);
    let reason = prop::sample::select(vec![None, Some(Reason::NotAnObject)]);
    let members =
        (text(), prop::option::of(text()), priority, prop::option::of(time()), time(), reason);
    let row = (bytes, members).prop_map(|(bytes, members)| {
        let (source, employee_id, priority, timestamp, first_seen, reason) = members;
        HistoryRow {
            source,
            employee_id,
            priority,
            timestamp,
            reason,
            first_seen,
            bytes,
            ..row("")
        }
    });
    prop::collection::vec(row, 1..12).prop_map(|mut rows| {
        for (index, row) in rows.iter_mut().enumerate() {
            row.id = StableId([u8::try_from(index).unwrap(); 16]);
        }
        rows
    })
}

/// The rows as `/history` has them, without `last_seen` and `current`.
fn history(rows: &[HistoryRow]) -> Vec<String> {
    let text = String::from_utf8(render::history(render::Format::Ndjson, rows)).unwrap();
    let without = |line: &str| line.replacen(",\"last_seen\":1629939600.0,\"current\":true", "", 1);
    text.split_terminator('\n').map(without).collect()
}

#[derive(serde::Deserialize)]
struct Enveloped<'a> {
    #[serde(borrow, alias = "event")]
    data: &'a RawValue,
}

/// The rows in a body.
fn sent_rows(format: ForwardFormat, body: &str) -> Vec<String> {
    match format {
        ForwardFormat::Ndjson => body
            .split_terminator('\n')
            .map(|line| line.replacen(",\"tags\":{\"env\":\"p\"}", "", 1))
            .collect(),
        ForwardFormat::CloudEvents => {
            let events: Vec<Enveloped<'_>> = serde_json::from_str(body).unwrap();
            events.iter().map(|event| event.data.get().to_owned()).collect()
        }
        ForwardFormat::SplunkHec => serde_json::Deserializer::from_str(body)
            .into_iter::<Enveloped<'_>>()
            .map(|event| event.unwrap().data.get().to_owned())
            .collect(),
        ForwardFormat::Elasticsearch => {
            let lines: Vec<&str> = body.split_terminator('\n').collect();
            let without_time = |document: &str| {
                let end = document.rfind(",\"@timestamp\":\"");
                let end = end.or_else(|| document.rfind(",\"tags\":{\"env\":\"p\"}}"));
                format!("{}}}", &document[..end.unwrap()])
            };
            lines
                .chunks(2)
                .map(|pair| {
                    let row = without_time(pair[1]);
                    assert!(row[7..].starts_with(&pair[0][18..51]), "{pair:?}");
                    row
                })
                .collect()
        }
        ForwardFormat::Alertmanager { .. } => {
            let alerts: Vec<Value> = serde_json::from_str(body).unwrap();
            let id = |alert: &Value| alert["labels"]["id"].as_str().unwrap().to_owned();
            alerts.iter().map(id).collect()
        }
    }
}

proptest! {
    #[test]
    fn documents_are_whole_and_have_each_row_once_in_order(
        rows in rows(),
        max_records in 1_usize..15,
        max_bytes in 1_usize..6000,
    ) {
        let history = history(&rows);
        prop_assert_eq!(history.len(), rows.len());
        for format in FORMATS {
            let mut forward = forward(format, &[("env", "p")]);
            forward.batch = config::Batch { max_records, max_bytes, ..config::Batch::default() };
            let url = Url::parse("http://gateway.test/").unwrap();
            let encoder = Encoder::new(&forward, Some(&url));
            let mut sent = Vec::new();
            while sent.len() < rows.len() {
                let batch = encoder.encode(&rows[sent.len()..], UNIX_EPOCH);
                prop_assert!((1..=max_records).contains(&batch.records));
                prop_assert!(batch.body.len() <= max_bytes || batch.records == 1);
                let body = str::from_utf8(&batch.body).unwrap();
                let rows = sent_rows(format, body);
                prop_assert_eq!(rows.len(), batch.records);
                sent.extend(rows);
            }
            if let ForwardFormat::Alertmanager { .. } = format {
                let ids = rows.iter().map(|row| row.id.to_string());
                prop_assert_eq!(sent, ids.collect::<Vec<_>>());
            } else {
                prop_assert_eq!(&sent, &history);
            }
            for row in &history {
                let row: Value = serde_json::from_str(row).unwrap();
                prop_assert!(row.is_object());
            }
        }
    }
}
