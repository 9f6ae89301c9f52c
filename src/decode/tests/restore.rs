//! Records that are decoded again from their own bytes, compared with what they were.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use super::mapped::{decode_pages, envelopes, source};
use super::properties::{content, mapped_source, page, record};
use crate::config;
use crate::join::join;
use crate::render::{self, Filter};
use crate::snapshot::View;

fn restored(source: &config::Source, records: &[&[u8]]) -> Result<Incidents, DecodeError> {
    let mapping = Arc::new(SourceMapping::new(source));
    Incidents::restored(&mapping, records.iter().copied(), true, 7)
}

fn again(source: &config::Source, incidents: &Incidents) -> Incidents {
    let records = incidents.records().iter().map(|record| incidents.bytes(record));
    restored(source, &records.collect::<Vec<_>>()).unwrap()
}

/// The document of the incidents, and the unattributed records with their reasons.
fn joined(incidents: Incidents) -> (String, Vec<String>) {
    let batches: Box<[_]> = [Some(Arc::new(incidents))].into();
    let index = join(&[], &batches);
    let view = View::new(1, [Arc::from("source")].into(), batches, index);
    let unattributed = view.index().unattributed().iter().map(|item| {
        let bytes = view.unattributed(item).1;
        format!("{} {}", item.reason.as_str(), String::from_utf8_lossy(bytes))
    });
    let unattributed = unattributed.collect();
    (String::from_utf8(render::incidents(&view, &Filter::default())).unwrap(), unattributed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn mapped_records_that_are_restored_are_what_they_were(
        source in mapped_source(),
        batches in prop::collection::vec(prop::collection::vec(record(), 0..6), 1..3),
    ) {
        let mut incidents = decode_pages(&source, &[&page(&batches[0])]).unwrap();
        for newer in &batches[1..] {
            let newer = decode_pages(&source, &[&page(newer)]).unwrap();
            incidents = Incidents::merged(&incidents, newer, i64::MIN).unwrap();
        }
        let restored = again(&source, &incidents);
        prop_assert_eq!(content(&restored), content(&incidents));
        prop_assert_eq!((restored.is_truncated(), restored.duplicates()), (true, 7));
        prop_assert_eq!(joined(restored), joined(incidents));
    }

    #[test]
    fn plain_records_that_are_restored_are_what_they_were(
        pages in prop::collection::vec(prop::collection::vec(record(), 0..6), 1..3),
    ) {
        let plain = config::Source::plain("plain", "/", &["who", "ip"]);
        let page = |records: &Vec<String>| format!("{{\"results\": [ {} ]}}", records.join(" ,\n"));
        let pages: Vec<String> = pages.iter().map(page).collect();
        let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
        let incidents = decode_pages(&plain, &pages).unwrap();
        let restored = again(&plain, &incidents);
        prop_assert_eq!(envelopes(&restored), envelopes(&incidents));
        prop_assert_eq!(restored.unmapped(), incidents.unmapped());
        prop_assert_eq!(joined(restored), joined(incidents));
    }

    #[test]
    fn bytes_that_are_no_records_are_refused_without_a_panic(
        source in mapped_source(),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        text in "[\\[\\]{}\":,a-c0-9 \\\\u\n]{0,40}",
    ) {
        let plain = config::Source::plain("plain", "/", &["who"]);
        let envelope = format!("{{\"priority\":\"low\",\"record\":{text}}}");
        for record in [&bytes[..], text.as_bytes(), envelope.as_bytes()] {
            for source in [&source, &plain] {
                if let Ok(incidents) = restored(source, &[record]) {
                    prop_assert_eq!(incidents.records().len(), 1);
                }
            }
        }
    }
}

#[test]
fn each_of_the_bytes_must_be_one_record() {
    let plain = config::Source::plain("plain", "/", &["who"]);
    assert_eq!(restored(&plain, &[b"{}", b" [1] "]).unwrap().records().len(), 2);
    assert!(restored(&plain, &[]).unwrap().records().is_empty());
    for bytes in ["", "1,2", "]}", "{", "\u{0}", "1],\"results\":[2"] {
        assert!(restored(&plain, &[b"{}", bytes.as_bytes()]).is_err(), "{bytes}");
    }
    let source = source();
    assert_eq!(restored(&source, &[br#"{"record":{"id":1}}"#]).unwrap().records().len(), 1);
    for bytes in ["", "{}", "[]", r#"{"record":1,2}"#, r#"{"record":}"#, r#"{"record":1}}"#] {
        assert!(restored(&source, &[bytes.as_bytes()]).is_err(), "{bytes}");
    }
    let invalid = b"{\"record\":\"\xff\"}";
    assert!(restored(&source, &[invalid]).is_err());
    let deep = format!("{{\"record\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert!(restored(&source, &[deep.as_bytes()]).is_err());
}

/// A record as deep as its list allows is not deeper by itself.
#[test]
fn the_deepest_record_can_be_restored() {
    let (plain, mapped) = (config::Source::plain("plain", "/", &["who"]), source());
    for (source, list) in [(&plain, "results"), (&mapped, "data")] {
        let nested = MAX_DEPTH - 2;
        let record = format!("{}1{}", "[".repeat(nested), "]".repeat(nested));
        let page = format!("{{\"{list}\":[{record}]}}");
        let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
        decoder.add_page(Bytes::from(page)).unwrap();
        let incidents = decoder.finish();
        assert_eq!(envelopes(&again(source, &incidents)), envelopes(&incidents));
    }
}
