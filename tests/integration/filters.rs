//! Filters and the summary against a reference that looks at every record, one by one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::StatusCode;
use incident_gateway::config::Config;
use incident_gateway::credentials::Scope;
use incident_gateway::http::{AllowedKeys, Query};
use incident_gateway::render;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::snapshot_gateway::SnapshotGateway;

const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];
const EMPLOYEES: [&str; 6] = ["-3", "7", "12", "100", "alice", "zoë,1"];

/// A record, and where it stands among all.
#[derive(Clone, Debug)]
struct Record {
    source: usize,
    employee: usize,
    priority: usize,
    /// In halves of a second.
    halves: i32,
}

impl Record {
    fn timestamp(&self) -> f64 {
        f64::from(self.halves) / 2.0
    }

    fn members(&self, config: &Config) -> String {
        let field = &config.sources[self.source].identity[0].at[0];
        let (id, priority) = (EMPLOYEES[self.employee], PRIORITIES[self.priority]);
        format!(r#""{field}":"{id}","priority":"{priority}","timestamp":{}"#, self.timestamp())
    }
}

#[derive(Clone, Debug, Default)]
struct Wanted {
    employees: Option<Vec<usize>>,
    sources: Option<Vec<usize>>,
    priorities: Option<Vec<usize>>,
    since: Option<i32>,
    until: Option<i32>,
}

impl Wanted {
    fn wants(&self, record: &Record) -> bool {
        let among = |list: &Option<Vec<usize>>, value| {
            list.as_ref().is_none_or(|list| list.contains(&value))
        };
        among(&self.employees, record.employee)
            && among(&self.sources, record.source)
            && among(&self.priorities, record.priority)
            && self.since.is_none_or(|since| record.halves >= since)
            && self.until.is_none_or(|until| record.halves < until)
    }

    /// The query, half of the lists spelled with commas and half by repeating the key.
    fn query(&self, config: &Config) -> String {
        let mut query = String::new();
        let mut list = |key: &str, values: Option<Vec<String>>| {
            for value in values.into_iter().flatten() {
                write!(query, "&{key}={}", value.replace(',', "%2C").replace('ë', "%C3%AB"))
                    .unwrap();
            }
        };
        list(
            "type",
            self.sources.as_ref().map(|list| {
                vec![names(list, |index| config.sources[index].name.clone()).join(",")]
            }),
        );
        list(
            "priority",
            self.priorities.as_ref().map(|list| names(list, |index| PRIORITIES[index].to_owned())),
        );
        // An id with a comma in it cannot be asked for by query.
        list(
            "employee_id",
            self.employees.as_ref().map(|list| names(list, |index| EMPLOYEES[index].to_owned())),
        );
        for (key, halves) in [("since", self.since), ("until", self.until)] {
            if let Some(halves) = halves {
                let seconds = f64::from(halves) / 2.0;
                if halves % 3 == 0 && halves >= 0 {
                    write!(query, "&{key}=1970-01-01T00:00:{seconds:04.1}Z").unwrap();
                } else {
                    write!(query, "&{key}={seconds}").unwrap();
                }
            }
        }
        query.trim_start_matches('&').to_owned()
    }
}

fn names(list: &[usize], name: impl Fn(usize) -> String) -> Vec<String> {
    list.iter().map(|&index| name(index)).collect()
}

/// The documents of `/incidents` and `/summary`.
fn reference(config: &Config, records: &[Record], wanted: &Wanted) -> (String, Value) {
    let mut kept: Vec<&Record> = records.iter().filter(|record| wanted.wants(record)).collect();
    kept.sort_by_key(|record| (record.halves, record.source));
    let mut out = String::from("{");
    for (employee, id) in EMPLOYEES.iter().enumerate() {
        if !kept.iter().any(|record| record.employee == employee) {
            continue;
        }
        let groups = PRIORITIES.iter().enumerate().map(|(priority, name)| {
            let group = kept
                .iter()
                .filter(|record| record.employee == employee && record.priority == priority);
            let group: Vec<String> = group
                .map(|record| {
                    format!(
                        r#"{{"type":"{}",{}}}"#,
                        config.sources[record.source].name,
                        record.members(config)
                    )
                })
                .collect();
            format!(r#""{name}":{{"count":{},"incidents":[{}]}}"#, group.len(), group.join(","))
        });
        let groups: Vec<String> = groups.collect();
        let comma = if out.len() > 1 { "," } else { "" };
        write!(out, "{comma}\"{id}\":{{{}}}", groups.join(",")).unwrap();
    }
    out.push('}');
    let tally = |test: &dyn Fn(&Record) -> bool| {
        let times: Vec<f64> =
            kept.iter().filter(|record| test(record)).map(|record| record.timestamp()).collect();
        json!({"count": times.len(), "earliest": times.first(), "latest": times.last()})
    };
    let by_priority = |test: &dyn Fn(&Record) -> bool| -> Value {
        let tallies = PRIORITIES.iter().enumerate().map(|(priority, name)| {
            ((*name).to_owned(), tally(&|record| record.priority == priority && test(record)))
        });
        Value::Object(tallies.collect())
    };
    let types =
        || config.sources.iter().enumerate().map(|(index, source)| (index, source.name.clone()));
    let mut busy: Vec<(usize, Vec<usize>, f64)> = (0..EMPLOYEES.len())
        .filter_map(|employee| {
            let own: Vec<_> = kept.iter().filter(|record| record.employee == employee).collect();
            let counts = (0..4)
                .map(|priority| own.iter().filter(|record| record.priority == priority).count());
            Some((employee, counts.collect(), own.last()?.timestamp()))
        })
        .collect();
    let employees = busy.len();
    busy.sort_by_key(|(employee, counts, _)| {
        (
            -i64::try_from(counts.iter().sum::<usize>()).unwrap(),
            -i64::try_from(counts[3]).unwrap(),
            *employee,
        )
    });
    let top = busy.iter().map(|(employee, counts, latest)| {
        json!({"employee_id": EMPLOYEES[*employee], "count": counts.iter().sum::<usize>(), "low": counts[0],
               "medium": counts[1], "high": counts[2], "critical": counts[3], "latest": latest})
    });
    let summary = json!({
        "total": tally(&|_| true),
        "unattributed": 1,
        "by_type": types().map(|(index, name)| (name, tally(&|record| record.source == index))).collect::<BTreeMap<_, _>>(),
        "by_priority": by_priority(&|_| true),
        "by_type_and_priority":
            types().map(|(index, name)| (name, by_priority(&|record| record.source == index))).collect::<BTreeMap<_, _>>(),
        "employees": {"count": employees, "top": top.collect::<Vec<_>>()},
    });
    (out, summary)
}

fn record() -> impl Strategy<Value = Record> {
    (0..7_usize, 0..EMPLOYEES.len(), 0..4_usize, -6..40_i32).prop_map(
        |(source, employee, priority, halves)| Record { source, employee, priority, halves },
    )
}

fn some(count: usize) -> impl Strategy<Value = Option<Vec<usize>>> {
    prop::option::of(prop::collection::vec(0..count, 1..4))
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let time = || prop::option::of(-6..40_i32);
    // The last employee's id has a comma, which a query would split.
    (some(EMPLOYEES.len() - 1), some(7), some(4), time(), time()).prop_map(
        |(employees, sources, priorities, since, until)| Wanted {
            employees,
            sources,
            priorities,
            since,
            until,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn answers_are_those_of_the_reference(
        records in prop::collection::vec(record(), 0..60),
        wanted in wanted(),
    ) {
        let config = Config::default();
        let bodies: Vec<String> = (0..7).map(|source| {
            let own = records.iter().filter(|record| record.source == source);
            let own: Vec<String> = own.map(|record| format!("{{{}}}", record.members(&config))).collect();
            // One record that nobody can be found for.
            let extra = if source > 0 { "" } else if own.is_empty() { "null" } else { ",null" };
            format!(r#"{{"results":[{}{extra}]}}"#, own.join(","))
        }).collect();
        let bodies: Vec<Option<&str>> = bodies.iter().map(|body| Some(body.as_str())).collect();
        let view = crate::support::views::view(&config, 1, Some("{}"), &bodies);
        let query = wanted.query(&config);
        let query = Query::parse(Some(&query), AllowedKeys::All, view.names(), &Scope::All).unwrap();
        let (incidents, summary) = reference(&config, &records, &wanted);
        prop_assert_eq!(String::from_utf8(render::incidents(&view, &query.filter)).unwrap(), incidents);
        let given: Value = serde_json::from_slice(&render::summary(&view, &query.filter, true)).unwrap();
        prop_assert_eq!(given, summary);
        // An employee's own answer is that employee's part of the whole.
        for (rank, id) in EMPLOYEES.iter().enumerate() {
            let own = Wanted { employees: Some(vec![rank]), ..wanted.clone() };
            let (whole, _) = reference(&config, &records, &own);
            let Some(employee) = view.index().employee(id) else { continue };
            let filter = render::Filter { employees: None, ..query.filter.clone() };
            let given = String::from_utf8(render::employee(&view, &employee, &filter)).unwrap();
            let empty = r#"{"low":{"count":0,"incidents":[]},"medium":{"count":0,"incidents":[]},"high":{"count":0,"incidents":[]},"critical":{"count":0,"incidents":[]}}"#;
            let expected = whole.strip_prefix(&format!("{{\"{id}\":")).map_or(empty, |whole| &whole[..whole.len() - 1]);
            prop_assert_eq!(given, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_routes_filter_and_refuse() {
    let gateway = SnapshotGateway::with_fixtures();
    let whole = gateway.get("/summary").await.json();
    let critical = gateway.get("/summary?priority=critical").await.json();
    assert_eq!(critical["total"], whole["by_priority"]["critical"]);
    assert_eq!(
        critical["by_priority"]["low"],
        json!({"count": 0, "earliest": null, "latest": null})
    );
    let denial = gateway.get("/incidents?type=denial&priority=high,low").await.json();
    let count = |priority: &str| -> u64 {
        denial
            .as_object()
            .unwrap()
            .values()
            .map(|employee| employee[priority]["count"].as_u64().unwrap())
            .sum()
    };
    for priority in PRIORITIES {
        let expected = &whole["by_type_and_priority"]["denial"][priority]["count"];
        assert_eq!(
            count(priority),
            if priority == "low" || priority == "high" { expected.as_u64().unwrap() } else { 0 }
        );
    }
    assert_eq!(gateway.get("/incidents?employee_id=nobody").await.text(), "{}");
    assert_eq!(gateway.get("/incidents/nobody").await.status, StatusCode::NOT_FOUND);
    for path in [
        "/incidents?x=1",
        "/summary?since=NaN",
        "/incidents/1234?employee_id=1",
        "/summary?until=inf",
        "/incidents?priority=urgent",
    ] {
        let reply = gateway.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::BAD_REQUEST, "application/problem+json"),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_summary_has_the_headers_of_its_kin() {
    let gateway = SnapshotGateway::with_fixtures();
    let first = gateway.get("/summary?priority=high").await;
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("incident-completeness"), "complete");
    assert_eq!(first.header("cache-status"), "incident-gateway; hit; ttl=30");
    assert_eq!(first.header("vary"), "Accept-Encoding, Prefer");
    let etag = first.header("etag");
    let again = gateway.get_with("/summary?priority=high", &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let gzip = gateway.get_with("/summary?priority=high", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_ne!(gzip.header("etag"), etag);
    let partial = SnapshotGateway::new();
    partial.publish(None, vec![Some(r#"{"results":[]}"#), None, None, None, None, None, None]);
    assert_eq!(partial.get("/summary").await.header("incident-completeness"), "partial");
    let strict = partial.get_with("/summary", &[("prefer", "handling=strict")]).await;
    assert_eq!(strict.status, StatusCode::SERVICE_UNAVAILABLE);
}
