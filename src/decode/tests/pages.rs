//! Pages, lines and what stands around the list.

use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use super::mapped::{decode_pages, envelopes, path, paths, source};
use crate::config::{self, HttpOrigin, Incremental, Origin};
use crate::json::JsonError;
use crate::request::{NextPage, Target};

fn http(source: &mut config::Source) -> &mut HttpOrigin {
    match &mut source.origin {
        Origin::Http(http) => http,
        Origin::File(_) => panic!("a file"),
    }
}

fn with_next(mut source: config::Source, next: NextPage) -> config::Source {
    http(&mut source).next = Some(next);
    source
}

fn with_fail_if(mut source: config::Source, fail_if: &[&str]) -> config::Source {
    http(&mut source).fail_if = paths(fail_if);
    source
}

fn with_list(list: &str) -> config::Source {
    config::Source { records: Some(path(list)), ..source() }
}

fn plain() -> config::Source {
    config::Source::plain("plain", "/", &["who"])
}

fn page_end(source: &config::Source, page: &str) -> Result<PageEnd, DecodeError> {
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
    decoder.add_page(Bytes::from(page.to_owned()))
}

fn refused(source: &config::Source, page: &str) -> DecodeError {
    page_end(source, page).expect_err(page)
}

#[test]
fn the_list_is_where_its_path_leads() {
    for (list, page, records) in [
        ("", " [ {\"id\":1} , 2 ] ", 2),
        ("$", "[]", 0),
        ("/data", r#"{"a":[1],"data":[]}"#, 0),
        ("data", r#"{"d\u0061ta":[1,2,3]}"#, 3),
        ("/a/b.c", r#"{"a":{"x":[1],"b.c":[1]},"b.c":[1,2]}"#, 1),
        (
            "$.groups[*].alerts",
            r#"{"groups":[{"alerts":[1,2]},{"x":1,"alerts":[3]},{"alerts":[]}]}"#,
            3,
        ),
        ("$.groups[*].alerts", r#"{"groups":[]}"#, 0),
        ("$.*[*]", r#"{"a":[[1],[2,3]],"b":[]}"#, 3),
        ("$[1]", "[[1,2],[3],[4,5,6]]", 1),
        ("$[-1].x", r#"[{"x":[1]},{"x":[1,2,3,4]}]"#, 4),
        ("/0/data", r#"[{"data":[1]},{"data":7}]"#, 1),
        ("/0", r#"{"0":[1,2]}"#, 2),
    ] {
        let end =
            page_end(&with_list(list), page).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert_eq!(end, PageEnd { records, ..PageEnd::default() }, "{list} {page}");
    }
}

#[test]
fn an_answer_without_a_list_is_not_the_configured_one() {
    for (list, page) in [
        ("/data", r#"{"items":[],"total":0}"#),
        ("/data", "[]"),
        ("/data", "7"),
        ("/data", r#"{"data":{"items":[]}}"#),
        ("/data", r#"{"data":null}"#),
        ("", "{}"),
        ("/a/b", r#"{"a":7}"#),
        ("$.groups[*].alerts", r#"{"groups":[{"alerts":[]},{"alerts":{}}]}"#),
        ("$.groups[*].alerts", r#"{"groups":[{"alerts":[1]},{}]}"#),
        ("$.groups[*].alerts", r#"{"groups":{"alerts":[]}}"#),
        ("$[3]", "[[],[]]"),
        ("$[-3]", "[[],[]]"),
    ] {
        let error = refused(&with_list(list), page);
        assert_eq!(error.to_string(), format!("the answer has no list at `{list}`"), "{page}");
        assert_eq!(error.outcome(), crate::outcome::Outcome::Answer);
    }
    let error = refused(&with_list("$.data[*]"), r#"{"data":[{}]}"#).to_string();
    assert_eq!(
        error,
        "the answer has no list at `$.data[*]`; if the records are the elements, leave out the last `[*]`"
    );
}

#[test]
fn a_second_list_of_the_same_name_is_refused() {
    for page in [r#"{"data":[],"data":[]}"#, r#"{"data":[1],"d\u0061ta":7}"#] {
        let DecodeError::Json(error) = refused(&source(), page) else { panic!("{page}") };
        assert_eq!(error.fault, "a second member of a name on the path to the list");
    }
}

#[test]
fn an_answer_that_says_that_it_failed_has_failed() {
    let source = with_fail_if(source(), &["/errors", "$.data[*].error", "/meta/failed"]);
    for (page, is_failed) in [
        (r#"{"data":[]}"#, false),
        (r#"{"data":[],"errors":null}"#, false),
        (r#"{"data":[],"errors":false}"#, false),
        (r#"{"data":[],"errors":-0.0e5}"#, false),
        (r#"{"data":[],"errors":""}"#, false),
        (r#"{"data":[],"errors":[ ]}"#, false),
        (r#"{"data":[],"errors":{ }}"#, false),
        (r#"{"data":[],"errors":["x"],"errors":[]}"#, false),
        (r#"{"errors":[null],"data":[]}"#, true),
        (r#"{"data":[],"errors":{"a":1}}"#, true),
        (r#"{"data":[],"errors":true}"#, true),
        (r#"{"data":[],"errors":1}"#, true),
        (r#"{"data":[],"errors":" "}"#, true),
        (r#"{"data":[{"error":0},{"error":"x"}]}"#, true),
        (r#"{"data":[{"error":0},{}],"meta":{"failed":3}}"#, true),
        // It says so in place of the list.
        (r#"{"errors":["x"]}"#, true),
        (r#"{"data":null,"errors":["x"]}"#, true),
    ] {
        match page_end(&source, page) {
            Ok(_) => assert!(!is_failed, "{page}"),
            Err(error) => {
                assert!(is_failed, "{page}: {error}");
                assert!(error.to_string().starts_with("the answer has something at `"), "{error}");
                assert_eq!(error.outcome(), crate::outcome::Outcome::Answer);
            }
        }
    }
}

#[test]
fn a_page_says_what_follows() {
    let url = NextPage::Url(path("/@odata.nextLink"));
    let cursor =
        |at: &str| NextPage::Cursor { at: path(at), to: Target::Query("after".to_owned()) };
    let more = |at: &str| NextPage::Offset {
        at: Target::Query("offset".to_owned()),
        size: 2,
        end: None,
        more: Some(path(at)),
    };
    for (next, page, expected) in [
        (url.clone(), r#"{"@odata.nextLink":"/p\u0032","data":[]}"#, Some(r#""/p\u0032""#)),
        (url.clone(), r#"{"data":[],"@odata.nextLink":null}"#, Some("null")),
        (url, r#"{"data":[]}"#, None),
        (
            cursor("$.data[-1].sort"),
            r#"{"data":[{"sort":[1]},{"sort":[2, "x"]}],"a":1}"#,
            Some("[2, \"x\"]"),
        ),
        (cursor("$.data[-2].sort"), r#"{"data":[{"sort":[1]},{"sort":[2]}]}"#, Some("[1]")),
        (cursor("$.data[-3].sort"), r#"{"data":[{"sort":[1]},{"sort":[2]}]}"#, None),
        (cursor("$.data[-1].sort"), r#"{"data":[]}"#, None),
        (cursor("/data/1/id"), r#"{"data":[{"id":1},{"id":2},{"id":3}]}"#, Some("2")),
        (cursor("$.data[*].id"), r#"{"data":[{},{"id":2},{"id":3}]}"#, Some("2")),
        (cursor("$['data'][0]"), r#"{"data":[7,{"id":2}]}"#, Some("7")),
        (cursor("/data"), r#"{"data":[1, 2]}"#, Some("[1, 2]")),
        (cursor("/meta/cursor"), r#"{"meta":{"cursor":1},"data":[],"meta":{}}"#, None),
        (more("/more"), r#"{"data":[],"more":false}"#, Some("false")),
    ] {
        let is_more = matches!(next, NextPage::Offset { .. });
        let end = page_end(&with_next(source(), next), page).unwrap();
        let value = if is_more { end.more } else { end.next };
        assert_eq!(value.as_deref(), expected, "{page}");
    }
    let grouped = config::Source { records: Some(path("$.groups[*].a")), ..source() };
    let grouped = with_next(grouped, cursor("$.groups[-1].a[-1]"));
    let page = r#"{"groups":[{"a":[1]},{"a":[2,3]}]}"#;
    assert_eq!(page_end(&grouped, page).unwrap().next.as_deref(), Some("3"));
}

#[test]
fn a_value_of_next_is_bounded() {
    let source = with_next(source(), NextPage::Url(path("/next")));
    let page = |length: usize| format!("{{\"data\":[],\"next\":\"{}\"}}", "x".repeat(length - 2));
    assert!(page_end(&source, &page(64 << 10)).is_ok());
    let error = refused(&source, &page((64 << 10) + 1));
    assert_eq!(error.to_string(), "the value of `next` is larger than 64 KiB");
}

#[test]
fn pages_of_a_plain_source_are_put_behind_each_other() {
    let source = with_next(plain(), NextPage::Link);
    let pages = [
        "\u{feff} {\"results\":[{\"who\":\"é\",\"priority\":\"low\",\"timestamp\":2}],\"next\":\"x\"}",
        r#"{"results":[]}"#,
        r#"{"count":99,"results":[{"who":"b"},{"who":"é","priority":"x","timestamp":1}]}"#,
    ];
    let incidents = decode_pages(&source, &pages).unwrap();
    assert_eq!(
        envelopes(&incidents),
        [
            r#"{"who":"é","priority":"low","timestamp":2}"#,
            r#"{"who":"b"}"#,
            r#"{"who":"é","priority":"x","timestamp":1}"#
        ]
    );
    assert_eq!(incidents.body().len(), pages.concat().len());
    assert_eq!(incidents.other_identities().len(), 2);
    let identities = incidents.records().iter().map(|record| record.identity().unwrap());
    let other = IdentityValue::Other;
    assert_eq!(identities.collect::<Vec<_>>(), [other(0), other(1), other(0)]);
    assert!(!incidents.is_truncated(), "a source with `next` is read to its end");
    let range = incidents.timestamps();
    assert_eq!(format!("{range:?}"), "TimestampRange { earliest: 1.0, latest: 2.0 }");
    assert_eq!(incidents.unmapped(), [("x".to_owned(), 1)]);
}

#[test]
fn faults_of_later_pages_are_those_of_the_page() {
    let first = r#"{"results":[{"who":1}]}"#;
    for (page, offset, fault) in [
        (r#"{"results":7}"#, 11, "`results` is no array"),
        (r#"{"result":[]}"#, 0, "no `results` in the document"),
        (r#"{"results":[],"results":[]}"#, 24, "a second `results`"),
        ("[]", 0, "expected an object with `results`"),
        ("", 0, "the body ends too soon"),
    ] {
        let error = DecodeError::Json(JsonError { offset, fault });
        assert_eq!(decode_pages(&plain(), &[page]).unwrap_err(), error, "{page}");
        assert_eq!(decode_pages(&plain(), &[first, page]).unwrap_err(), error, "{page}");
        // With `fail_if` the whole page is read first.
        let source = with_fail_if(plain(), &["/errors"]);
        assert_eq!(decode_pages(&source, &[first, page]).unwrap_err(), error, "{page}");
        assert_eq!(error.outcome(), crate::outcome::Outcome::Decode);
    }
    let source = with_fail_if(plain(), &["/errors"]);
    let error = refused(&source, r#"{"results":null,"errors":[1]}"#);
    assert_eq!(error.to_string(), "the answer has something at `/errors`");
}

#[test]
fn lines_are_records() {
    let file =
        config::Source { origin: Origin::File("x.ndjson".to_owned()), records: None, ..source() };
    let mapping = Arc::new(SourceMapping::new(&file));
    let mut decoder = IncidentsDecoder::new(Arc::clone(&mapping));
    let lines = "\u{feff}{\"id\":1}\r\n\n  \n {\"id\":\"é\"} \n7";
    assert_eq!(decoder.add_lines(lines.as_bytes()).unwrap().records, 3);
    assert_eq!(decoder.add_lines(b"").unwrap().records, 0);
    assert_eq!(decoder.add_lines(b"{\"id\":1,\"n\":2}\n").unwrap().records, 1);
    // A file with one document is a list, unless `records` says where the list is.
    assert_eq!(decoder.add_page(Bytes::from_static(b"[{}]")).unwrap().records, 1);
    let incidents = decoder.finish();
    assert_eq!(incidents.duplicates(), 1);
    assert_eq!(
        envelopes(&incidents),
        [
            r#"{"id":"é","record":{"id":"é"}}"#,
            r#"{"record":7}"#,
            r#"{"id":"1","record":{"id":1,"n":2}}"#,
            r#"{"record":{}}"#
        ]
    );
    for (lines, offset, fault) in [
        (&b"{\"id\":1}\n{\"id\":"[..], 15, "the body ends too soon"),
        (b"{} {}", 3, "text after the document"),
        (b"{}\n{}}", 5, "text after the document"),
        (b"{\n}", 1, "the body ends too soon"),
        (b"{}\n\"\xff\"", 4, "invalid UTF-8"),
    ] {
        let mut decoder = IncidentsDecoder::new(Arc::clone(&mapping));
        let error = decoder.add_lines(lines).unwrap_err();
        assert_eq!(error, DecodeError::Json(JsonError { offset, fault }), "{lines:?}");
    }
}

#[test]
fn a_page_that_is_no_utf8_is_refused() {
    for member in ["@", "id\":\"@", "x\":{\"@\":1},\"y"] {
        let page = format!("{{\"data\":[{{\"{member}\":1}}]}}").replace(":\"@\":1", ":\"@\"");
        let bytes: Vec<u8> = page.bytes().map(|b| if b == b'@' { 0xff } else { b }).collect();
        let offset = bytes.iter().position(|byte| *byte == 0xff).unwrap();
        let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source())));
        let error = decoder.add_page(Bytes::from(bytes)).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Json(JsonError { offset, fault: "invalid UTF-8" }),
            "{page}"
        );
    }
}

#[test]
fn depth_is_bounded_along_paths_too() {
    let deep = config::Source { title: paths(&["/a/b/c"]), ..with_list("/x/data") };
    let page = |depth: usize| {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        format!("{{\"x\":{{\"data\":[{{\"a\":{{\"b\":{{\"c\":{nested}}}}}}}]}}}}")
    };
    // The document, `x`, the list, the record, `a` and `b` are around it.
    assert!(page_end(&deep, &page(MAX_DEPTH - 6)).is_ok());
    let error = refused(&deep, &page(MAX_DEPTH - 5));
    assert!(error.to_string().contains("nest too deep"), "{error}");
}

fn incremental() -> config::Source {
    let hour = std::time::Duration::from_hours(1);
    config::Source {
        incremental: Some(Incremental { overlap: hour, full_every: hour }),
        ..source()
    }
}

#[test]
fn newer_records_are_merged_by_id() {
    let decode = |records: &str| {
        decode_pages(&incremental(), &[&format!("{{\"data\":[{records}]}}")]).unwrap()
    };
    let at = |hour: u32| format!("\"timestamp\":\"2026-03-02T{hour:02}:00:00Z\"");
    let previous = decode(&format!(
        r#"{{"id":1,{}}},{{"id":2,{},"who":"a@x"}},{{"id":3,"priority":"p"}},{{"n":4}},{{"id":5,"priority":"q",{}}},5"#,
        at(1),
        at(2),
        at(3)
    ));
    let newer = decode(&format!(
        r#"{{"id":6,"who":"b@x","priority":"q",{}}},{{"id":5,"who":["A@x","b@x"],"priority":"r",{}}},{{"id":7,{}}},{{"id":7,{}}}"#,
        at(4),
        at(3),
        at(5),
        at(1)
    ));
    let earliest = 1_772_416_800_000_000;
    assert!((previous.records()[1].timestamp() - 1_772_416_800.0).abs() < f64::EPSILON);
    let merged = Incidents::merged(&previous, newer, earliest).unwrap();
    let kept = [r#"{"id":2,"#, r#"{"id":3,"#, r#"{"n":4}"#, "5}", r#"{"id":6,"#, r#"{"id":5,"#];
    let found = envelopes(&merged);
    assert_eq!(found.len(), kept.len());
    for (envelope, record) in found.iter().zip(kept) {
        let (_, found) = envelope.split_once("\"record\":").unwrap();
        assert!(found.starts_with(record), "{envelope} {record}");
    }
    assert_eq!(merged.duplicates(), 1);
    let unmapped = [("p", 1), ("q", 1), ("r", 1)].map(|(value, count)| (value.to_owned(), count));
    assert_eq!(merged.unmapped(), unmapped);
    let email = |text: &str| IdentityKey::Email(text.into());
    let keys = |record: usize| super::mapped::keys(&merged, &merged.records()[record]);
    assert_eq!(keys(0), Some(vec![email("a@x")]));
    assert_eq!(keys(4), Some(vec![email("b@x")]));
    assert_eq!(keys(5), Some(vec![email("a@x"), email("b@x")]));
    assert_eq!(merged.keys().len(), 2);
    let range = merged.timestamps();
    assert!((range.earliest - 1_772_416_800.0).abs() < f64::EPSILON);
    assert!((range.latest - 1_772_424_000.0).abs() < f64::EPSILON);
    // What was merged can be merged again.
    let again = Incidents::merged(&merged, decode(r#"{"id":2}"#), earliest).unwrap();
    assert_eq!(again.records().len(), merged.records().len());
    assert_eq!(again.duplicates(), 0);
}

#[test]
fn a_record_without_an_id_that_comes_again_is_there_once() {
    let decode = |records: &str| {
        decode_pages(&incremental(), &[&format!("{{\"data\":[{records}]}}")]).unwrap()
    };
    let previous = decode(r#"{"n":1},{"n":2},{"n":2},{"n":2}"#);
    let merged = Incidents::merged(&previous, decode(r#"{"n":2},{"n":3},{"n":2}"#), 0).unwrap();
    let records: Vec<_> = envelopes(&merged)
        .iter()
        .map(|envelope| envelope.split_once("\"record\":").unwrap().1.to_owned())
        .collect();
    let expected = [1, 2, 2, 3, 2].map(|n| format!("{{\"n\":{n}}}}}"));
    assert_eq!(records, expected);
}
