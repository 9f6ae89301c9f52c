//! What a mapping makes of documents.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::config::{self, Incremental, Origin};
use crate::json::Path;
use crate::mapping::{
    IdentityEntry, IdentityKind, Paths, PriorityMapping, PriorityRule, TimeUnit, TimestampMapping,
    TimestampRule,
};
use crate::request::{NextPage, Target};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn paths(texts: &[&str]) -> Paths {
    texts.iter().map(|text| path(text)).collect()
}

fn entry(at: &str, kind: IdentityKind) -> IdentityEntry {
    IdentityEntry { at: path(at), kind: Some(kind) }
}

/// A source whose records have an id at `id`.
fn source() -> config::Source {
    config::Source {
        records: Some(path("/data")),
        id: paths(&["/id"]),
        identity: vec![entry("/who", IdentityKind::Email), entry("/ip", IdentityKind::Ip)],
        ..config::Source::plain("mapped", "/", &[])
    }
}

fn http(source: &mut config::Source) -> &mut config::HttpOrigin {
    match &mut source.origin {
        Origin::Http(http) => http,
        Origin::File(_) => panic!("a file"),
    }
}

fn decode_pages(source: &config::Source, pages: &[&str]) -> Result<Incidents, DecodeError> {
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
    for page in pages {
        decoder.add_page(Bytes::from((*page).to_owned()))?;
    }
    Ok(decoder.finish())
}

fn decode(source: &config::Source, page: &str) -> Incidents {
    decode_pages(source, &[page]).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn page_end(source: &config::Source, page: &str) -> Result<PageEnd, DecodeError> {
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
    decoder.add_page(Bytes::from(page.to_owned()))
}

/// The envelopes of all records.
fn envelopes(incidents: &Incidents) -> Vec<&str> {
    let bytes = incidents.records().iter().map(|record| incidents.bytes(record));
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
}

/// The envelope of the only record.
fn envelope(source: &config::Source, record: &str) -> String {
    let incidents = decode(source, &format!("{{\"data\":[{record}]}}"));
    envelopes(&incidents)[0].to_owned()
}

/// The keys of a record; `None` if it has no identity.
fn keys(incidents: &Incidents, record: usize) -> Option<Vec<IdentityKey>> {
    let Some(IdentityValue::Keys(list)) = incidents.records()[record].identity() else {
        return None;
    };
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
    assert!(!record.has_type() && !record.has_employee_id() && record.is_object());
    assert_eq!(keys(&incidents, 0), Some(vec![IdentityKey::Email("ada@example.org".into())]));
    assert_eq!(incidents.body().len(), record.span().length as usize);
}
