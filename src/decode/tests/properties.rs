//! Mapped records against an independent implementation on built values; pages and merges against
//! one page.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::*;
use super::mapped::{decode_pages, envelopes, keys, paths, source};
use super::reference::{Element, LONE_SURROGATE, Reference};
use crate::config::{self, Incremental};
use crate::mapping::{
    IdentityEntry, IdentityKind, PriorityMapping, PriorityRule, TimeUnit, TimestampMapping,
    TimestampRule,
};

/// Texts of the members of which records are made.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "\"\"",
        "[]",
        "true",
        "0",
        "1",
        "7",
        "\"7\"",
        "\"HIGH\"",
        "\"low\"",
        "\"odd\"",
        "1772449200",
        "1772449200230",
        "\"1772449200.25\"",
        "\"2026-03-02T11:00:00.1239999Z\"",
        "\"2026-03-02 11:00:00\"",
        "-5",
        "1e400",
        "\"a@x\"",
        "\"A@X \"",
        "\"10.0.0.1:80\"",
        "\"unknown\"",
        "\"\\u0061\"",
        "\"\\ud800\"",
        "\"é/\\\"\"",
        "{ }",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(("a|b", inner), 0..3).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(","))
}

pub(super) fn record() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "id",
        "part",
        "severity",
        "priority",
        "at",
        "timestamp",
        "who",
        "ip",
        "title",
        "a",
        "\\u0061t",
    ]);
    let members = prop::collection::vec((name.prop_map(str::to_owned), value()), 0..9);
    prop_oneof![12 => members.prop_map(|members| object(&members)), 1 => value()]
}

pub(super) fn mapped_source() -> impl Strategy<Value = config::Source> {
    let one_of = |texts: Vec<Vec<&'static str>>| prop::sample::select(texts);
    let ids = one_of(vec![vec![], vec!["/id"], vec!["/id", "$.part[*]"], vec!["/a/b"]]);
    let priority = (
        one_of(vec![vec!["severity"], vec!["/a/a", "/severity", "priority"], vec!["$"]]),
        prop::option::of(prop::sample::select(Priority::ALL.to_vec())),
        0..3_usize,
    );
    let timestamp = (
        one_of(vec![vec!["at"], vec!["$.a[-1]", "/at", "timestamp"]]),
        prop::sample::select(TimeUnit::ALL.to_vec()),
        prop::sample::select(vec![None, Some("Z"), Some("+01:00")]),
    );
    let identity = prop::collection::vec(
        (
            one_of(vec![
                vec!["/who"],
                vec!["ip"],
                vec!["$.a.*"],
                vec!["$.who[*].a"],
                vec!["/who", "ip"],
                vec!["$.who[*].a", "/ip", "who"],
            ]),
            prop::sample::select(IdentityKind::ALL.to_vec()),
        ),
        1..4,
    );
    let title = one_of(vec![vec![], vec!["title"], vec!["/title/a", "/a"]]);
    (ids, prop::option::of(priority), prop::option::of(timestamp), identity, title).prop_map(
        |(ids, priority, timestamp, identity, title)| config::Source {
            id: paths(&ids),
            priority: priority.map(|(at, default, rule)| {
                PriorityMapping::new(paths(&at), priority_rule(rule), default).unwrap()
            }),
            timestamp: timestamp.map(|(at, unit, zone)| TimestampMapping {
                at: paths(&at),
                rule: TimestampRule::new(unit, zone, None).unwrap(),
            }),
            identity: identity
                .into_iter()
                .map(|(at, kind)| IdentityEntry { at: paths(&at), kind: Some(kind) })
                .collect(),
            title: paths(&title),
            incremental: Some(Incremental {
                overlap: std::time::Duration::ZERO,
                full_every: std::time::Duration::ZERO,
            }),
            ..source()
        },
    )
}

fn priority_rule(rule: usize) -> PriorityRule {
    match rule {
        0 => PriorityRule::names(),
        1 => PriorityRule::values(vec![
            ("7".to_owned(), Priority::Critical),
            ("High".to_owned(), Priority::Medium),
            ("TRUE".to_owned(), Priority::Low),
        ])
        .unwrap(),
        _ => PriorityRule::at_least(vec![(1.0, Priority::Medium), (5.5, Priority::High)]).unwrap(),
    }
}

pub(super) fn page(records: &[String]) -> String {
    format!("{{\"data\":[{}]}}", records.join(" , "))
}

/// Everything that two decoded batches can differ in, except for positions.
pub(super) fn content(incidents: &Incidents) -> Vec<String> {
    let record = |record: &Record| {
        format!(
            "{} {:?} {:?} {} {:?} {:?}",
            std::str::from_utf8(incidents.bytes(record)).unwrap(),
            keys(incidents, record),
            record.priority(),
            record.timestamp(),
            record.identity_fault(),
            record.value_fault(),
        )
    };
    let records = incidents.records().iter().map(record);
    records.chain([format!("{:?} {:?}", incidents.unmapped(), incidents.timestamps())]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn records_yield_what_the_reference_says(
        source in mapped_source(),
        records in prop::collection::vec(record(), 0..6),
    ) {
        let incidents = decode_pages(&source, &[&page(&records)]).unwrap();
        let references: Vec<Reference<'_>> = records
            .iter()
            .map(|raw| Reference {
                source: &source,
                raw,
                record: if raw.starts_with('{') { Json::Object(serde_json::Map::new()) } else { Json::Null },
            })
            .collect();
        // The last record with each id stays.
        let is_last = |index: usize| {
            let id = |index: usize| {
                let reference: &Reference<'_> = &references[index];
                let id = reference.record.is_object().then(|| reference.id()).flatten()?;
                let text = |(value, raw): Element| match value {
                    Json::String(text) if text != LONE_SURROGATE => text,
                    _ => raw,
                };
                Some(id.into_iter().map(text).collect::<Vec<_>>())
            };
            id(index).is_none_or(|own| {
                (index + 1..references.len()).all(|later| id(later).as_ref() != Some(&own))
            })
        };
        let kept: Vec<usize> = (0..references.len()).filter(|index| is_last(*index)).collect();
        prop_assert_eq!(incidents.duplicates(), references.len() - kept.len());
        let expected: Vec<String> = kept.iter().map(|index| references[*index].envelope()).collect();
        prop_assert_eq!(envelopes(&incidents), expected);
        let mut unmapped: Vec<(String, usize)> = Vec::new();
        for (record, index) in incidents.records().iter().zip(&kept) {
            let reference = &references[*index];
            if !reference.record.is_object() {
                prop_assert_eq!(record.identity_fault(), Some(RecordFault::NotAnObject));
                continue;
            }
            let (priority, value) = reference.priority();
            prop_assert_eq!(record.priority(), priority);
            prop_assert_eq!(keys(&incidents, record), reference.keys());
            let seconds = reference.micros().map(|micros| micros as f64 / 1e6);
            prop_assert_eq!((!record.timestamp().is_nan()).then(|| record.timestamp()), seconds);
            if let Some(value) = value {
                let value = if value == LONE_SURROGATE { "\"\\ud800\"".to_owned() } else { value };
                let value = value[..value.floor_char_boundary(64)].to_owned();
                match unmapped.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, count)) => *count += 1,
                    None => unmapped.push((value, 1)),
                }
            }
        }
        unmapped.sort();
        let mut found = incidents.unmapped().to_vec();
        found.sort();
        prop_assert_eq!(found, unmapped);
    }

    #[test]
    fn pages_and_lines_give_what_one_page_gives(
        source in mapped_source(),
        records in prop::collection::vec(record(), 0..8),
        sizes in prop::collection::vec(0..4_usize, 0..8),
    ) {
        let one = decode_pages(&source, &[&page(&records)]).unwrap();
        let mut rest = &records[..];
        let mut pages = Vec::new();
        for size in sizes {
            let (first, others) = rest.split_at(size.min(rest.len()));
            pages.push(page(first));
            rest = others;
        }
        pages.push(page(rest));
        let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
        let several = decode_pages(&source, &pages).unwrap();
        prop_assert_eq!(content(&several), content(&one));
        prop_assert_eq!(several.duplicates(), one.duplicates());
        let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source)));
        for record in &records {
            decoder.add_lines(format!("{record}\n").as_bytes()).unwrap();
        }
        prop_assert_eq!(content(&decoder.finish()), content(&one));
    }

    #[test]
    fn plain_pages_give_what_one_page_gives(
        records in prop::collection::vec(record(), 0..8),
        cut in 0..8_usize,
    ) {
        let plain = config::Source::plain("plain", "/", &["who", "ip"]);
        let page = |records: &[String]| format!("{{\"results\":[{}]}}", records.join(","));
        let (first, second) = records.split_at(cut.min(records.len()));
        let one = decode_pages(&plain, &[&page(&records)]).unwrap();
        let two = decode_pages(&plain, &[&page(first), &page(second)]).unwrap();
        let identities = |incidents: &Incidents| {
            let values: Vec<_> = incidents.other_identities().map(|value| value.map(std::borrow::Cow::into_owned)).collect();
            let records = incidents.records().iter().map(Record::identity);
            (values, records.collect::<Vec<_>>())
        };
        prop_assert_eq!(identities(&two), identities(&one));
        prop_assert_eq!(envelopes(&two), envelopes(&one));
        prop_assert_eq!(two.unmapped(), one.unmapped());
    }

    #[test]
    fn a_merge_gives_what_all_records_together_give(
        source in mapped_source().prop_filter("has an id", |source| !source.id.is_empty()),
        batches in prop::collection::vec(prop::collection::vec(record(), 0..6), 1..4),
    ) {
        let mut merged = decode_pages(&source, &[&page(&batches[0])]).unwrap();
        for batch in &batches[1..] {
            let newer = decode_pages(&source, &[&page(batch)]).unwrap();
            merged = Incidents::merged(&merged, newer, i64::MIN).unwrap();
        }
        let union = decode_pages(&source, &[&page(&batches.concat())]).unwrap();
        // Without an id, a merge drops what comes again unchanged, and one page keeps all copies.
        let records_with_id = |incidents: &Incidents| {
            let has_id = |record: &String| {
                record.split("\"record\":").next().is_some_and(|head| head.contains("\"id\":\""))
            };
            content(incidents).into_iter().filter(has_id).collect::<Vec<_>>()
        };
        prop_assert_eq!(records_with_id(&merged), records_with_id(&union));
    }

    #[test]
    fn any_bytes_are_read_by_any_mapping_without_a_panic(
        source in mapped_source(),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        text in "[\\[\\]{}\":,a-c0-9 \\\\u\n]{0,60}",
    ) {
        for page in [bytes, text.clone().into_bytes(), format!("{{\"data\":[{text}]}}").into_bytes()] {
            let mapping = Arc::new(SourceMapping::new(&source));
            let _ = IncidentsDecoder::new(Arc::clone(&mapping)).add_page(Bytes::from(page.clone()));
            let _ = IncidentsDecoder::new(mapping).add_lines(&page);
        }
    }
}
