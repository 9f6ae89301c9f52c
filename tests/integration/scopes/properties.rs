//! For any records and any queries, a caller who may see one employee alone gets what one who may
//! see everything gets for that employee, and what a gateway without any other record would give.

use http::StatusCode;
use proptest::prelude::*;
use serde_json::Value;

use super::data::{
    ALL, EMPLOYEES, OWN, PRIORITIES, Record, SELF, SOURCES, gateway, records, some_of_each,
};
use crate::support::snapshot_gateway::{Reply, SnapshotGateway};

/// Each asks for another format of the same route.
const ACCEPTS: [&str; 4] = ["application/json", "application/x-ndjson", "text/csv", "text/html"];

/// Conditions of a filter, without those on employees.
fn queries() -> impl Strategy<Value = String> {
    let list = |key: &'static str, of: &'static [&'static str]| {
        prop::option::of(prop::sample::subsequence(of, 1..=of.len()))
            .prop_map(move |values| values.map(|values| format!("{key}={}", values.join(","))))
    };
    let time = |key: &'static str| {
        prop::option::of(0..40_u32).prop_map(move |at| at.map(|at| format!("{key}={at}")))
    };
    (list("type", &SOURCES), list("priority", &PRIORITIES), time("since"), time("until")).prop_map(
        |(types, priorities, since, until)| {
            let conditions = [types, priorities, since, until];
            conditions.into_iter().flatten().collect::<Vec<_>>().join("&")
        },
    )
}

/// Asks with fixed ids and a new connection.
async fn ask(gateway: &SnapshotGateway, path: &str, headers: &[(&str, &str)]) -> Reply {
    let fixed = [("x-request-id", "fixed")];
    gateway.get_with(path, &[headers, &fixed].concat()).await
}

/// Everything of a reply that may depend on the data.
fn observed(reply: &Reply) -> (StatusCode, Vec<(String, String)>, String) {
    let headers = reply.headers.iter().filter(|(name, _)| *name != "traceparent");
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    let mut headers: Vec<(String, String)> = headers.collect();
    let text = reply.text();
    let text = match serde_json::from_str::<Value>(text) {
        // The times of calls, which the test makes at once.
        Ok(mut document) if text.starts_with("{\"completeness\"") => {
            for source in document["sources"].as_array_mut().unwrap() {
                for key in ["last_success", "last_attempt", "next_attempt"] {
                    source[key] = Value::Null;
                }
            }
            document.to_string()
        }
        _ => without_examples(text),
    };
    if reply.header("content-type").starts_with("text/html") {
        // It depends on the examples.
        headers.retain(|(name, _)| name != "etag");
    }
    (reply.status, headers, text)
}

/// The text without the times in the form that depend on the present hour.
fn without_examples(text: &str) -> String {
    let mut parts = text.split("placeholder=\"");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rest += part.split_once('"').map_or(part, |(_, rest)| rest);
    }
    rest
}

/// Asserts that the reply has nothing of another employee, and no count that tells of one.
fn assert_has_nothing_of_others(path: &str, reply: &Reply) {
    let headers = format!("{:?}", reply.headers);
    let whole = format!("{headers}\n{}", String::from_utf8_lossy(&reply.body));
    let ids = EMPLOYEES[1..].iter().flat_map(|(id, name)| [*id, *name]);
    for foreign in ids.chain(["foreign-note"]) {
        assert!(!whole.contains(foreign), "{path} has {foreign}: {whole}");
    }
    for count in ["records=", "incident-unattributed"] {
        assert!(!headers.contains(count), "{path} has {count}: {headers}");
    }
}

/// Every route with this query, and whether it is beyond the scope.
fn routes(query: &str) -> Vec<(String, bool)> {
    let mut routes = Vec::new();
    let mut add = |path: &str, query: &str, is_forbidden: bool| {
        let separator = if path.contains('?') { "&" } else { "?" };
        let query = if query.is_empty() { String::new() } else { format!("{separator}{query}") };
        routes.push((format!("{path}{query}"), is_forbidden));
    };
    for path in ["/incidents", "/summary", "/"] {
        add(path, query, false);
        add(&format!("{path}?employee_id={OWN}"), query, false);
        add(&format!("{path}?employee_id=emp-second"), query, true);
        add(&format!("{path}?employee_id={OWN},EMP-OWN"), query, true);
        add(&format!("{path}?employee_id=nobody"), query, true);
    }
    for base in ["/incidents", "/employees"] {
        add(&format!("{base}/{OWN}"), query, false);
        for other in ["emp-second", "emp%20third%2F%2C%C3%A9", "EMP-OWN", "nobody"] {
            add(&format!("{base}/{other}"), query, true);
        }
    }
    add(&format!("/employees/?employee_id={OWN}"), query, false);
    add("/employees/?employee_id=emp%20third%2F%2C%C3%A9", query, true);
    add("/unattributed", "", true);
    for path in ["/sources", "/openapi.json", "/assets/page.css", "/nowhere", "/assets/nothing"] {
        add(path, "", false);
    }
    add("/incidents", "complete=true", false);
    add("/", "page=2", false);
    add("/incidents", "since=never", false);
    routes
}

async fn check(records: &[Record], query: &str) {
    let whole = gateway(records, |_| true);
    let own = gateway(records, Record::is_own);
    for (path, is_forbidden) in routes(query) {
        for accept in ACCEPTS {
            // The answer to the other caller is cached first.
            let all = ask(&whole, &path, &[ALL, ("accept", accept)]).await;
            let reply = ask(&whole, &path, &[SELF, ("accept", accept)]).await;
            assert_has_nothing_of_others(&path, &reply);
            let is_refused = reply.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, is_forbidden, "{path}: {}", reply.status);
            let alone = ask(&own, &path, &[SELF, ("accept", accept)]).await;
            assert_eq!(observed(&reply), observed(&alone), "{path} {accept}");
            if all.headers.contains_key("etag") {
                let conditions = [SELF, ("accept", accept), ("if-none-match", all.header("etag"))];
                let again = ask(&whole, &path, &conditions).await;
                assert_has_nothing_of_others(&path, &again);
                let is_same = all.header("etag") == reply.header("etag");
                assert_eq!(again.status == StatusCode::NOT_MODIFIED, is_same, "{path}");
                assert!(!is_same || all.body == reply.body);
            }
        }
    }
    check_bodies(&whole, query).await;
}

/// Compares bodies with those of a caller who may see everything and asks for that employee.
async fn check_bodies(gateway: &SnapshotGateway, query: &str) {
    let filtered = format!("employee_id={OWN}&{query}");
    for coding in ["identity", "gzip", "zstd"] {
        for accept in &ACCEPTS[..3] {
            let ask = async |query: &str, caller| {
                let headers = [caller, ("accept", *accept), ("accept-encoding", coding)];
                ask(gateway, &format!("/incidents?{query}"), &headers).await
            };
            let (all, reply) = (ask(&filtered, ALL).await, ask(query, SELF).await);
            assert_eq!(all.body, reply.body, "{query} {accept} {coding}");
            assert_eq!(all.header("etag"), reply.header("etag"));
            assert_eq!(all.header("content-encoding"), reply.header("content-encoding"));
        }
        let path = format!("/incidents/{OWN}?{query}");
        let coding = ("accept-encoding", coding);
        let all = ask(gateway, &path, &[ALL, coding]).await;
        let reply = ask(gateway, &path, &[SELF, coding]).await;
        assert_eq!((all.status, all.body), (reply.status, reply.body), "{path} {coding:?}");
    }
    let all = ask(gateway, &format!("/summary?{filtered}"), &[ALL]).await;
    let reply = ask(gateway, &format!("/summary?{query}"), &[SELF]).await;
    let text = all.text();
    let count = text.split("\"unattributed\":").nth(1).unwrap().split(',').next().unwrap();
    let expected = text.replace(&format!("\"unattributed\":{count},"), "");
    assert_eq!(expected, reply.text(), "{query}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_employee_sees_nothing_but_their_own(records in records(), query in queries()) {
        super::run(check(&records, &query));
    }
}

#[test]
fn one_employee_among_some_of_each_sees_nothing_but_their_own() {
    for query in ["", "priority=high,low", "type=probing", "since=10&until=20"] {
        super::run(check(&some_of_each(), query));
    }
}
