//! Paths, time formats and mappings on a document. The first line of the input is the path to the
//! list, the second that to each value, the third a format of times; the rest is the document.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config::Source;
use incident_gateway::decode::{IncidentsDecoder, SourceMapping};
use incident_gateway::json::Path;
use incident_gateway::mapping::{
    IdentityEntry, IdentityKind, PriorityMapping, PriorityRule, TimeUnit, TimestampMapping,
    TimestampRule,
};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    record: &'a RawValue,
    id: Option<String>,
    timestamp: Option<f64>,
}

fuzz_target!(|input: &str| {
    let mut parts = input.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (list, value, format, body) = (part(), part(), part(), part());
    let (Ok(list), Ok(value)) = (Path::parse(list), Path::parse(value)) else { return };
    let rule = TimestampRule::new(TimeUnit::Milliseconds, Some("Europe/Oslo"), Some(format))
        .unwrap_or_default();
    let source = mapped_source(list.clone(), value.clone(), rule);
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source)));
    let is_accepted = decoder.add_page(Bytes::copy_from_slice(body.as_bytes())).is_ok();
    let unmarked = body.strip_prefix('\u{feff}').unwrap_or(body);
    let is_json = serde_json::from_str::<IgnoredAny>(unmarked).is_ok();
    assert!(is_json || !is_accepted, "what is taken is JSON");
    if !is_accepted {
        return;
    }
    // Only documents that the decoder takes are of bounded depth.
    for path in [&list, &value] {
        assert_eq!(path.dead_end(unmarked).is_none(), !path.find(unmarked).is_empty());
    }
    let incidents = decoder.finish();
    for record in incidents.records() {
        let envelope: Envelope<'_> =
            serde_json::from_slice(incidents.bytes(record)).unwrap_or_else(|_| Envelope {
                // A lone surrogate is no text for `serde_json`, but comes through.
                record: serde_json::from_slice::<&RawValue>(incidents.bytes(record))
                    .expect("each envelope is JSON"),
                id: None,
                timestamp: None,
            });
        assert!(unmarked.contains(envelope.record.get()) || envelope.id.is_none());
        assert!(envelope.timestamp.is_none_or(|time| (946_684_800.0..7_258_118_400.0).contains(&time)));
    }
});

fn mapped_source(list: Path, value: Path, rule: TimestampRule) -> Source {
    let priority = PriorityRule::at_least(vec![(0.0, incident_gateway::decode::Priority::High)])
        .and_then(|rule| PriorityMapping::new(vec![value.clone()], rule, None))
        .expect("it ascends");
    let entry = |kind| IdentityEntry { at: vec![value.clone(), Path::name("id")], kind: Some(kind) };
    Source {
        records: Some(list),
        id: vec![value.clone(), Path::name("id")],
        priority: Some(priority),
        timestamp: Some(TimestampMapping { at: vec![value.clone()], rule }),
        identity: IdentityKind::ALL.map(entry).into(),
        title: vec![value.clone()],
        ..Source::plain("fuzz", "/", &[])
    }
}
