//! The join against small hand-made sources.

mod identities;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::decode::SourceFields;
use crate::identity::IdentityTable;

#[expect(clippy::unnecessary_wraps, reason = "a source's data as the join takes it")]
fn batch(records: &[&str]) -> Option<Arc<Incidents>> {
    let body = format!("{{\"results\":[{}]}}", records.join(","));
    let fields = SourceFields::new(&["id".to_owned(), "ip".to_owned()]);
    Some(Arc::new(Incidents::decode(Bytes::from(body), &fields).unwrap()))
}

fn table(body: &'static str) -> TableSlot {
    let table = IdentityTable::decode(Bytes::from_static(body.as_bytes())).unwrap();
    TableSlot::addresses(Some(Arc::new(table)))
}

/// Incidents as (source, timestamp).
type Group = Vec<(usize, f64)>;

/// The employees with their incidents, by priority.
fn groups(index: &IncidentIndex) -> Vec<(&str, [Group; 4])> {
    let list = |group: &[IncidentRef]| {
        group.iter().map(|incident| (incident.source(), incident.timestamp)).collect()
    };
    index.employees().map(|employee| (employee.id, employee.groups.map(list))).collect()
}

fn reasons(index: &IncidentIndex) -> Vec<(usize, usize, Reason)> {
    let item = |item: &Unattributed| (item.source(), item.record(), item.reason);
    index.unattributed().iter().map(item).collect()
}

#[test]
fn incidents_are_grouped_by_employee_and_priority() {
    let sources = [
        batch(&[
            r#"{"id":8,"priority":"low","timestamp":2}"#,
            r#"{"ip":"17.0.0.1","priority":"high","timestamp":3}"#,
        ]),
        None,
        batch(&[r#"{"id":"8","priority":"low","timestamp":1}"#]),
    ];
    let index = join(&[table(r#"{"17.0.0.1":"alice"}"#)], &sources);
    let none = Vec::new;
    assert_eq!(
        groups(&index),
        [
            ("8", [vec![(2, 1.0), (0, 2.0)], none(), none(), none()]),
            ("alice", [none(), none(), vec![(0, 3.0)], none()]),
        ]
    );
    assert_eq!(index.counts(), [[1, 0, 1, 0], [0; 4], [1, 0, 0, 0]]);
    assert_eq!((index.employee_count(), index.incident_count()), (2, 3));
    assert_eq!((index.rank("alice"), index.rank("17.0.0.1")), (Some(1), None));
    assert_eq!(index.employee("8").unwrap().incident_count(), 2);
}

#[test]
fn equal_times_keep_the_order_of_the_sources_and_of_upstream() {
    let same = r#"{"id":1,"priority":"low","timestamp":5}"#;
    let sources = [
        batch(&[r#"{"id":1,"priority":"low","timestamp":5.0}"#, same]),
        batch(&[same, r#"{"id":1,"priority":"low","timestamp":4}"#, same]),
    ];
    let index = join(&[], &sources);
    let group = index.employee("1").unwrap().groups[0];
    let order: Vec<_> =
        group.iter().map(|incident| (incident.source(), incident.timestamp)).collect();
    assert_eq!(order, [(1, 4.0), (0, 5.0), (0, 5.0), (1, 5.0), (1, 5.0)]);
    let starts: Vec<u32> =
        group[1..3].iter().map(|incident| incident.members_span().start).collect();
    assert!(starts.is_sorted());
}

#[test]
fn the_first_applicable_reason_is_given() {
    use Reason::{
        IdentitiesUnavailable, InvalidPriority, InvalidTimestamp, MissingIdentity, NotAnObject,
        UnknownIp,
    };
    let sources = [batch(&[
        "7",
        r#"{"ip":"17.0.0.9","priority":"none"}"#,
        r#"{"priority":"none"}"#,
        r#"{"id":null,"priority":"low","timestamp":1}"#,
        r#"{"id":"\ud800","priority":"low","timestamp":1}"#,
        r#"{"id":1,"priority":"none"}"#,
        r#"{"id":1,"priority":"low"}"#,
        r#"{"ip":"17.0.0.1","priority":"low","timestamp":1}"#,
    ])];
    let others = [
        (0, 2, MissingIdentity),
        (0, 3, MissingIdentity),
        (0, 4, MissingIdentity),
        (0, 5, InvalidPriority),
        (0, 6, InvalidTimestamp),
    ];
    let index = join(&[table(r#"{"17.0.0.1":1}"#)], &sources);
    let expected = [&[(0, 0, NotAnObject), (0, 1, UnknownIp)], &others[..]].concat();
    assert_eq!(reasons(&index), expected);
    assert_eq!(index.incident_count(), 1);

    let index = join(&[TableSlot::addresses(None)], &sources);
    let expected = [
        &[(0, 0, NotAnObject), (0, 1, IdentitiesUnavailable)],
        &others[..],
        &[(0, 7, IdentitiesUnavailable)],
    ]
    .concat();
    assert_eq!(reasons(&index), expected);
}

#[test]
fn addresses_with_a_zone_a_port_brackets_or_blanks_are_looked_up() {
    let sources = [batch(&[
        r#"{"ip":" 17.0.0.1","priority":"low","timestamp":1}"#,
        r#"{"ip":"17.0.0.1:443","priority":"low","timestamp":2}"#,
        r#"{"ip":"[2001:db8::1]:443","priority":"low","timestamp":3}"#,
        r#"{"ip":"\u005b2001:db8::1\u005d","priority":"low","timestamp":4}"#,
        r#"{"ip":"fe80::1%eth0","priority":"low","timestamp":5}"#,
        r#"{"ip":"::ffff:17.0.0.1","priority":"low","timestamp":6}"#,
        r#"{"ip":"17.0.0.2:443","priority":"low","timestamp":7}"#,
    ])];
    let table = table(r#"{"17.0.0.1":1,"[2001:DB8::1]":1,"fe80::1%en1":1}"#);
    let index = join(&[table], &sources);
    assert_eq!(index.employee("1").unwrap().incident_count(), 6);
    assert_eq!(index.employee_count(), 1);
    assert_eq!(reasons(&index), [(0, 6, Reason::UnknownIp)]);
}

#[test]
fn an_id_of_more_than_256_bytes_is_no_identity() {
    let record = |id: &str| format!(r#"{{"id":{id},"priority":"low","timestamp":1}}"#);
    let ids = [
        format!("\"{}\"", "x".repeat(256)),
        format!("\"{}\"", "x".repeat(257)),
        format!("\"{}\"", "\\u0078".repeat(256)),
        format!("\"{}\"", "\\u0078".repeat(257)),
        format!("\"{}\"", "x".repeat(1 << 20)),
        "1".repeat(257),
    ];
    let records = ids.map(|id| record(&id));
    let sources = [batch(&records.each_ref().map(String::as_str))];
    let index = join(&[], &sources);
    assert_eq!(index.employee(&"x".repeat(256)).unwrap().incident_count(), 2);
    let missing = [1, 3, 4, 5].map(|record| (0, record, Reason::MissingIdentity));
    assert_eq!(reasons(&index), missing);
}

#[test]
fn nothing_joined_is_an_empty_index() {
    for sources in [&[][..], &[None, None], &[batch(&[])]] {
        let index = join(&[], sources);
        assert_eq!((index.employee_count(), index.incident_count()), (0, 0));
        assert!(index.unattributed().is_empty() && index.employee("").is_none());
        assert_eq!(index.ranks_between(Some(0.0), None), Some(Vec::new()));
    }
}

proptest! {
    #[test]
    fn every_record_is_in_exactly_one_place(
        sources in prop::collection::vec(
            prop::option::of(prop::collection::vec((0..4_u8, 0..5_u8, -3..3_i8), 0..40)),
            0..4,
        ),
    ) {
        let sources: Vec<_> = sources
            .into_iter()
            .map(|records| {
                let records: Vec<String> = records?
                    .into_iter()
                    .map(|(id, priority, time)| {
                        let priority = ["low", "medium", "high", "critical", "?"][priority as usize];
                        format!(r#"{{"id":{id},"priority":"{priority}","timestamp":{time}}}"#)
                    })
                    .collect();
                batch(&records.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let index = join(&[], &sources);
        let mut found = Vec::new();
        for incident in index.incidents() {
            let batch = sources[incident.source()].as_ref().unwrap();
            let record = &batch.records()[incident.record()];
            prop_assert_eq!(incident.members_span(), record.members_span());
            found.push((incident.source(), incident.members_span().start));
        }
        for item in index.unattributed() {
            let batch = sources[item.source()].as_ref().unwrap();
            found.push((item.source(), batch.records()[item.record()].members_span().start));
        }
        found.sort_unstable();
        let mut expected = Vec::new();
        for (source, batch) in sources.iter().enumerate() {
            let records = batch.iter().flat_map(|batch| batch.records());
            expected.extend(records.map(|record| (source, record.members_span().start)));
        }
        prop_assert_eq!(found, expected);
        for group in index.employees().flat_map(|employee| employee.groups) {
            let key = |incident: &IncidentRef| {
                (incident.timestamp, incident.source(), incident.members_span().start)
            };
            prop_assert!(group.is_sorted_by(|a, b| key(a) < key(b)));
        }
    }
}
