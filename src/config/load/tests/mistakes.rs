//! Every mistake in upstreams, sources, tables and forwards, and what it is answered.

use super::*;

/// Configuration files of one line, each with its errors.
const MISTAKES: &str = include_str!("mistakes.txt");

#[test]
fn every_mistake_is_named_with_its_place_and_its_remedy() {
    let mut lines =
        MISTAKES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    let mut tried = 0;
    while let Some(text) = lines.next() {
        let mut expected = Vec::new();
        while let Some(message) = lines.next_if(|line| line.starts_with(' ')) {
            expected.push(format!("c.yaml:{}", message.trim_start()));
        }
        let Err(errors) = from_yaml("c.yaml", text) else { panic!("accepted: {text}") };
        let messages: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected, "{text}");
        assert!(!format!("{errors:?}").contains("hunter2"), "{text}");
        tried += 1;
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn the_remedies_in_messages_work() {
    for text in [
        "sources: [{ name: s, identity: { at: /actor, as: auto } }]",
        "sources: [{ name: s, identity: who, next: { cursor: /meta/next, query: cursor } }]",
        "sources: [{ name: s, identity: who, query: { since: \"{since}\", limit: 1000 } }]",
        "sources: [{ name: s, identity: who, timestamp: { at: t, zone: Europe/Oslo } }]",
        "sources: [{ name: s, identity: who, timestamp: { at: t, zone: '+02:00' } }]",
        "sources: [{ name: s, identity: who, timestamp: { at: t, format: '%d/%m/%Y %H:%M' } }]",
        "sources: [{ name: s, identity: who, priority: { at: p, values: { P1: critical } } }]",
        "sources: [{ name: s, identity: who, priority: { at: p, at_least: { low: 0, high: 7 } } }]",
        "sources: [{ name: s, identity: '$.users[*].id', id: x }]",
        "identities: [{ file: people.csv, employee: employee_id, email: mail }]",
        "sources: [{ name: s, identity: { at: [a, b], as: auto } }]",
        "identities: [{ path: /identities/ }]",
        "upstream: { auth: { none: {} } }",
        "upstream: { rate: 600/m }",
        "auth: { jwt: { issuer: 'https://idp.example', audience: incident-gateway } }",
        "auth: { jwt: { issuer: 'http://localhost:8080', audience: a, jwks_url: 'http://[::1]/k' } }",
        "auth: { jwt: { issuer: 'https://idp.example', audience: a, jwks_url: ~, proxy: ~ } }",
        "{ admin: { auth: true }, auth: { jwt: { issuer: 'http://127.0.0.2', audience: a } } }",
        "auth: { jwt: { issuer: 'https://i', audience: a, proxy: 'http://proxy.example:3128' } }",
        "auth: { jwt: { issuer: 'http://localhost', audience: a, proxy: 'http://[::1]:3128' } }",
        "auth: { jwt: { issuer: 'http://localhost', audience: a, jwks_url: 'https://i/keys', \
         proxy: 'http://proxy.example:3128' } }",
        "allowed_hosts: [gateway.example, \"gateway.example:9000\", \"[::1]:9000\", '127.0.0.1', a_b.]",
        "allowed_hosts: Gateway.example",
        "forward: []",
        "{ store: { url: 'sqlite:/h.db' }, forward: [{ name: siem, url: 'https://h/p', format: ndjson }] }",
        "{ store: { url: 'sqlite:/h.db' }, forward: [{ name: a, url: 'https://h/i/_bulk?pipeline=p', \
         format: elasticsearch, tags: { id: a, region_1: '' }, select: { priority: high, \
         type: [misuse], unattributed: true }, auth: ~, proxy: ~, rate: ~ }] }",
    ] {
        if let Err(errors) = from_yaml("c.yaml", text) {
            panic!("{text}: {errors}");
        }
    }
}

#[test]
fn bodies_and_keys_are_bounded() {
    let body = |depth: usize| {
        let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        format!("sources: [{{ name: s, identity: who, body: {nested} }}]")
    };
    assert!(from_yaml("c.yaml", &body(63)).is_ok());
    assert!(refusal(&body(64)).ends_with("is nested deeper than 64 levels"));
    let key = "k".repeat(101);
    let text = format!("sources: [{{ name: s, identity: who, query: {{ {key}: 1 }} }}]");
    assert!(refusal(&text).ends_with("is longer than 100 characters; shorten it"));
    let paths = vec!["/a"; 101].join(", ");
    let text = format!("sources: [{{ name: s, identity: who, title: [{paths}] }}]");
    assert!(refusal(&text).ends_with("has 101 items; give at most 100"));
    let tables = vec!["{ path: /x }"; 101].join(", ");
    assert!(refusal(&format!("identities: [{tables}]")).contains("has 101 items"));
    let forwards = vec!["x"; 101].join(", ");
    assert!(refusal(&format!("forward: [{forwards}]")).contains("has 101 items; give at most 100"));
    let tags = |tags: &str| {
        refusal(&format!("forward: [{{ name: a, url: 'http://h', format: ndjson, tags: {tags} }}]"))
    };
    let many = (0..65).map(|index| format!("t{index}: x")).collect::<Vec<_>>().join(", ");
    assert!(tags(&format!("{{ {many} }}")).contains("has 65 items; give at most 64"));
    let [name, value] = ["a".repeat(65), "v".repeat(1025)];
    assert!(tags(&format!("{{ {name}: x }}")).contains("is not the name of a tag"));
    assert!(tags(&format!("{{ t: {value} }}")).contains("is longer than 1024 bytes; shorten it"));
    let upstream = |index: usize| format!("  u{index}: {{ base_url: 'http://h' }}\n");
    let upstreams = (0..101).map(upstream).collect::<Vec<_>>().concat();
    assert!(
        refusal(&format!("upstreams:\n{upstreams}"))
            .starts_with("config.yaml:102:3: upstreams.u100: has 101 items; give at most 100")
    );
}
