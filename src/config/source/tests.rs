use std::time::Duration;

use super::*;
use crate::config::{Config, from_yaml};
use crate::mapping::Priority;
use crate::request::{BodyTemplate, JsonTemplate, Target};

fn config(text: &str) -> Config {
    from_yaml("c.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The only source, with these keys beside its name and its identity.
fn source(keys: &str) -> Source {
    config(&format!("sources: [{{ name: s, identity: who, {keys} }}]")).sources.remove(0)
}

fn http(source: &Source) -> &HttpOrigin {
    match &source.origin {
        Origin::Http(http) => http,
        Origin::File(_) => panic!("{source:?}"),
    }
}

fn texts(parameters: &[(String, crate::request::Template)]) -> Vec<(&str, &str)> {
    parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

const MAPPED: &str = r#"
upstreams:
  okta: { base_url: "https://org.okta.example" }
  graph: { base_url: "https://graph.example" }
sources:
  - name: okta
    upstream: okta
    path: /api/v1/logs
    query: { since: "{since}", until: "{now}", limit: 1000, tag: [a, b] }
    headers: { Accept: application/json }
    window: 24h
    every: 5m
    incremental: { overlap: 10m, full_every: 24h }
    records: ""
    next: link
    max_pages: 1000
    id: /uuid
    priority:
      at: /severity
      values: { DEBUG: low, INFO: low, WARN: medium, ERROR: high }
      default: low
    timestamp: /published
    identity: [ { at: /actor/alternateId, as: email }, { at: /client/ipAddress, as: ip } ]
    title: /displayMessage
    url: /debug/url
    fail_if: [ /errors ]
  - { name: badge, file: /data/badge/*.csv, id: event, priority: { default: low },
      timestamp: { at: when, zone: Europe/Oslo }, identity: { at: badge_mail, as: email } }
identities:
  - { path: /identities/ }
  - { upstream: graph, path: /v1.0/users, records: /value, next: { url: /@odata.nextLink },
      employee: /employeeId, email: /mail, username: /samAccountName, name: /displayName }
  - { file: /etc/gateway/people.csv, employee: employee_id, email: email, hostname: host, ip: ip,
      name: name }
"#;

#[test]
fn every_key_of_a_source_is_read() {
    let config = config(MAPPED);
    let [okta, badge] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert!(okta.is_mapped() && badge.is_mapped());
    let endpoint = http(okta);
    assert_eq!((&*endpoint.upstream, &*endpoint.request.path), ("okta", "/api/v1/logs"));
    assert_eq!(
        texts(&endpoint.request.query),
        [("since", "{since}"), ("until", "{now}"), ("limit", "1000"), ("tag", "a"), ("tag", "b")]
    );
    assert_eq!(endpoint.request.headers[0].0, "accept");
    assert_eq!(endpoint.request.headers[0].1.as_str(), "application/json");
    assert_eq!(endpoint.request.body, None);
    assert_eq!(endpoint.window, Some(Duration::from_hours(24)));
    assert_eq!((&endpoint.next, endpoint.max_pages), (&Some(NextPage::Link), 1000));
    assert_eq!(endpoint.fail_if, [path("/errors")]);
    assert_eq!(okta.every, Some(Duration::from_mins(5)));
    assert_eq!(okta.incremental, Some(Incremental::default()));
    assert_eq!((okta.records.as_ref(), &okta.id), (Some(&path("")), &vec![path("/uuid")]));
    let priority = okta.priority.as_ref().unwrap();
    assert_eq!(
        (priority.at(), priority.default_priority()),
        (&[path("/severity")][..], Some(Priority::Low))
    );
    assert_eq!(priority.rule().as_values().unwrap()[3], ("ERROR".to_owned(), Priority::High));
    assert_eq!(okta.timestamp.as_ref().unwrap().at, [path("/published")]);
    let entry = |at, kind| IdentityEntry { at: vec![path(at)], kind: Some(kind) };
    assert_eq!(
        okta.identity,
        [
            entry("/actor/alternateId", IdentityKind::Email),
            entry("/client/ipAddress", IdentityKind::Ip)
        ]
    );
    assert_eq!(
        (&okta.title, &okta.url),
        (&vec![path("/displayMessage")], &vec![path("/debug/url")])
    );

    assert_eq!(badge.origin, Origin::File("/data/badge/*.csv".to_owned()));
    assert_eq!(badge.priority.as_ref().unwrap().at(), []);
    assert_eq!(badge.timestamp.as_ref().unwrap().rule.zone(), Some("Europe/Oslo"));
    assert_eq!(badge.identity.len(), 1);
}

#[test]
fn every_key_of_a_table_is_read() {
    let tables = config(MAPPED).identities;
    assert_eq!(tables.len(), 3);
    assert_eq!(tables[0], Table::addresses("/identities/"));
    let rows = tables[1].rows.as_ref().unwrap();
    assert_eq!(
        (rows.records.as_ref(), &rows.employee),
        (Some(&path("/value")), &vec![path("/employeeId")])
    );
    assert_eq!(
        rows.keys,
        [
            (IdentityKind::Email, vec![path("/mail")]),
            (IdentityKind::Username, vec![path("/samAccountName")])
        ]
    );
    assert_eq!(rows.name, [path("/displayName")]);
    let Origin::Http(users) = &tables[1].origin else { panic!("{:?}", tables[1]) };
    assert_eq!(users.next, Some(NextPage::Url(path("/@odata.nextLink"))));
    assert_eq!(tables[2].origin, Origin::File("/etc/gateway/people.csv".to_owned()));
    let kinds: Vec<_> =
        tables[2].rows.as_ref().unwrap().keys.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [IdentityKind::Email, IdentityKind::Hostname, IdentityKind::Ip]);

    assert!(config("identities: []").identities.is_empty());
    let users = config("identities: [{ path: /people.json, every: 1h }]").identities.remove(0);
    assert_eq!((users.every, users.rows), (Some(Duration::from_hours(1)), None));
}

#[test]
fn a_path_may_be_a_list_of_paths() {
    let text = "sources:
  - { name: s, identity: [{ at: [/mail, upn], as: email }, { at: [a, $.b] }, c], id: /id }
identities:
  - { path: /people, employee: [number, /id], email: [/mail, upn], ip: [$.ips], name: [a, b] }
";
    let config = config(text);
    let paths = |texts: &[&str]| texts.iter().map(|text| path(text)).collect::<Vec<_>>();
    let entry = |at: &[&str], kind| IdentityEntry { at: paths(at), kind };
    assert_eq!(
        config.sources[0].identity,
        [
            entry(&["/mail", "upn"], Some(IdentityKind::Email)),
            entry(&["a", "$.b"], None),
            entry(&["c"], None)
        ]
    );
    let rows = TableRows {
        records: None,
        employee: paths(&["number", "/id"]),
        keys: vec![
            (IdentityKind::Email, paths(&["/mail", "upn"])),
            (IdentityKind::Ip, paths(&["$.ips"])),
        ],
        name: paths(&["a", "b"]),
    };
    assert_eq!(config.identities[0].rows, Some(rows));
    let printed = config.to_yaml();
    for part in [
        "identity: [{ at: [/mail, upn], as: email }, { at: [a, \"$.b\"] }, c]",
        "employee: [number, /id], email: [/mail, upn], ip: \"$.ips\", name: [a, b] }",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
}

#[test]
fn a_source_that_maps_nothing_is_plain() {
    for identity in ["[ip, { at: id }]", "[{ at: [ip] }, id]"] {
        let text = format!("sources: [{{ name: phishing, identity: {identity} }}]");
        let plain = config(&text).sources.remove(0);
        assert_eq!(plain, Source::plain("phishing", "/incidents/phishing/", &["ip", "id"]));
    }
    for keys in ["query: { a: b }", "body: {}", "every: 1m", "next: link", "fail_if: /x"] {
        assert!(!source(keys).is_mapped(), "{keys}");
    }
    for keys in ["records: /results", "id: x", "priority: x", "timestamp: t", "title: x", "url: x"]
    {
        assert!(source(keys).is_mapped(), "{keys}");
    }
    assert!(config("sources: [{ name: s, identity: { at: a, as: auto } }]").sources[0].is_mapped());
    for file in ["x.json", "x.CSV.gz", "/data/*", "/data/**/x.ndjson", "/data/x.*", "/data/*.gz"] {
        let text = format!("sources: [{{ name: s, identity: a, file: '{file}' }}]");
        assert!(config(&text).sources[0].is_mapped(), "{file}");
    }
}

#[test]
fn a_body_keeps_its_order_and_what_yaml_says_its_values_are() {
    let body = r#"body: { z: 1, a: [true, null, ~, 1.50, 1e3, -0], b: "1", c: 'true', d: 12:30,
        e: 1_000, f: "{since:unix}", g: { h: yes }, i: inf, j: 1., k: '', l: False } "#;
    let source = source(&body.replace("j: 1., ", ""));
    let Some(BodyTemplate::Json(JsonTemplate::Object(members))) = &http(&source).request.body
    else {
        panic!("{source:?}")
    };
    let shown: Vec<String> =
        members.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
    assert_eq!(
        shown,
        [
            "z=1",
            "a=[true,null,null,1.50,1e3,-0]",
            "b='1'",
            "c='true'",
            "d='12:30'",
            "e='1_000'",
            "f='{since:unix}'",
            "g={h='yes'}",
            "i='inf'",
            "k=''",
            "l=false"
        ]
    );
    let refused = from_yaml("c", "sources: [{ name: s, identity: a, body: { j: 1. } }]");
    assert!(refused.unwrap_err().to_string().contains("`1.` is a number in YAML"));
}

fn show(json: &JsonTemplate) -> String {
    match json {
        JsonTemplate::Literal(spelled) => spelled.clone(),
        JsonTemplate::String(template) => format!("'{}'", template.as_str()),
        JsonTemplate::Array(elements) => {
            format!("[{}]", elements.iter().map(show).collect::<Vec<_>>().join(","))
        }
        JsonTemplate::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}={}", show(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn the_place_of_an_offset_follows_the_request() {
    let target = |keys: &str| match http(&source(keys)).next.clone() {
        Some(NextPage::Offset { at, .. } | NextPage::Number { at, .. }) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(target("next: { offset: skip, size: 10 }"), Target::Query("skip".to_owned()));
    assert_eq!(target("form: {}, next: { page: p }"), Target::Form("p".to_owned()));
    assert_eq!(target("body: {}, next: { page: p }"), Target::Query("p".to_owned()));
    let Target::Body(pointer) = target("body: { a: [] }, next: { offset: /a/0/b, size: 1 }") else {
        panic!("not in the body")
    };
    assert_eq!(pointer.as_str(), "/a/0/b");
    let number = http(&source("next: { page: p, first: 0, size: 5, more: /more }")).next.clone();
    let more = Some(path("/more"));
    let at = Target::Query("p".to_owned());
    assert_eq!(number, Some(NextPage::Number { at, first: 0, size: Some(5), more }));
}

#[test]
fn identities_default_to_addresses_only_for_the_default_upstream() {
    let okta = "upstreams: { okta: { base_url: 'http://h' } }\n";
    let on = |upstream: &str| {
        format!("{okta}sources: [{{ name: s, upstream: {upstream}, identity: a }}]\n")
    };
    assert_eq!(config(&on("default")).identities, [Table::addresses("/identities/")]);
    assert_eq!(config(&on("okta")).identities, []);
    for empty in ["identities:", "identities: {}"] {
        assert_eq!(config(&format!("{}{empty}", on("okta"))).identities, [], "{empty}");
        assert_eq!(config(&format!("{}{empty}", on("default"))).identities.len(), 1, "{empty}");
    }
    let files = "sources: [{ name: s, file: x.json, identity: a }]\n";
    assert_eq!(config(files).identities, []);
    assert_eq!(
        config(&format!("{files}identities: {{ path: /x }}")).identities,
        [Table::addresses("/x")]
    );
}
