//! The documents against a simple reference: for any upstream bodies each record comes out exactly
//! once, in its place, with its bytes as they came, and the same input gives the same bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::identity::{IdentityTable, TableSlot};
use incident_gateway::join::join;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;
use proptest::prelude::*;
use serde_json::value::RawValue;

const SOURCES: [(&str, &[&str]); 3] = [
    ("denial", &["reported_by"]),
    ("intrusion", &["internal_ip", "employee_id"]),
    ("other", &["identifier"]),
];
const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// The gateway's own way, from bodies to documents.
fn documents(identities: Option<&str>, bodies: &[Option<String>]) -> (String, String) {
    let names: Vec<Arc<str>> = SOURCES.iter().map(|(name, _)| Arc::from(*name)).collect();
    let batches = SOURCES.iter().zip(bodies).map(|((_, identity), body)| {
        let identity: Vec<String> = identity.iter().map(ToString::to_string).collect();
        let decode = |body: &String| {
            Incidents::decode(Bytes::from(body.clone()), &SourceFields::new(&identity)).unwrap()
        };
        body.as_ref().map(|body| Arc::new(decode(body)))
    });
    let identities = identities
        .map(|body| Arc::new(IdentityTable::decode(Bytes::from(body.to_owned())).unwrap()));
    let batches: Box<[_]> = batches.collect();
    let index = join(&[TableSlot::addresses(identities)], &batches);
    let view = View::new(1, names.into(), batches, index);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let document = render::incidents(&view, &Filter::default());
    (text(document), text(render::unattributed(&view)))
}

/// A record as the reference sees it: its members' raw values, the last of each name.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn number(raw: &RawValue) -> Option<&str> {
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| raw.get())
}

fn employee(
    value: String,
    table: Option<&BTreeMap<IpAddr, String>>,
) -> Result<String, &'static str> {
    match (value.parse::<IpAddr>(), table) {
        (Err(_), _) => Ok(value),
        (Ok(_), None) => Err("identities_unavailable"),
        (Ok(address), Some(table)) => {
            table.get(&address.to_canonical()).cloned().ok_or("unknown_ip")
        }
    }
}

fn table(body: &str) -> BTreeMap<IpAddr, String> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_str(body).unwrap();
    let ids = entries.into_iter().filter_map(|(name, value)| {
        let id = number(value).map(str::to_owned).or_else(|| string(value))?;
        Some((name.parse::<IpAddr>().ok()?.to_canonical(), id))
    });
    ids.collect()
}

/// Numeric ids first, by value; ties, and the others, by text.
type OrderKey = (bool, i128, String);

/// The same documents, made as plainly as possible.
fn reference(identities: Option<&str>, bodies: &[Option<String>]) -> (String, String) {
    let table = identities.map(table);
    let mut employees: BTreeMap<OrderKey, [Vec<(f64, String)>; 4]> = BTreeMap::new();
    let mut unattributed = Vec::new();
    for ((name, identity), body) in SOURCES.iter().zip(bodies) {
        let Some(body) = body else { continue };
        let results = &body[body.find("\"results\":").unwrap() + 10..body.rfind('}').unwrap()];
        for record in serde_json::from_str::<Vec<&RawValue>>(results).unwrap() {
            let Ok(fields) = serde_json::from_str::<Fields<'_>>(record.get()) else {
                unattributed.push((name, "not_an_object", record.get().to_owned()));
                continue;
            };
            let text = typed(name, record.get());
            let value = identity.iter().find_map(|field| fields.get(*field));
            let named =
                value.and_then(|value| number(value).map(str::to_owned).or_else(|| string(value)));
            let employee =
                named.ok_or("missing_identity").and_then(|value| employee(value, table.as_ref()));
            let priority = fields.get("priority").and_then(|raw| string(raw));
            let priority =
                priority.and_then(|name| PRIORITIES.iter().position(|known| *known == name));
            let timestamp = fields
                .get("timestamp")
                .and_then(|raw| number(raw))
                .and_then(|raw| raw.parse::<f64>().ok());
            let timestamp = timestamp.filter(|seconds| seconds.is_finite());
            match (employee, priority, timestamp) {
                (Err(reason), _, _) => unattributed.push((name, reason, text)),
                (_, None, _) => unattributed.push((name, "invalid_priority", text)),
                (_, _, None) => unattributed.push((name, "invalid_timestamp", text)),
                (Ok(id), Some(priority), Some(timestamp)) => {
                    let value: Option<i128> = id.parse().ok().filter(|_| !id.starts_with('+'));
                    let key = (value.is_none(), value.unwrap_or_default(), id);
                    employees.entry(key).or_default()[priority].push((timestamp, text));
                }
            }
        }
    }
    let employees = employees.into_iter().map(|((_, _, id), groups)| {
        let groups = PRIORITIES.iter().zip(groups).map(|(priority, mut group)| {
            group.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap());
            let texts: Vec<String> = group.into_iter().map(|(_, text)| text).collect();
            format!(
                "\"{priority}\":{{\"count\":{},\"incidents\":[{}]}}",
                texts.len(),
                texts.join(",")
            )
        });
        format!(
            "{}:{{{}}}",
            serde_json::to_string(&id).unwrap(),
            groups.collect::<Vec<_>>().join(",")
        )
    });
    let incidents = format!("{{{}}}", employees.collect::<Vec<_>>().join(","));
    let items = unattributed.iter().map(|(name, reason, text)| {
        format!("{{\"source\":\"{name}\",\"reason\":\"{reason}\",\"incident\":{text}}}")
    });
    let items: Vec<String> = items.collect();
    (incidents, format!("{{\"count\":{},\"incidents\":[{}]}}", items.len(), items.join(",")))
}

/// The record with its source's type first, and without members of that name in any of the
/// generator's spellings.
fn typed(name: &str, record: &str) -> String {
    let members = split_members(&record[1..record.len() - 1]);
    let is_type = |member: &str| {
        ["\"type\"", "\"t\\u0079pe\"", "\"\\u0074ype\""]
            .iter()
            .any(|key| member.trim().starts_with(key))
    };
    let removed = members.iter().any(|member| is_type(member));
    let kept = members.into_iter().filter(|member| !is_type(member));
    // Whitespace between members may go, and does so where a member was cut out.
    let kept: Vec<&str> = kept.map(|member| if removed { member.trim() } else { member }).collect();
    let comma = if kept.iter().any(|member| !member.trim().is_empty()) { "," } else { "" };
    format!("{{\"type\":\"{name}\"{comma}{}}}", kept.join(","))
}

/// Splits at the commas that are neither in a string nor in brackets.
fn split_members(text: &str) -> Vec<&str> {
    let (mut members, mut begin, mut depth, mut quoted, mut escaped) =
        (Vec::new(), 0, 0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&text[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    members.push(&text[begin..]);
    members
}

fn any_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn identity() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..30_u32).prop_map(|id| id.to_string()),
        3 => (0..30_u32).prop_map(|id| format!("\"{id}\"")),
        3 => (0..6_u32).prop_map(|last| format!("\"17.0.0.{last}\"")),
        1 => (0..6_u32).prop_map(|last| format!("\"::ffff:17.0.0.{last}\"")),
        3 => any_of(&[
            "null", "true", "[1]", "{\"a\":1}", "\"\"", "\"alice\"", "\"\\u0061lice\"", "\"2001:db8::1\"",
            "\"2001:DB8:0:0::1\"", "1.0", "1e3", "-5", "\"007\"", "\"17.0.0.300\"", "\"\\\"quoted\\n\"", "\"é😀\"",
            "99999999999999999999", "\"a,b\"",
        ]),
    ]
}

fn member() -> impl Strategy<Value = String> {
    let name = any_of(&[
        "priority",
        "priority",
        "pri\\u006frity",
        "timestamp",
        "timestamp",
        "type",
        "t\\u0079pe",
        "\\u0074ype",
        "employee_id",
        "reported_by",
        "internal_ip",
        "identifier",
        "note",
        "",
    ]);
    let value = prop_oneof![
        4 => any_of(&["\"low\"", "\"medium\"", "\"high\"", "\"critical\"", "\"\\u006cow\"", "\"LOW\"", "4"]),
        3 => (0..5_u32).prop_map(|second| format!("{second}.5")),
        2 => identity(),
        1 => any_of(&["1e999", "-0", "-0.0", "1629939474.1346128", "{\"a\": [1, 2,{}]}", "\"a,b}\\\\\"", "[]", "1E+2"]),
    ];
    let spaced = |(name, value, space)| format!("{space}\"{name}\":{space}{value}{space}");
    (name, value, any_of(&["", "", "", " ", "\n\t"])).prop_map(spaced)
}

/// Records of which most can be placed.
fn record() -> impl Strategy<Value = String> {
    let good = (
        any_of(&["reported_by", "internal_ip", "employee_id", "identifier"]),
        identity(),
        any_of(&["low", "medium", "high", "critical"]),
        0..5_u32,
        prop::collection::vec(member(), 0..3),
    );
    let good = good.prop_map(|(field, identity, priority, second, extra)| {
        let mut members = vec![
            format!("\"{field}\":{identity}"),
            format!("\"priority\":\"{priority}\""),
            format!("\"timestamp\":{second}"),
        ];
        members.extend(extra);
        format!("{{{}}}", members.join(","))
    });
    prop_oneof![
        8 => good,
        2 => prop::collection::vec(member(), 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        1 => any_of(&["null", "7", "\"text\"", "[{}]", "{}", "{ }", "false"]),
    ]
}

fn body() -> impl Strategy<Value = Option<String>> {
    let bodies = prop::collection::vec(record(), 0..40).prop_map(|records| {
        Some(format!("{{\"next\": [null], \"results\":[{}] }}", records.join(", ")))
    });
    prop_oneof![9 => bodies, 1 => Just(None)]
}

fn identities() -> impl Strategy<Value = Option<String>> {
    let table = any_of(&[
        "{}",
        r#"{"17.0.0.1": 7, "17.0.0.2": "7", "17.0.0.3": "bob", "2001:db8::1": 12, "17.0.0.4": null, "x": 3}"#,
        r#"{"::ffff:17.0.0.1": 8, "17.0.0.5": "\u0062ob"}"#,
    ]);
    prop_oneof![5 => table.prop_map(Some), 1 => Just(None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn documents_are_those_of_the_reference(
        identities in identities(),
        bodies in prop::collection::vec(body(), SOURCES.len()),
    ) {
        let documents = documents(identities.as_deref(), &bodies);
        prop_assert_eq!(&documents, &reference(identities.as_deref(), &bodies));
        prop_assert_eq!(&documents, &self::documents(identities.as_deref(), &bodies));
    }
}

/// Records as sources list them: by time, many at the same, and now and then one out of turn or
/// without a valid time.
fn long_body() -> impl Strategy<Value = Option<String>> {
    let records = prop::collection::vec((0..3_u32, 0..4_usize, 0..4_u32, 0..100_u32), 0..500);
    (records, any::<bool>()).prop_map(|(records, ascending)| {
        let mut second = 0;
        let records =
            records.into_iter().enumerate().map(|(index, (employee, priority, step, odd))| {
                second += step;
                let timestamp = match odd {
                    0 if !ascending => format!("{}.25", second / 4 + 50),
                    1 => "null".to_owned(),
                    _ => format!("{}.25", second / 4),
                };
                let priority = PRIORITIES[priority];
                let names = ["reported_by", "internal_ip", "identifier"]
                    .map(|field| format!("\"{field}\":{employee}"));
                format!(
                    "{{{},\"priority\":\"{priority}\",\"timestamp\":{timestamp},\"n\":{index}}}",
                    names.join(",")
                )
            });
        Some(format!("{{\"results\":[{}]}}", records.collect::<Vec<_>>().join(",")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn long_lists_are_in_the_order_of_time_then_source_then_upstream(
        bodies in prop::collection::vec(long_body(), SOURCES.len()),
    ) {
        prop_assert_eq!(documents(None, &bodies), reference(None, &bodies));
    }
}

#[test]
fn records_may_be_long() {
    let body = |field: &str| {
        let records = [5, 65_533, 65_534, 65_535, 65_536, 200_000, 6].map(|length| {
            let start = format!("{{\"{field}\":1,\"priority\":\"low\",\"timestamp\":1,\"note\":\"");
            let note = "n".repeat(usize::saturating_sub(length, start.len() + 2));
            format!("{start}{note}\"}}")
        });
        Some(format!("{{\"results\":[{}]}}", records.join(",")))
    };
    let bodies = [body("reported_by"), body("internal_ip"), body("identifier")];
    assert!(documents(None, &bodies) == reference(None, &bodies));
}

#[test]
fn a_record_keeps_its_bytes_and_its_type_stands_first() {
    let bodies = [
        Some(
            r#"{"results":[{"reported_by":1,"priority":"low","timestamp":1e0,"a":1.50,"b":"\u00e9\/","c": [ 1 ]}]}"#
                .to_owned(),
        ),
        None,
        Some(r#"{"results":[{"identifier":"1","type":"x","timestamp":0.5,"priority":"low"},{},7]}"#.to_owned()),
    ];
    let (incidents, unattributed) = documents(None, &bodies);
    assert_eq!(
        incidents,
        concat!(
            r#"{"1":{"low":{"count":2,"incidents":["#,
            r#"{"type":"other","identifier":"1","timestamp":0.5,"priority":"low"},"#,
            r#"{"type":"denial","reported_by":1,"priority":"low","timestamp":1e0,"a":1.50,"b":"\u00e9\/","c": [ 1 ]}"#,
            r#"]},"medium":{"count":0,"incidents":[]},"high":{"count":0,"incidents":[]},"#,
            r#""critical":{"count":0,"incidents":[]}}}"#,
        )
    );
    assert_eq!(
        unattributed,
        concat!(
            r#"{"count":2,"incidents":[{"source":"other","reason":"missing_identity","incident":{"type":"other"}},"#,
            r#"{"source":"other","reason":"not_an_object","incident":7}]}"#,
        )
    );
}

#[test]
fn the_fixtures_give_the_expected_documents() {
    let fixture = |name: &str| {
        std::fs::read(format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let sources = incident_gateway::config::Config::default().sources;
    let batches = sources.iter().map(|source| {
        let fields = SourceFields::new(&source.identity_fields());
        Some(Arc::new(Incidents::decode(Bytes::from(fixture(&source.name)), &fields).unwrap()))
    });
    let identities = IdentityTable::decode(Bytes::from(fixture("identities"))).unwrap();
    let names: Vec<Arc<str>> =
        sources.iter().map(|source| Arc::from(source.name.as_str())).collect();
    let batches: Box<[_]> = batches.collect();
    let index = join(&[TableSlot::addresses(Some(Arc::new(identities)))], &batches);
    let view = View::new(1, names.into(), batches, index);
    assert!(render::incidents(&view, &Filter::default()) == fixture("expected/incidents"));
    assert!(render::unattributed(&view) == fixture("expected/unattributed"));
}
