//! Every fault: its place, its words, and that one report holds them all.

use proptest::prelude::*;

use super::*;

#[test]
fn unreadable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("config.yaml");
    let shown = missing.display();
    let overrides = Overrides { config: Some(missing.clone()), ..Overrides::default() };
    assert_eq!(
        load(&overrides, &env(&[])).unwrap_err().to_string(),
        format!(
            "--config: cannot read {shown}: there is no such file; give the path of a readable file"
        )
    );
    assert_eq!(
        env_refusal(&[("CONFIG_PATH", &missing.display().to_string())]),
        format!(
            "CONFIG_PATH: cannot read {shown}: there is no such file; give the path of a readable \
             file"
        )
    );
    std::fs::write(&missing, [b'#', 0xff]).unwrap();
    assert_eq!(
        load(&overrides, &env(&[])).unwrap_err().to_string(),
        format!("--config: {shown} is not UTF-8 text; save it as UTF-8")
    );
    std::fs::write(&missing, vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(
        load(&overrides, &env(&[])).unwrap_err().to_string(),
        format!("--config: {shown} is larger than 1048576 bytes; is it the right file?")
    );
}

#[test]
fn unknown_keys_and_variables_are_reported_with_a_suggestion() {
    assert_eq!(
        refusal("cache:\n  tll: 30s\n"),
        "config.yaml:2:3: cache.tll: unknown key; did you mean `ttl`?"
    );
    assert_eq!(
        refusal("colour: red\n"),
        "config.yaml:1:1: colour: unknown key; known here: listen, admin_listen, response_budget, \
         upstream, upstreams, \
             identities, sources, cache, store, forward, public_url, limits, shutdown, tls, \
             auth, admin, allowed_hosts, log_format, otlp"
    );
    assert_eq!(
        refusal("stale_for: 1h"),
        "config.yaml:1:1: stale_for: unknown key; did you mean `cache.stale_for`?"
    );
    assert_eq!(refusal("<<: {}").lines().count(), 1);
    for (name, message) in [
        (
            "INCIDENT_GATEWAY__CACHE__TLL",
            "unknown variable; did you mean `INCIDENT_GATEWAY__CACHE__TTL`?",
        ),
        (
            "INCIDENT_GATEWAY__cache__ttl",
            "unknown variable; did you mean `INCIDENT_GATEWAY__CACHE__TTL`?",
        ),
        (
            "INCIDENT_GATEWAY__CACHE_TTL",
            "unknown variable; did you mean `INCIDENT_GATEWAY__CACHE__TTL`?",
        ),
        (
            "INCIDENT_GATEWAY__SOURCES__0__PATH",
            "unknown variable; did you mean `INCIDENT_GATEWAY__SOURCES`?",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAM__USERNAME_FILE",
            "unknown variable; did you mean `ELEVATE_USERNAME_FILE`?",
        ),
        (
            "INCIDENT_GATEWAY__",
            "unknown variable; unset it, or see docs/CONFIGURATION.md for the names",
        ),
        (
            "INCIDENT_GATEWAY__WHATEVER__THIS__WAS",
            "unknown variable; unset it, or see docs/CONFIGURATION.md for the names",
        ),
    ] {
        for value in ["hunter2", ""] {
            assert_eq!(env_refusal(&[(name, value)]), format!("{name}: {message}"));
        }
    }
    // Kubernetes sets these for a Service called incident-gateway.
    assert!(
        with_env(&[
            ("INCIDENT_GATEWAY_PORT", "tcp://10.0.0.1:9000"),
            ("INCIDENT_GATEWAY_SERVICE_HOST", "10.0.0.1")
        ])
        .is_ok()
    );
}

#[test]
fn one_report_has_all_errors_of_all_layers() {
    let (_directory, path) = file(
        "response_budget: 0s\ncolour: red\nupstream:\n  retries: many\n  max_body: 8GiB\n  \
         retries: 3\nsources: []\ncache: [1]\n",
    );
    let overrides = Overrides {
        config: Some(path.clone()),
        listen: Some("nowhere".to_owned()),
        admin_listen: Some("9001".to_owned()),
    };
    let variables = [
        ("INCIDENT_GATEWAY__CACHE__TTL", "30"),
        ("INCIDENT_GATEWAY__CASH__TTL", "30s"),
        ("INCIDENT_GATEWAY__LIMITS", "{ max_requests: 0 }"),
        ("ELEVATE_USERNAME", "alice:hunter2"),
        ("ELEVATE_TIMEOUT", "soon"),
    ];
    let errors = load(&overrides, &env(&variables)).unwrap_err();
    let name = path.display();
    let messages: Vec<String> = errors
        .errors
        .iter()
        .map(|error| error.to_string().replace(&name.to_string(), "c.yaml"))
        .collect();
    let address = "is not an address and a port, such as `0.0.0.0:9000`, `[::1]:9000`, \
        `localhost:9000` or `:9000`";
    assert_eq!(
        messages,
        [
            "c.yaml:1:18: response_budget: `0s` is out of range; give 1ms to 1h",
            "c.yaml:2:1: colour: unknown key; known here: listen, admin_listen, response_budget, \
             upstream, upstreams, identities, \
             sources, cache, store, forward, public_url, limits, shutdown, tls, auth, admin, \
             allowed_hosts, log_format, otlp",
            "c.yaml:4:12: upstream.retries: `many` is not a whole number",
            "c.yaml:5:13: upstream.max_body: `8GiB` is out of range; give 1 to 4294967295",
            "c.yaml:6:3: `retries` appears a second time (first on line 4); keep one",
            "c.yaml:7:10: sources: is empty; give a list of sources, such as `- { name: denial, \
             path: \
             /incidents/denial/, identity: reported_by }`",
            "c.yaml:8:8: cache: needs a map of settings, not a list",
            "INCIDENT_GATEWAY__CACHE__TTL: `30` has no unit; write `30s` for seconds, `30ms` for \
             milliseconds",
            "INCIDENT_GATEWAY__CASH__TTL: unknown variable; did you mean \
             `INCIDENT_GATEWAY__CACHE__TTL`?",
            "INCIDENT_GATEWAY__LIMITS: limits.max_requests: `0` is out of range; give 1 to 1000000",
            "ELEVATE_USERNAME: a user name cannot contain `:` (RFC 7617); a password belongs in \
             ELEVATE_PASSWORD",
            "ELEVATE_TIMEOUT: `soon` is not a duration, such as `1500ms`, `30s` or `1h`",
            &format!("--listen: `nowhere` {address}"),
            &format!("--admin-listen: `9001` {address}"),
        ]
    );
    let report = errors.to_string();
    assert!(report.starts_with("the configuration has 14 errors:\n- "), "{report}");
    assert!(!report.contains("hunter2"));
}

#[test]
fn sources_are_checked_one_by_one() {
    let text = "sources:
  - { name: Denial, path: /d, identity: x }
  - { name: identities, path: /i, identity: x }
  - { name: misuse, path: //evil.example/, identity: x }
  - { name: probing, path: /p, identity: [] }
  - { name: other, path: /o, identity: }
  - { name: same, path: /a, identity: x }
  - { name: same, path: /b, identity: x }
  - { name: extra, path: /e, identity: x, identiy: y }
  - { name: short }
  - just text
  - { name: deep, path: /d, identity: [a, ''] }
";
    let errors = from_yaml("c.yaml", text).unwrap_err();
    let messages: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
    let path = "is not a path that begins with one `/`, such as `/incidents/denial/`, without \
        `?`, `#`, `\\` or spaces";
    let identity = "give the record's field that names the employee, such as `employee_id`, or a \
        list of such fields";
    assert_eq!(
        messages,
        [
            "c.yaml:2:13: sources[0].name: `Denial` is not a source's name (a lower-case letter, \
             then at most 63 lower-case \
             letters, digits, `_` or `-`)",
            "c.yaml:3:13: sources[1].name: `identities` is the name of an identity table; choose \
             another",
            &format!("c.yaml:4:27: sources[2].path: `//evil.example/` {path}"),
            &format!("c.yaml:5:42: sources[3].identity: is empty; {identity}"),
            &format!("c.yaml:6:38: sources[4].identity: is empty; {identity}"),
            "c.yaml:8:13: sources[6].name: another source has the name `same`; choose another",
            "c.yaml:9:43: sources[7].identiy: unknown key; did you mean `identity`?",
            "c.yaml:10:5: sources[8]: the key `identity` is missing; add it",
            "c.yaml:11:5: sources[9]: needs a map with the keys `name` and `identity`, not plain \
             text",
            &format!("c.yaml:12:43: sources[10].identity[1]: is empty; {identity}"),
        ]
    );
    let name =
        |length| format!("sources: [{{ name: {}, path: /x, identity: x }}]", "a".repeat(length));
    assert!(from_yaml("c.yaml", &name(64)).is_ok());
    assert!(refusal(&name(65)).contains("is not a source's name"));
    let many = format!("sources: [{}]", vec!["x"; 1001].join(","));
    assert!(
        refusal(&many).starts_with("config.yaml:1:10: sources: has 1001 items; give at most 1000")
    );
    assert!(
        refusal("sources:")
            .starts_with("config.yaml:1:8: sources: is empty; give a list of sources")
    );
    assert!(
        refusal("sources: none").starts_with("config.yaml:1:10: sources: needs a list of sources")
    );
    let in_variable =
        env_refusal(&[("INCIDENT_GATEWAY__SOURCES", "[{ name: a, path: b, identity: c }]")]);
    assert_eq!(in_variable, format!("INCIDENT_GATEWAY__SOURCES: sources[0].path: `b` {path}"));
}

#[test]
fn invalid_yaml_and_other_documents_are_refused() {
    for (text, message) in [
        (
            "cache:\n\tttl: 30s\n",
            "config.yaml:2:2: invalid YAML: tabs disallowed within this context (block \
             indentation)",
        ),
        ("listen: [", "config.yaml:1:9: invalid YAML: unclosed bracket '['"),
        (
            "cache: {}\n---\ncache: {}\n",
            "config.yaml:2:1: a second document begins here; remove this `---` and what follows, \
             or merge the two",
        ),
        ("cache: !include {}\n", "config.yaml:1:8: YAML tags (`!…`) are not supported; remove it"),
        ("[a, b]: c\n", "config.yaml:1:1: a key must be plain text, not a list or a map"),
        ("- a\n", "config.yaml:1:1: needs a map of settings, not a list"),
        ("just text\n", "config.yaml:1:1: needs a map of settings, not plain text"),
        (
            "cache: &a [*a]\n",
            "config.yaml:1:12: the alias (`*…`) refers to a value that contains it; write the \
             value out",
        ),
        ("cache: *a\n", "config.yaml:1:8: invalid YAML: while parsing node, found unknown anchor"),
        (
            "cache: { ttl: 1s, ttl: 2s }\n",
            "config.yaml:1:19: `ttl` appears a second time (first on line 1); keep one",
        ),
        (
            "cache:\n  ttl:\n",
            "config.yaml:2:6: cache.ttl: is empty; give a duration, such as `1500ms`, `30s` or \
             `1h`",
        ),
        ("cache: { ttl: null }\n", "config.yaml:1:15: cache.ttl: is empty; give a duration"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(message), "{text:?}: {refusal}");
    }
    let level = |(from, to)| format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(", "));
    let levels: String = ('a'..'j').zip('b'..='j').map(level).collect();
    let bomb = format!("a: &a [x, x, x, x, x, x, x, x, x]\n{levels}");
    assert!(
        refusal(&bomb).contains("the aliases (`*…`) expand to too much text; write the values out")
    );
    let nested = format!("cache: {}", "[".repeat(100_000));
    assert!(refusal(&nested).contains("invalid YAML: "));
}

#[test]
fn values_must_agree_with_each_other() {
    assert_eq!(
        refusal("cache: { ttl: 2h }"),
        "config.yaml:1:15: cache.ttl: data would be dropped before it is refreshed: \
         `cache.stale_for` is 1h, `cache.ttl` is \
         2h; make `cache.stale_for` at least 2h"
    );
    assert!(
        env_refusal(&[("INCIDENT_GATEWAY__CACHE__STALE_FOR", "1s")])
            .starts_with("INCIDENT_GATEWAY__CACHE__STALE_FOR: data would")
    );
    assert!(from_yaml("c", "cache: { ttl: 1h }").is_ok(), "as long is long enough");
    // A value that cannot be read is not compared as well.
    assert_eq!(from_yaml("c", "cache: { ttl: 2h, stale_for: x }").unwrap_err().errors.len(), 1);

    for (listen, admin, fine) in [
        ("0.0.0.0:9001", "0.0.0.0:9001", false),
        ("127.0.0.1:9001", "0.0.0.0:9001", false),
        ("0.0.0.0:9001", "127.0.0.1:9001", false),
        ("[::]:9001", "127.0.0.1:9001", false),
        ("[::1]:9001", "0.0.0.0:9001", true),
        ("127.0.0.1:9001", "127.0.0.2:9001", true),
        ("127.0.0.1:0", "127.0.0.1:0", true),
    ] {
        let text = format!("listen: '{listen}'\nadmin_listen: '{admin}'\n");
        assert_eq!(from_yaml("c", &text).is_ok(), fine, "{text}");
    }
    let flags = Overrides { listen: Some(":9001".to_owned()), ..Overrides::default() };
    assert_eq!(
        load(&flags, &env(&[])).unwrap_err().to_string(),
        "--listen: both listeners would use one address (`admin_listen` is 0.0.0.0:9001); give \
         each its own port"
    );
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf_8_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
    for name in ["INCIDENT_GATEWAY__CACHE__TTL", "INCIDENT_GATEWAY__CACHE", "ELEVATE_PASSWORD"] {
        let errors = load(&Overrides::default(), &[(name, bytes.clone())].into_iter().collect())
            .unwrap_err();
        assert_eq!(errors.to_string(), format!("{name}: the value is not UTF-8 text"));
    }
}

/// Lines that are nearly a configuration, so that arbitrary text gets further than the parser.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("cache"),
        Just("ttl"),
        Just("sources"),
        Just("name"),
        Just("path"),
        Just("/x"),
        Just("identity"),
        Just("upstream"),
        Just("password"),
        Just("upstreams"),
        Just("okta"),
        Just("auth"),
        Just("bearer"),
        Just("headers"),
        Just("X-Key"),
        Just("token"),
        Just("query"),
        Just("body"),
        Just("next"),
        Just("offset"),
        Just("size"),
        Just("priority"),
        Just("at_least"),
        Just("low"),
        Just("identities"),
        Just("employee"),
        Just("email"),
        Just("{since}"),
        Just("$.a[*]"),
        Just("1"),
        Just("base_url"),
        Just("http://a@b"),
        Just("max_body"),
        Just("64MiB"),
        Just("30s"),
        Just("99999999999999999999s"),
        Just("listen"),
        Just(":1"),
        Just("*a"),
        Just("&a"),
        Just("!t"),
        Just("null"),
        Just("é\u{1F600}"),
        Just("\""),
        Just("'"),
        Just("|"),
    ];
    let glue = prop_oneof![
        Just(": "),
        Just("\n"),
        Just("\n  "),
        Just("\n- "),
        Just("{"),
        Just("}, "),
        Just("["),
        Just("], "),
        Just("\r\n"),
        Just("\n---\n"),
        Just(" #")
    ];
    proptest::collection::vec((word, glue), 0..40)
        .prop_map(|parts| parts.into_iter().flat_map(|(a, b)| [a, b]).collect())
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in prop_oneof![any::<String>(), nearly_yaml()]) {
        match from_yaml("c.yaml", &text) {
            Ok(config) => prop_assert!(from_yaml("printed.yaml", &config.to_yaml()).is_ok()),
            Err(errors) => {
                prop_assert!(!errors.errors.is_empty());
                let is_line = |error: &ConfigError| error.to_string().lines().count() == 1;
                prop_assert!(errors.errors.iter().all(is_line));
            }
        }
        let names = [
            "INCIDENT_GATEWAY__SOURCES",
            "INCIDENT_GATEWAY__IDENTITIES",
            "INCIDENT_GATEWAY__UPSTREAMS",
            "INCIDENT_GATEWAY__UPSTREAM__AUTH",
            "INCIDENT_GATEWAY__UPSTREAM__AUTH__HEADERS__X_KEY",
            "INCIDENT_GATEWAY__CACHE",
            "ELEVATE_TIMEOUT",
        ];
        let variables = env(&names.map(|name| (name, text.as_str())));
        let _ = load(&Overrides { listen: Some(text.clone()), ..Overrides::default() }, &variables);
    }
}

#[test]
fn deep_nesting_is_refused_without_overflowing_the_stack() {
    for opening in ["[", "- ", "{a: "] {
        let message = refusal(&opening.repeat(200_000));
        assert!(message.contains("invalid YAML"), "{message}");
    }
}
