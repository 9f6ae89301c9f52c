//! What each layer says, and which wins.

use std::time::Duration;

use super::*;
use crate::config::{Concurrency, HttpOrigin, LogFormat, Origin, Source};

#[test]
fn an_empty_configuration_means_the_defaults() {
    let defaults = Config::default().to_yaml();
    for text in [
        "",
        "\n\n",
        "# only a comment\n",
        "---\n",
        "null",
        "~",
        "cache:\n",
        "cache:\n  # ttl: 30s\n",
        "{}",
    ] {
        assert_eq!(from_yaml("config.yaml", text).unwrap().to_yaml(), defaults, "{text:?}");
    }
    assert_eq!(with_env(&[]).unwrap().to_yaml(), defaults);
    for name in [
        "CONFIG_PATH",
        "ELEVATE_BASE_URL",
        "ELEVATE_TIMEOUT",
        "ELEVATE_USERNAME",
        "ELEVATE_PASSWORD_FILE",
    ] {
        assert_eq!(with_env(&[(name, "")]).unwrap().to_yaml(), defaults, "{name}");
    }
}

#[test]
fn a_file_that_has_become_empty_does_not_mean_the_defaults() {
    for (text, is_empty) in [
        ("", true),
        (" \r\n\n", true),
        ("# later\n---\n", true),
        ("{}", true),
        ("null", true),
        ("cache:\n", false),
    ] {
        let (_directory, path) = file(text);
        let shown = path.display().to_string();
        let overrides = Overrides { config: Some(path), ..Overrides::default() };
        let first = load_again(&overrides, &env(&[]), true).unwrap();
        assert_eq!(first.is_file_empty, is_empty, "{text:?}");
        let again = load_again(&overrides, &env(&[]), false);
        let expected = format!(
            "{shown} has no settings; restart to return to the defaults, or write the settings into it"
        );
        assert_eq!(again.err().map(|errors| errors.to_string()), is_empty.then_some(expected));
    }
    assert!(load_again(&Overrides::default(), &env(&[]), false).is_ok(), "without a file");
}

#[test]
fn the_documented_example_loads() {
    let config = from_yaml(
        "config.yaml",
        "
listen: 0.0.0.0:9000
admin_listen: 0.0.0.0:9001
response_budget: 1900ms         # /incidents answers within this, whatever the upstream does
upstream:
  base_url: https://incident-api.use1stag.elevatesecurity.io
  timeout: 10s                  # per call, body included
  connect_timeout: 3s
  concurrency: auto             # auto, or a number
  max_concurrency: 8
  retries: 2
  max_body: 64MiB
identities: { path: /identities/ }
sources:
  - { name: denial, path: /incidents/denial/, identity: reported_by }
  - { name: intrusion, path: /incidents/intrusion/, identity: internal_ip }
  - { name: executable, path: /incidents/executable/, identity: machine_ip }
  - { name: misuse, path: /incidents/misuse/, identity: employee_id }
  - { name: unauthorized, path: /incidents/unauthorized/, identity: employee_id }
  - { name: probing, path: /incidents/probing/, identity: ip }
  - { name: other, path: /incidents/other/, identity: identifier }
cache:
  ttl: 30s                      # how old an answer may be before it is refreshed
  stale_for: 1h                 # how long a failing source's last good data stands in
shutdown: { drain_delay: 0s, timeout: 30s }
",
    )
    .unwrap();
    assert_eq!(config.to_yaml(), Config::default().to_yaml());
}

#[test]
fn an_eighth_source_is_one_more_line_and_the_list_replaces_the_default_one() {
    let line = |source: &Source| {
        let (name, identity) = (&source.name, &source.identity[0].at[0]);
        format!("\n  - {{ name: {name}, path: /incidents/{name}/, identity: {identity} }}")
    };
    let mut text =
        format!("sources:{}", Config::default().sources.iter().map(line).collect::<String>());
    assert_eq!(from_yaml("c", &text).unwrap().sources, Config::default().sources);
    text += "\n  - { name: phishing, path: /incidents/phishing/, identity: [user_ip, user_id] }";
    let sources = from_yaml("c", &text).unwrap().sources;
    assert_eq!(sources.len(), 8);
    let eighth = Source::plain("phishing", "/incidents/phishing/", &["user_ip", "user_id"]);
    assert_eq!(sources[7], eighth);

    let alone = from_yaml(
        "c",
        "sources: [{ name: phishing, path: /incidents/phishing/, identity: [user_ip, user_id] }]",
    );
    assert_eq!(alone.unwrap().sources, [eighth]);
}

#[test]
fn later_layers_win() {
    let (_directory, path) =
        file("listen: 127.0.0.1:1\nadmin_listen: 127.0.0.1:2\ncache: { ttl: 1s, stale_for: 2s }\n");
    let (_other_directory, other) = file("listen: 127.0.0.1:9\n");
    let path_text = path.display().to_string();
    let variables =
        [("CONFIG_PATH", path_text.as_str()), ("INCIDENT_GATEWAY__LISTEN", "127.0.0.1:3")];
    let flags = Overrides { listen: Some("127.0.0.1:4".to_owned()), ..Overrides::default() };

    let config = load(&Overrides::default(), &env(&variables[..1])).unwrap();
    assert_eq!((config.listen.port(), config.admin_listen.port()), (1, 2));
    let config = load(&Overrides::default(), &env(&variables)).unwrap();
    assert_eq!((config.listen.port(), config.admin_listen.port()), (3, 2));
    let config = load(&flags, &env(&variables)).unwrap();
    assert_eq!((config.listen.port(), config.admin_listen.port()), (4, 2));
    assert_eq!(config.cache.ttl, Duration::from_secs(1));
    // `--config` stands in for `CONFIG_PATH`.
    let config =
        load(&Overrides { config: Some(other), ..Overrides::default() }, &env(&variables[..1]))
            .unwrap();
    assert_eq!((config.listen.port(), config.admin_listen.port()), (9, 9001));
    let admin = Overrides { admin_listen: Some("[::1]:5".to_owned()), ..Overrides::default() };
    assert_eq!(load(&admin, &env(&[])).unwrap().admin_listen, "[::1]:5".parse().unwrap());
}

#[test]
fn every_scalar_setting_has_its_variable() {
    let shown = Config::default();
    for setting in SETTINGS.iter().filter(|setting| setting.is_value()) {
        let default = setting.show(&shown);
        let value = match default.trim_matches('"') {
            "null" if setting.key == "otlp.endpoint" => "http://localhost:4318/v1/traces",
            "null" if setting.key == "public_url" => "https://incidents.example/",
            "null" => "someone",
            text => text,
        };
        let config = with_env(&[(&setting.variable(), value)])
            .unwrap_or_else(|e| panic!("{}: {e}", setting.key));
        if default != "null" {
            assert_eq!(setting.show(&config), default, "{}", setting.key);
        }
        // An empty variable is one that is not set.
        assert_eq!(with_env(&[(&setting.variable(), "")]).unwrap().to_yaml(), shown.to_yaml());
    }
}

#[test]
fn variables_of_lists_and_sections_hold_yaml() {
    let config = with_env(&[
        (
            "INCIDENT_GATEWAY__SOURCES",
            r#"[{"name": "a", "path": "/a", "identity": "x"}, {name: b, path: /b, identity: [y, z]}]"#,
        ),
        ("INCIDENT_GATEWAY__IDENTITIES", "{ path: /who/ }"),
        ("INCIDENT_GATEWAY__CACHE", "{ ttl: 1s, stale_for: 10s }"),
        ("INCIDENT_GATEWAY__CACHE__TTL", "2s"),
        ("INCIDENT_GATEWAY__UPSTREAM__CONCURRENCY", "3"),
        ("INCIDENT_GATEWAY__LOG_FORMAT", "text"),
    ])
    .unwrap();
    assert_eq!(config.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.sources[1].identity, Source::plain("b", "/b", &["y", "z"]).identity);
    assert_eq!(config.identities[0].origin, Origin::Http(HttpOrigin::endpoint("/who/")));
    assert_eq!(
        config.cache.ttl,
        Duration::from_secs(2),
        "the setting's own variable wins over its section's"
    );
    assert_eq!(config.cache.stale_for, Duration::from_secs(10));
    assert_eq!(config.upstream.concurrency, Concurrency::Fixed(3));
    assert_eq!(config.log_format, Some(LogFormat::Text));
}

#[test]
fn aliases_and_core_tags_work() {
    let config = from_yaml(
        "c",
        "sources:\n  - { name: a, path: /a, identity: &who [ip, id] }\n  - { name: b, path: !!str \
         /b, identity: *who }\n",
    )
    .unwrap();
    assert_eq!(config.sources[1], Source::plain("b", "/b", &["ip", "id"]));
}

#[test]
fn the_health_check_needs_only_the_admin_address() {
    let (_directory, path) =
        file("admin_listen: 127.0.0.1:7\nlisten: 127.0.0.1:7\ncolour: red\ncache: { ttl: 30 }\n");
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    let variables = env(&[("ELEVATE_PASSWORD_FILE", "/nonexistent")]);
    assert_eq!(admin_endpoint(&overrides, &variables).unwrap().address.port(), 7);
    let (_directory, path) = file("admin_listen: 7\ncolour: red\n");
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    assert_eq!(admin_endpoint(&overrides, &variables).unwrap_err().errors.len(), 1);
    let overrides = Overrides { config: Some("/nonexistent".into()), ..Overrides::default() };
    assert!(admin_endpoint(&overrides, &env(&[])).is_err());
    let (_directory, path) = file("");
    std::fs::write(&path, b"\xff\xfea\0").unwrap();
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    assert!(admin_endpoint(&overrides, &env(&[])).is_err(), "UTF-16 text cannot be read");
}
