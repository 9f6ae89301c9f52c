use super::*;
use crate::config::{Secret, from_yaml};

fn config(text: &str) -> Config {
    from_yaml("c.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn changes(old: &str, new: &str) -> String {
    between(&config(old), &config(new)).join(", ")
}

#[test]
fn equal_configurations_have_no_changes() {
    assert_eq!(changes("", "{}"), "");
    assert_eq!(between(&Config::default(), &Config::default()), Vec::<String>::new());
}

#[test]
fn settings_are_named_by_their_keys() {
    let old = "upstreams: { okta: { base_url: 'https://a.example' } }";
    let new = "response_budget: 1s
cache: { ttl: 10s, max_bytes: 1MiB }
limits: { max_events: 8 }
shutdown: { timeout: 1s }
upstream: { base_url: 'https://b.example', rate: 1/s }
upstreams: { okta: { base_url: 'https://a.example', retries: 0 }, graph: { base_url: 'https://g.example' } }";
    assert_eq!(
        changes(old, new),
        "response_budget, upstream.base_url, upstream.rate, upstreams.okta.retries, \
         upstreams.graph (added), cache.ttl, cache.max_bytes, limits.max_events, shutdown.timeout"
    );
    assert_eq!(changes(new, "").matches("(removed)").count(), 2);
}

#[test]
fn sources_are_known_by_their_names() {
    let source =
        |name: &str, path: &str| format!("{{ name: {name}, path: {path}, identity: employee_id }}");
    let sources = |all: &[String]| format!("sources: [{}]", all.join(", "));
    let old = sources(&[source("a", "/a"), source("b", "/b"), source("c", "/c")]);
    let new = sources(&[source("c", "/c"), source("d", "/d"), source("a", "/other")]);
    assert_eq!(
        changes(&old, &new),
        "sources.a, sources.b (removed), sources.d (added), sources (order)"
    );
    let tables = |count: usize| format!("identities: [{}]", vec!["{ path: /t }"; count].join(", "));
    assert_eq!(changes(&tables(1), &tables(2)), "identities-2 (added)");
}

#[test]
fn forwards_are_known_by_their_names() {
    let forward = |name: &str, rest: &str| {
        format!("{{ name: {name}, url: 'http://localhost/p', format: ndjson{rest} }}")
    };
    let forwards = |public_url: &str, all: &[String]| {
        format!(
            "store: {{ url: 'sqlite:/h.db' }}\npublic_url: {public_url}\nforward: [{}]",
            all.join(", ")
        )
    };
    let old = forwards("~", &[forward("a", ""), forward("b", ""), forward("c", "")]);
    let new = "rate: 1/s, tags: { a: b }, select: { unattributed: true }, from: beginning";
    let new = [forward("c", ""), forward("d", ""), forward("a", &format!(", {new}"))];
    let new = forwards("https://incidents.example", &new);
    assert_eq!(
        changes(&old, &new),
        "forward.a.select, forward.a.tags, forward.a.rate, forward.a.from, forward.b (removed), \
         forward.d (added), forward (order), public_url"
    );
    assert_eq!(changes(&new, &new), "");
}

#[test]
fn the_files_of_forwards_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let text = format!(
        "{{ store: {{ url: 'sqlite:/h.db' }}, forward: [{{ name: a, url: 'https://h', format: \
         ndjson, auth: {{ bearer: {{ token_file: {} }} }} }}] }}",
        path.display()
    );
    let mut seen = Vec::new();
    for token in ["hunter1", "hunter2"] {
        std::fs::write(&path, token).unwrap();
        seen.push(config(&text));
    }
    assert_eq!(between(&seen[0], &seen[1]), ["forward.a.auth"]);
    let mut other = seen[1].clone();
    let file = |pem: &'static [u8]| Some(PemFile { path: "ca.crt".into(), pem: pem.into() });
    (seen[1].forward[0].ca, other.forward[0].ca) = (file(b"1"), file(b"2"));
    assert_eq!(between(&seen[1], &other), ["forward.a.ca_file (ca.crt)"]);
}

#[test]
fn values_and_secrets_are_not_shown() {
    let mut new = Config::default();
    new.upstream.password = Some(Secret::from("correct horse"));
    assert_eq!(between(&Config::default(), &new), ["upstream.password"]);
}

#[test]
fn a_file_with_another_content_is_named() {
    let tls = |certificate: &'static [u8], path: &str| Tls {
        certificate: PemFile { path: path.into(), pem: certificate.into() },
        key: PemFile { path: "tls.key".into(), pem: b"k".as_slice().into() },
        client_ca: None,
    };
    let with = |tls| Config { tls: Some(tls), ..Config::default() };
    let old = with(tls(b"1", "tls.crt"));
    assert_eq!(between(&old, &with(tls(b"2", "tls.crt"))), ["tls.cert_file (tls.crt)"]);
    assert_eq!(between(&old, &with(tls(b"1", "new.crt"))), ["tls.cert_file"]);
    assert_eq!(between(&old, &Config::default()), ["tls"]);
}
