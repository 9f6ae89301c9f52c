//! Records of several employees, and gateways that have all of them or those of one employee.

use incident_gateway::config::{self, Config};
use proptest::prelude::*;

use crate::support::snapshot_gateway::SnapshotGateway;
use crate::support::tokens;

/// The employees and their names, the own one first. No id occurs in another text of the answers.
pub(super) const EMPLOYEES: [(&str, &str); 4] = [
    ("emp-own", "Ann Own-Name"),
    ("emp-second", "Bo Second-Name"),
    ("emp third/,é", "Cleo Third-Name"),
    ("EMP-OWN", "Dee Fourth-Name"),
];

pub(super) const OWN: &str = EMPLOYEES[0].0;

/// The index of nobody, in place of an employee's.
const NOBODY: usize = EMPLOYEES.len();

pub(super) const SOURCES: [&str; 3] = ["misuse", "probing", "other"];
pub(super) const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// The headers of callers who may see everything, the own employee, metrics.
pub(super) const ALL: (&str, &str) = ("authorization", "Bearer the-token-of-all");
pub(super) const SELF: (&str, &str) = ("authorization", "Bearer the-token-of-own");
pub(super) const SECOND: (&str, &str) = ("authorization", "Bearer the-token-of-second");
pub(super) const METRICS: (&str, &str) = ("authorization", "Bearer the-token-of-metrics");

/// A record of an employee, or of nobody.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) source: usize,
    pub(super) who: usize,
    pub(super) priority: usize,
    pub(super) second: u32,
}

impl Record {
    pub(super) fn is_own(&self) -> bool {
        self.who == 0
    }

    fn json(&self, index: usize) -> String {
        let identity = match (EMPLOYEES.get(self.who), self.source) {
            (None, 1) => r#""ip":"10.9.9.9""#.to_owned(),
            (None, _) => r#""employee_id":null"#.to_owned(),
            (Some(_), 1) => format!(r#""ip":"10.0.0.{}""#, self.who),
            (Some((id, _)), _) => format!(r#""employee_id":"{id}""#),
        };
        let (priority, second) = (PRIORITIES[self.priority], self.second);
        let of = if self.is_own() { "own" } else { "foreign" };
        let marker = format!("{of}-note-{index}");
        format!(r#"{{{identity},"priority":"{priority}","timestamp":{second},"note":"{marker}"}}"#)
    }
}

pub(super) fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (0..SOURCES.len(), 0..=NOBODY, 0..PRIORITIES.len(), 0..40_u32);
    prop::collection::vec(
        record.prop_map(|(source, who, priority, second)| Record { source, who, priority, second }),
        0..24,
    )
}

/// Two records of each employee and of nobody in each source.
pub(super) fn some_of_each() -> Vec<Record> {
    let of = |index: usize| Record {
        source: index % SOURCES.len(),
        who: index / SOURCES.len() % (NOBODY + 1),
        priority: index % PRIORITIES.len(),
        second: u32::try_from(index).unwrap(),
    };
    (0..2 * SOURCES.len() * (NOBODY + 1)).map(of).collect()
}

pub(super) fn configuration() -> Config {
    let text = "upstream: { base_url: \"http://127.0.0.1:1\" }
identities:
  - { path: /people, employee: employee, ip: ip, name: name }
sources:
  - { name: misuse, path: /misuse, identity: employee_id }
  - { name: probing, path: /probing, identity: ip }
  - { name: other, path: /other, identity: employee_id }
";
    let config = config::from_yaml("test.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let own = format!("self={OWN}");
    let second = format!("self={}", EMPLOYEES[1].0);
    let sign_in = tokens::sign_in(&[
        ("the-token-of-all", "all"),
        ("the-token-of-own", &own),
        ("the-token-of-second", &second),
        ("the-token-of-metrics", "metrics"),
    ]);
    Config { sign_in, ..config }
}

/// Publishes those of the records that are kept.
pub(super) fn publish(
    gateway: &SnapshotGateway,
    records: &[Record],
    is_kept: impl Fn(&Record) -> bool,
) {
    let people: Vec<String> = EMPLOYEES
        .iter()
        .enumerate()
        .map(|(who, (id, name))| {
            format!(r#"{{"employee":"{id}","ip":"10.0.0.{who}","name":"{name}"}}"#)
        })
        .collect();
    let people = format!(r#"{{"results":[{}]}}"#, people.join(","));
    let bodies: Vec<String> = (0..SOURCES.len())
        .map(|source| {
            let kept = records
                .iter()
                .enumerate()
                .filter(|(_, record)| record.source == source && is_kept(record));
            let list: Vec<String> = kept.map(|(index, record)| record.json(index)).collect();
            format!(r#"{{"results":[{}]}}"#, list.join(","))
        })
        .collect();
    gateway.publish(Some(&people), bodies.iter().map(|body| Some(body.as_str())).collect());
}

/// A gateway with those of the records that are kept.
pub(super) fn gateway(records: &[Record], is_kept: impl Fn(&Record) -> bool) -> SnapshotGateway {
    let gateway = SnapshotGateway::configured(configuration());
    publish(&gateway, records, is_kept);
    gateway
}
