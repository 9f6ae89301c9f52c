//! What the decoder takes of plain sources and refuses; its idea of JSON against `serde_json`'s.

mod mapped;
mod pages;
mod properties;
mod reference;
mod restore;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::identity::IdentityTable;

fn decode(body: &str) -> Result<Incidents, DecodeError> {
    let fields = SourceFields::new(&["employee_id".to_owned(), "ip".to_owned()]);
    Incidents::decode(Bytes::from(body.to_owned()), &fields)
}

fn fault(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Json(error) => error.fault,
        DecodeError::Answer(error) => panic!("{error}"),
    }
}

fn refused(body: &str) -> &'static str {
    fault(decode(body).expect_err(body))
}

fn invalid_utf8(offset: usize) -> DecodeError {
    DecodeError::Json(JsonError { offset, fault: "invalid UTF-8" })
}

/// The only record of `{"results":[…]}`, with its identity value.
fn record(text: &str) -> (Record, Option<String>) {
    let incidents = decode(&format!("{{\"results\":[{text}]}}")).expect(text);
    let record = incidents.records()[0];
    assert_eq!(incidents.bytes(&record), text.as_bytes());
    let identity = record.identity().and_then(|identity| match identity {
        IdentityValue::Number(number) => Some(number.to_string()),
        IdentityValue::V4(address) => Some(address.to_string()),
        IdentityValue::Other(index) => {
            incidents.other_identities().nth(index).unwrap().map(Cow::into_owned)
        }
        IdentityValue::Keys(list) => panic!("a plain source with keys {list}"),
    });
    (record, identity)
}

#[test]
fn records_are_spans_with_their_values() {
    let (plain, identity) =
        record(r#"{"employee_id":12,"priority":"high","timestamp":1629939474.1346128}"#);
    assert_eq!(identity.as_deref(), Some("12"));
    assert_eq!(plain.priority(), Some(Priority::High));
    assert!((plain.timestamp() - 1_629_939_474.134_612_8).abs() < f64::EPSILON);
    assert!(!plain.has_type() && plain.has_employee_id());
    assert_eq!((plain.identity_fault(), plain.value_fault()), (None, None));

    let escaped =
        r#"{"\u0069p":"\u0031\u0032","priorit\u0079":"l\u006fw","timestamp":-0,"typ\u0065":1}"#;
    let (escaped, identity) = record(escaped);
    assert_eq!(identity.as_deref(), Some("12"));
    assert_eq!(escaped.priority(), Some(Priority::Low));
    assert!(escaped.timestamp().is_sign_positive());
    assert!(escaped.has_type() && !escaped.has_employee_id());
}

#[test]
fn the_first_identity_field_that_is_present_decides() {
    for (members, expected) in [
        (r#""ip":"17.0.0.1","employee_id":5"#, Some("5")),
        (r#""ip":"17.0.0.1""#, Some("17.0.0.1")),
        (r#""employee_id":null,"ip":"17.0.0.1""#, None),
        (r#""employee_id":1,"employee_id":2"#, Some("2")),
        (r#""employee_id":"\ud800""#, None),
        (r#""employee_id":[5]"#, None),
        (r#""employee_id":true"#, None),
        (r#""employee_id":1.50"#, Some("1.50")),
        (r#""other":5"#, None),
    ] {
        assert_eq!(record(&format!("{{{members}}}")).1.as_deref(), expected, "{members}");
    }
}

#[test]
fn faults_of_records_stay_with_the_record() {
    use RecordFault::{InvalidPriority, InvalidTimestamp, MissingIdentity, NotAnObject};
    for (text, identity_fault, value_fault) in [
        ("7", Some(NotAnObject), Some(InvalidPriority)),
        ("[[]]", Some(NotAnObject), Some(InvalidPriority)),
        ("{}", Some(MissingIdentity), Some(InvalidPriority)),
        (r#"{"ip":1,"priority":"LOW","timestamp":1}"#, None, Some(InvalidPriority)),
        (r#"{"ip":1,"priority":1,"timestamp":1}"#, None, Some(InvalidPriority)),
        (r#"{"ip":1,"priority":"low","timestamp":"1"}"#, None, Some(InvalidTimestamp)),
        (r#"{"ip":1,"priority":"low","timestamp":1e999}"#, None, Some(InvalidTimestamp)),
        (r#"{"ip":1,"priority":"low"}"#, None, Some(InvalidTimestamp)),
    ] {
        let (record, _) = record(text);
        assert_eq!(
            (record.identity_fault(), record.value_fault()),
            (identity_fault, value_fault),
            "{text}"
        );
    }
}

#[test]
fn a_body_is_taken_whole_or_not_at_all() {
    assert_eq!(
        decode(" {\"next\":[{}], \"r\\u0065sults\" : [ ] , \"n\":1} \n").unwrap().records().len(),
        0
    );
    for (body, fault) in [
        ("", "the body ends too soon"),
        ("null", "expected an object with `results`"),
        ("[]", "expected an object with `results`"),
        ("<html>", "expected an object with `results`"),
        ("{}", "no `results` in the document"),
        (r#"{"results":{}}"#, "`results` is no array"),
        (r#"{"results":null}"#, "`results` is no array"),
        (r#"{"results":[],"results":[]}"#, "a second `results`"),
        (r#"{"results":[]}x"#, "text after the document"),
        (r#"{"results":[{"a":1}"#, "the body ends too soon"),
        (r#"{"results":[1,]}"#, "expected a value"),
        (r#"{"results":[{"a":1,}]}"#, "expected a member name"),
        (r#"{"results":[01]}"#, "an invalid number"),
        (r#"{"results":[1.]}"#, "expected a digit"),
        (r#"{"results":[NaN]}"#, "expected a value"),
        (r#"{"results":["\x"]}"#, "an invalid escape"),
        ("{\"results\":[\"a\nb\"]}", "a control character in a string"),
        ("\u{feff}", "the body ends too soon"),
        ("\u{feff}\u{feff}{\"results\":[]}", "expected an object with `results`"),
        (" \u{feff}{\"results\":[]}", "expected an object with `results`"),
        ("{\"results\":[]}\u{feff}", "text after the document"),
    ] {
        assert_eq!(refused(body), fault, "{body}");
    }
    let invalid =
        Incidents::decode(Bytes::from_static(b"{\"results\":[\"\xff\"]}"), &SourceFields::new(&[]));
    assert_eq!(invalid.unwrap_err(), invalid_utf8(13));
}

#[test]
fn a_byte_order_mark_before_the_document_is_ignored() {
    let plain = r#"{"results":[{"ip":"17.0.0.1","priority":"low","timestamp":1}]}"#;
    let marked = decode(&format!("\u{feff}{plain}")).unwrap();
    let record = marked.records()[0];
    assert_eq!(marked.bytes(&record), &plain.as_bytes()[12..plain.len() - 2]);
    assert_eq!((record.identity_fault(), record.value_fault()), (None, None));
    assert!(decode("\u{feff} \n{\"results\":[]}").is_ok());
}

#[test]
fn a_document_that_says_that_there_is_more_is_truncated() {
    for (members, is_truncated) in [
        (r#""results":[1]"#, false),
        (r#""next":null,"count":1,"results":[1]"#, false),
        (r#""results":[1],"next":null,"count":1"#, false),
        (r#""next":"https://example.org/?page=2","results":[1]"#, true),
        (r#""results":[1],"n\u0065xt":"page2""#, true),
        (r#""results":[],"next":{"href":"/2"}"#, true),
        (r#""results":[],"next":2"#, true),
        (r#""results":[],"next":"""#, false),
        (r#""results":[],"next":false"#, false),
        (r#""results":[],"next":"x","next":null"#, false),
        (r#""count":3,"results":[1]"#, true),
        (r#""results":[1],"count":3"#, true),
        (r#""results":[1],"c\u006funt":2e0"#, true),
        (r#""results":[1,2],"count":1"#, false),
        (r#""results":[1],"count":"3""#, false),
        (r#""results":[1],"count":{"total":3}"#, false),
        (r#""results":[{"next":"x","count":9}]"#, false),
        (r#""results":[],"page":{"next":"x","count":9}"#, false),
    ] {
        let incidents = decode(&format!("{{{members}}}")).unwrap();
        assert_eq!(incidents.is_truncated(), is_truncated, "{members}");
    }
}

#[test]
fn an_identity_has_at_most_256_bytes() {
    for (id, is_identity) in [
        (format!("\"{}\"", "é".repeat(128)), true),
        (format!("\"{}x\"", "é".repeat(128)), false),
        (format!("\"{}\"", "\\u0001".repeat(256)), true),
        (format!("\"{}\"", "\\u0001".repeat(257)), false),
        (format!("\"{}\"", "\\\"".repeat(256)), true),
        (format!("\"{}\"", "\\ud83d\\ude00".repeat(64)), true),
        (format!("\"{}\"", "\\ud83d\\ude00".repeat(65)), false),
        ("9".repeat(256), true),
        ("9".repeat(257), false),
        (format!("0.{}", "9".repeat(254)), true),
        (format!("0.{}", "9".repeat(1 << 20)), false),
    ] {
        let text = format!("{{\"ip\":{id},\"priority\":\"low\",\"timestamp\":1}}");
        let (record, identity) = record(&text);
        assert_eq!(identity.is_some(), is_identity, "{id}");
        let fault = (!is_identity).then_some(RecordFault::MissingIdentity);
        assert_eq!(record.identity_fault(), fault, "{id}");
    }
}

#[test]
fn an_identity_that_is_too_long_does_not_let_a_later_field_decide() {
    let long = "x".repeat(257);
    let (record, _) = record(&format!(r#"{{"ip":"17.0.0.1","employee_id":"{long}"}}"#));
    assert_eq!(record.identity_fault(), Some(RecordFault::MissingIdentity));
}

#[test]
fn a_body_that_is_no_utf8_is_refused_wherever_that_shows() {
    let fields = SourceFields::new(&["id".to_owned()]);
    for text in ["@", "@\":1,\"b", "\":\"@", "\":\"17.0.0.@"] {
        for name in ["id", "priority", "timestamp", "17.0.0.1"] {
            let member = format!("\"{name}{text}\"");
            let member = if member.contains(':') { member } else { format!("{member}:1") };
            let bytes = |body: String| -> Vec<u8> {
                body.bytes().map(|b| if b == b'@' { 0xff } else { b }).collect()
            };
            let body = bytes(format!("{{\"results\":[{{{member}}}]}}"));
            let invalid = invalid_utf8(body.iter().position(|b| *b == 0xff).unwrap());
            assert_eq!(
                Incidents::decode(Bytes::from(body), &fields).err().as_ref(),
                Some(&invalid),
                "{member}"
            );
            let body = bytes(format!("{{\"17.0.0.2\":1,{member}}}"));
            let refused = IdentityTable::decode(Bytes::from(body)).unwrap_err();
            assert_eq!(fault(refused), "invalid UTF-8", "{member}");
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested =
        |depth: usize| format!("{{\"results\":[{}{}]}}", "[".repeat(depth), "]".repeat(depth));
    assert!(decode(&nested(MAX_DEPTH - 2)).is_ok());
    for depth in [MAX_DEPTH - 1, 10_000, 1_000_000] {
        assert_eq!(refused(&nested(depth)), "arrays and objects nest too deep");
    }
}

#[test]
fn members_are_found_as_they_stand() {
    let tail = br#" "a" : 1 ,"\u0062":{"a":[2]}, "\ud800":"," }"#;
    let found: Vec<_> =
        members(tail).map(|(name, span)| (name, std::str::from_utf8(span).unwrap())).collect();
    let name = |name: &'static str| Some(Cow::Borrowed(name));
    assert_eq!(
        found,
        [(name("a"), "\"a\" : 1"), (name("b"), r#""\u0062":{"a":[2]}"#), (None, r#""\ud800":",""#)]
    );
    assert_eq!(members(b" }").count(), 0);
}

/// Text that is JSON, or nearly.
fn nearly_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?[0-9]{1,4}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        "\"([a-zé😀 ]|\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-f]{4}){0,12}\"",
        Just("true".to_owned()),
        Just("null".to_owned()),
        "[-0-9.eE+]{0,6}",
        "\"[^\"]{0,6}\"",
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(("[a-z]{0,9}", inner), 0..6).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_json_is_decided_as_by_serde_json(value in nearly_json()) {
        // Nothing at all is no value, but an empty list is a list.
        prop_assume!(!value.trim().is_empty());
        let accepted = serde_json::from_str::<IgnoredAny>(&value).is_ok();
        let body = format!("{{\"results\":[{value}]}}");
        prop_assert_eq!(decode(&body).is_ok(), accepted, "{}", body);
        let body = format!("{{\"skipped\":{value},\"results\":[]}}");
        prop_assert_eq!(decode(&body).is_ok(), accepted, "{}", body);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let fields = SourceFields::new(&["a".to_owned()]);
        let _ = Incidents::decode(Bytes::from(bytes.clone()), &fields);
        let _ = IdentityTable::decode(Bytes::from(bytes));
    }
}
