//! What is left out, route by route, and that answers for others are never served from a cache.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use incident_gateway::config::Config;
use incident_gateway::forward::{ForwardState, ForwardStatus};
use incident_gateway::outcome::Outcome;
use incident_gateway::snapshot::SourceError;
use serde_json::{Value, json};

use super::data::{ALL, METRICS, OWN, SECOND, SELF, configuration, gateway, some_of_each};
use crate::support::client::{Answer, Client};
use crate::support::gateway::{self, good_upstream, quick};
use crate::support::snapshot_gateway::SnapshotGateway;
use crate::support::tokens;

const BROWSER: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A gateway in which every source has something that its data was noticed for.
fn noticed() -> SnapshotGateway {
    let gateway = gateway(&some_of_each(), |_| true);
    gateway.publish_states(|source| {
        source.unmapped = [("URGENT".to_owned(), 3)].into();
        source.truncated = true;
        (source.duplicates, source.conflicts, source.pages) = (7, 8, 9);
        source.consecutive_failures = 1;
        source.last_error =
            Some(SourceError { kind: Outcome::Decode, detail: "it ends at byte 1234".to_owned() });
    });
    gateway
}

#[tokio::test(start_paused = true)]
async fn sources_are_told_without_what_tells_of_records() {
    let gateway = noticed();
    let all = gateway.get_with("/sources", &[ALL]).await.json();
    let own = gateway.get_with("/sources", &[SELF]).await.json();
    assert_eq!(keys(&all), keys(&own));
    for (all, own) in
        all["sources"].as_array().unwrap().iter().zip(own["sources"].as_array().unwrap())
    {
        let left_out: BTreeSet<&str> = keys(all).difference(&keys(own)).copied().collect();
        let expected: &[&str] = if all["name"] == "/people" || all["conflicts"] == 8 {
            &["bytes", "conflicts", "pages", "records"]
        } else {
            &["bytes", "duplicates", "pages", "records", "unmapped"]
        };
        assert_eq!(left_out, expected.iter().copied().collect());
        assert!(keys(own).is_subset(&keys(all)));
        assert_eq!(all["last_error"], "decode: it ends at byte 1234");
        assert_eq!(own["last_error"], "decode");
    }
}

#[tokio::test(start_paused = true)]
async fn of_forwards_only_names_and_states_are_told() {
    let gateway = gateway(&some_of_each(), |_| true);
    let siem = ForwardStatus {
        name: "siem".to_owned(),
        state: ForwardState::Retrying,
        lag: Some(7),
        sent: 3,
        dead_letters: 2,
        last_error: Some("status 400: the record of emp-second".to_owned()),
    };
    gateway.forwards.send_replace(Arc::new([siem]));
    let all = gateway.get_with("/sources", &[ALL]).await.json();
    assert_eq!((&all["forwards"][0]["lag"], &all["forwards"][0]["sent"]), (&7.into(), &3.into()));
    let own = gateway.get_with("/sources", &[SELF]).await.json();
    assert_eq!(own["forwards"], json!([{"name": "siem", "state": "retrying"}]));
}

#[tokio::test(start_paused = true)]
async fn the_summary_has_one_employee_and_no_unattributed_records() {
    let gateway = gateway(&some_of_each(), |_| true);
    let all = gateway.get_with("/summary", &[ALL]).await.json();
    let own = gateway.get_with("/summary", &[SELF]).await.json();
    let left_out: BTreeSet<&str> = keys(&all).difference(&keys(&own)).copied().collect();
    assert_eq!(left_out, BTreeSet::from(["unattributed"]));
    assert_eq!((&all["unattributed"], &all["total"]["count"]), (&6.into(), &24.into()));
    assert_eq!((&own["total"]["count"], &own["employees"]["count"]), (&6.into(), &1.into()));
    assert_eq!(own["employees"]["top"].as_array().unwrap().len(), 1);
    assert_eq!(own["employees"]["top"][0]["employee_id"], OWN);
    assert_eq!(own["employees"]["top"][0]["name"], "Ann Own-Name");
}

#[tokio::test(start_paused = true)]
async fn headers_of_all_answers_have_no_counts() {
    let everything = gateway(&some_of_each(), |_| true);
    let nothing_of_own = gateway(&some_of_each(), |record| !record.is_own());
    let empty = SnapshotGateway::configured(configuration());
    empty.publish_states(|source| source.was_attempted = true);
    let partial = gateway(&some_of_each(), |_| true);
    partial.publish_states(|source| {
        if &*source.name == "other" {
            source.fetched_at = None;
        }
    });
    let own = format!("/incidents/{OWN}");
    let cases: [(&SnapshotGateway, &str, u16); 12] = [
        (&everything, "/incidents", 200),
        (&everything, "/summary", 200),
        (&everything, &own, 200),
        (&everything, "/", 200),
        (&everything, &format!("/employees/{OWN}"), 200),
        (&nothing_of_own, &own, 404),
        (&nothing_of_own, &format!("/employees/{OWN}"), 404),
        (&nothing_of_own, "/incidents", 200),
        (&empty, "/incidents", 503),
        (&empty, "/summary", 503),
        (&partial, "/incidents?complete=true", 503),
        (&partial, "/incidents", 200),
    ];
    for (gateway, path, status) in cases {
        let all = gateway.get_with(path, &[ALL]).await;
        let reply = gateway.get_with(path, &[SELF]).await;
        assert_eq!((all.status.as_u16(), reply.status.as_u16()), (status, status), "{path}");
        assert!(all.headers.contains_key("incident-unattributed"), "{path}");
        assert!(!reply.headers.contains_key("incident-unattributed"), "{path}");
        assert_eq!(all.header("incident-completeness"), reply.header("incident-completeness"));
        let (all, own) = (all.header("incident-sources"), reply.header("incident-sources"));
        assert_eq!(without_records(all), own, "{path}");
        assert!(own.contains("state="), "{path}: {own}");
        assert!(reply.header("cache-control").contains("private") || status != 200, "{path}");
        let vary = reply.header("vary").to_ascii_lowercase();
        assert!(vary.split(", ").any(|name| name == "authorization"), "{path}: {vary}");
        let head = gateway.ask(Method::HEAD, path, &[SELF]).await;
        assert_eq!(head.status().as_u16(), status);
        assert!(!head.headers().contains_key("incident-unattributed"), "HEAD {path}");
        assert!(!head.headers()["incident-sources"].to_str().unwrap().contains("records="));
    }
}

fn without_records(sources: &str) -> String {
    let items = sources.split(", ").map(|item| {
        let parameters = item.split(';').filter(|parameter| !parameter.starts_with("records="));
        parameters.collect::<Vec<_>>().join(";")
    });
    items.collect::<Vec<_>>().join(", ")
}

#[tokio::test(start_paused = true)]
async fn an_employee_without_incidents_gets_the_answers_of_an_unknown_one() {
    let gateway = gateway(&some_of_each(), |record| !record.is_own());
    let reply = gateway.get_with(&format!("/incidents/{OWN}"), &[SELF]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.json()["type"], "urn:incident-gateway:problem:unknown-employee");
    assert_eq!(gateway.get_with("/incidents", &[SELF]).await.text(), "{}");
    let page = gateway.get_with("/", &[SELF, BROWSER]).await;
    assert!(page.text().contains("No incidents."), "{}", page.text());
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_employee_and_only_links_that_work() {
    let gateway = noticed();
    let all = gateway.get_with("/", &[ALL, BROWSER]).await;
    for only_all in ["Unattributed", ">Records<", "name=\"employee_id\"", "URGENT", "two employees"]
    {
        assert!(all.text().contains(only_all), "{only_all}");
    }
    let other_of_own = format!("/employees/{OWN}?priority=low");
    for path in ["/", "/?priority=low&employee_id=&since=&until=", &other_of_own] {
        let page = gateway.get_with(path, &[SELF, BROWSER]).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let text = page.text();
        for missing in
            ["nattributed", ">Records<", "name=\"employee_id\"", "URGENT", "two employees"]
        {
            assert!(!text.contains(missing), "{path} has {missing}: {text}");
        }
        if path.starts_with("/?") {
            assert!(text.contains("it has more records than it sends"));
        }
        let base = reqwest::Url::parse("http://test").unwrap().join(path).unwrap();
        let links: BTreeSet<String> = text
            .split(&[' ', '\n'][..])
            .filter_map(|word| word.strip_prefix("href=\"")?.split('"').next())
            .map(|link| base.join(&link.replace("&#38;", "&")).unwrap())
            .map(|link| match link.query() {
                Some(query) => format!("{}?{query}", link.path()),
                None => link.path().to_owned(),
            })
            .collect();
        assert!(links.len() > 10, "{links:?}");
        for link in links {
            let linked = gateway.get_with(&link, &[SELF, BROWSER]).await;
            assert_eq!(linked.status, StatusCode::OK, "{path} links {link}");
        }
        // Only a filter that the caller chose can be dropped.
        let is_filtered = text.contains("show all");
        assert_eq!(is_filtered, path.contains("priority"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_without_incidents_gets_none() {
    let gateway = gateway(&some_of_each(), |_| true);
    for path in [
        "/incidents",
        "/incidents/emp-own",
        "/unattributed",
        "/summary",
        "/history",
        "/history/summary",
        "/sources",
        "/events",
        "/",
        "/employees/emp-own",
        "/openapi.json",
        "/assets/page.css",
        "/nowhere",
    ] {
        let reply = gateway.get_with(path, &[METRICS, BROWSER]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
        assert!(!reply.headers.contains_key("incident-sources"), "{path}");
        let problem = reply.json();
        assert_eq!(problem["type"], "urn:incident-gateway:problem:forbidden");
        assert_eq!(problem.get("sources"), None, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_see_only_the_callers_own_answer() {
    let gateway = gateway(&some_of_each(), |_| true);
    for path in ["/incidents", "/summary", "/"] {
        let all = gateway.get_with(path, &[ALL]).await.header("etag").to_owned();
        let own = gateway.get_with(path, &[SELF]).await.header("etag").to_owned();
        let second = gateway.get_with(path, &[SECOND]).await.header("etag").to_owned();
        assert!(all != own && own != second && all != second, "{path}");
        for (name, tag, expected) in [
            ("if-none-match", &*all, 200),
            ("if-none-match", &*second, 200),
            ("if-none-match", &*own, 304),
            ("if-none-match", "*", 304),
            ("if-match", &*all, 412),
            ("if-match", &*second, 412),
            ("if-match", &*own, 200),
            ("if-match", "*", 200),
        ] {
            let reply = gateway.get_with(path, &[SELF, (name, tag)]).await;
            assert_eq!(reply.status.as_u16(), expected, "{path} {name}: {tag}");
        }
    }
    let all = gateway.get_with("/unattributed", &[ALL]).await.header("etag").to_owned();
    for tag in [&*all, "*"] {
        let reply = gateway.get_with("/unattributed", &[SELF, ("if-none-match", tag)]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{tag}");
    }
}

/// Alternates callers over one connection and over new ones, so that each gets what is cached for
/// the others, if anything is.
#[tokio::test]
async fn callers_on_one_connection_get_each_their_own() {
    let upstream = good_upstream().await;
    let config = Config {
        sign_in: tokens::sign_in(&[("all", "all"), ("own", "self=100"), ("other", "self=200")]),
        ..quick(&upstream.base_url())
    };
    let gateway = gateway::Gateway::start(&config);
    let address = gateway.running.address;
    let ask = async |client: &mut Client, path: &str, token: &str, accept: &str| {
        let authorization = tokens::bearer(token);
        let headers = [("authorization", &*authorization), ("accept", accept)];
        client.get(path, &headers).await.unwrap()
    };
    let mut shared = Client::connect(address).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while ask(&mut shared, "/incidents", "all", "*/*").await.header("incident-completeness")
        != "complete"
    {
        assert!(tokio::time::Instant::now() < deadline, "never complete");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = |answer: &Answer| String::from_utf8(answer.body.clone()).unwrap();
    for _ in 0..3 {
        for (path, accept) in [
            ("/incidents", "application/json"),
            ("/incidents", "application/x-ndjson"),
            ("/incidents", "text/csv"),
            ("/incidents?priority=low", "application/json"),
            ("/summary", "application/json"),
            ("/", "text/html"),
        ] {
            let all = text(&ask(&mut shared, path, "all", accept).await);
            for (token, other) in [("own", "200"), ("other", "100"), ("own", "200")] {
                let mut new = Client::connect(address).await.unwrap();
                for client in [&mut shared, &mut new] {
                    let answer = ask(client, path, token, accept).await;
                    assert_eq!(answer.status, 200, "{path} {accept}");
                    assert!(text(&answer) != all, "{path} {accept}");
                    let spellings = if accept == "text/html" {
                        vec![format!("employees/{other}")]
                    } else {
                        vec![format!("\"{other}\""), format!(":{other},"), format!(",{other},")]
                    };
                    for spelling in spellings {
                        assert!(!text(&answer).contains(&spelling), "{path} {accept} {spelling}");
                    }
                    assert_eq!(answer.header("incident-unattributed"), "");
                }
            }
            assert_eq!(text(&ask(&mut shared, path, "all", accept).await).len(), all.len());
        }
        for (path, token) in [
            ("/unattributed", "own"),
            ("/incidents/200", "own"),
            ("/incidents/100", "other"),
            ("/incidents/999", "own"),
            ("/employees/200", "own"),
            ("/incidents?employee_id=100,200", "own"),
        ] {
            assert_eq!(
                ask(&mut shared, path, "all", "*/*").await.status / 100,
                if path.contains("999") { 4 } else { 2 }
            );
            let refused = ask(&mut shared, path, token, "*/*").await;
            assert_eq!((refused.status, &*refused.problem()), (403, "forbidden"), "{path}");
        }
    }
}
