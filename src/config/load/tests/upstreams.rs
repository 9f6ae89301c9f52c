//! Upstreams: their layers, their variables and their secrets.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::{Auth, ClientAuth, Rate, Upstream};

const TWO: &str = "
upstreams:
  okta:
    base_url: https://org.okta.example/
    auth: { headers: { Authorization: { value: secret, prefix: 'SSWS ' } } }
    timeout: 1s
  ms-graph:
    base_url: https://graph.example/
    auth: { bearer: { token: from-file } }
";

/// The configuration of `text` and of variables.
fn load_both(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let (_directory, path) = file(text);
    load(&Overrides { config: Some(path), ..Overrides::default() }, &env(variables))
}

fn named<'a>(config: &'a Config, name: &str) -> &'a Upstream {
    let upstream = config.upstreams.iter().find(|upstream| upstream.name == name);
    &upstream.expect("the upstream is configured").settings
}

fn bearer(upstream: &Upstream) -> &str {
    match &upstream.auth {
        Some(Auth::Bearer { token }) => token.expose_secret(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upstream_has_the_keys_and_defaults_of_the_default_one() {
    let config = from_yaml("c", TWO).unwrap();
    let names: Vec<&str> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["okta", "ms-graph"], "in the configured order");
    let okta = named(&config, "okta");
    assert_eq!(okta.base_url.as_str(), "https://org.okta.example/");
    assert_eq!(
        (okta.timeout, okta.connect_timeout),
        (Duration::from_secs(1), Duration::from_secs(3))
    );
    assert_eq!(okta.max_body, config.upstream.max_body);
    assert!(named(&config, "ms-graph").username.is_none());
    let Some(Auth::Headers(headers)) = &okta.auth else { panic!("{:?}", okta.auth) };
    assert_eq!(headers[0].name, "authorization");
    assert_eq!(headers[0].value.expose_secret(), "SSWS secret");
    for (text, rate) in [("10/s", (10, 1)), ("600/m", (600, 60)), ("5000 / h", (5000, 3600))] {
        let config = from_yaml("c", &format!("upstream: {{ rate: {text} }}")).unwrap();
        let expected = Rate { requests: rate.0, per: Duration::from_secs(rate.1) };
        assert_eq!(config.upstream.rate, Some(expected), "{text}");
    }
}

#[test]
fn variables_set_keys_of_upstreams() {
    let variables = [
        ("INCIDENT_GATEWAY__UPSTREAMS", "{ third: { base_url: 'http://third' } }"),
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA", "{ timeout: 2s, retries: 5 }"),
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA__TIMEOUT", "3s"),
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA__AUTH__HEADERS__AUTHORIZATION__VALUE", "other: #1"),
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA__AUTH__HEADERS__X_API_KEY", "key"),
        ("INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__RATE", "1/s"),
        ("INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__AUTH__BEARER__TOKEN", "from-variable"),
        ("INCIDENT_GATEWAY__UPSTREAMS__THIRD__AUTH", "{ none: {} }"),
        ("INCIDENT_GATEWAY__UPSTREAM__AUTH__BASIC__USERNAME", "alice"),
        ("INCIDENT_GATEWAY__UPSTREAM__AUTH__BASIC__PASSWORD", "null"),
    ];
    let config = load_both(TWO, &variables).unwrap();
    let okta = named(&config, "okta");
    assert_eq!((okta.timeout, okta.retries), (Duration::from_secs(3), 5));
    let Some(Auth::Headers(headers)) = &okta.auth else { panic!("{:?}", okta.auth) };
    let headers: Vec<_> =
        headers.iter().map(|header| (header.name.as_str(), header.value.expose_secret())).collect();
    assert_eq!(headers, [("authorization", "SSWS other: #1"), ("x-api-key", "key")]);
    assert_eq!(bearer(named(&config, "ms-graph")), "from-variable");
    assert!(named(&config, "ms-graph").rate.is_some());
    assert!(matches!(named(&config, "third").auth, Some(Auth::None)));
    let Some(Auth::Basic { username, password }) = &config.upstream.auth else { panic!() };
    assert_eq!((&**username, password.expose_secret()), ("alice", "null"), "texts, not YAML");
}

#[test]
fn wrong_variables_of_upstreams_are_named() {
    for (name, value, message) in [
        (
            "INCIDENT_GATEWAY__UPSTREAMS__OKTA__TIMEOT",
            "1s",
            "unknown variable; did you mean `INCIDENT_GATEWAY__UPSTREAMS__OKTA__TIMEOUT`?",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__OKTTA__TIMEOUT",
            "1s",
            "unknown variable; did you mean `INCIDENT_GATEWAY__UPSTREAMS__OKTA__TIMEOUT`?",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__OKTA__TIMEOUT",
            "1",
            "`1` has no unit; write `1s` for seconds, `1ms` for milliseconds",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__OKTA",
            "{ tiemout: 1s }",
            "upstreams.okta.tiemout: unknown key; did you mean `timeout`?",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__AUTH__BEARER__TOKN",
            "hunter2",
            "unknown key; did you mean `token`?",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__AUTH__BEARER__TOKEN",
            "hunter2\n",
            "contains a character that a header cannot hold; use visible ASCII characters",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__AUTH__BEARER",
            "hunter2",
            "upstreams.ms-graph.auth.bearer: needs a map with `token` or `token_file`, not plain \
             text",
        ),
        (
            "INCIDENT_GATEWAY__UPSTREAMS__MS_GRAPH__AUTH__BASIC__USERNAME",
            "alice",
            "upstreams.ms-graph.auth: needs exactly one of `none`, `basic`, `bearer`, `headers`, \
             `oauth2`",
        ),
    ] {
        let message = if name.ends_with("USERNAME") {
            message.trim_start_matches("upstreams.ms-graph.auth: ")
        } else {
            message
        };
        let error = load_both(TWO, &[(name, value)]).unwrap_err();
        assert_eq!(error.to_string(), format!("{name}: {message}"));
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[test]
fn secrets_of_auth_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "hunter2\r\n").unwrap();
    let path = path.display();
    for (auth, twin) in [
        (format!("basic: {{ username: a, password_file: {path} }}"), "BASIC__PASSWORD"),
        (format!("bearer: {{ token_file: {path} }}"), "BEARER__TOKEN"),
        (format!("headers: {{ X-Key: {{ value_file: {path} }} }}"), "HEADERS__X_KEY__VALUE"),
        (
            format!(
                "oauth2: {{ token_url: 'https://h/t?a=b', client_id: c, client_secret_file: \
                 {path}, scope: a b, audience: d, client_auth: basic }}"
            ),
            "OAUTH2__CLIENT_SECRET",
        ),
    ] {
        let text = format!("upstream: {{ auth: {{ {auth} }} }}");
        let secret = |config: &Config| match config.upstream.auth.clone().unwrap() {
            Auth::Basic { password: secret, .. } | Auth::Bearer { token: secret } => {
                secret.expose_secret().to_owned()
            }
            Auth::Headers(headers) => headers[0].value.expose_secret().to_owned(),
            Auth::OAuth2(oauth2) => {
                assert_eq!(oauth2.token_url.as_str(), "https://h/t?a=b");
                assert_eq!(oauth2.scope.as_deref(), Some("a b"));
                assert_eq!(oauth2.audience.as_deref(), Some("d"));
                assert_eq!(oauth2.client_auth, ClientAuth::Basic);
                oauth2.client_secret.expose_secret().to_owned()
            }
            Auth::None => panic!("no auth"),
        };
        let config = from_yaml("c", &text).unwrap();
        assert_eq!(secret(&config), "hunter2", "{text}");
        assert!(!format!("{config:?}{}", config.to_yaml()).contains("hunter2"), "{text}");
        // A variable wins over the file of an earlier layer.
        let variable = format!("INCIDENT_GATEWAY__UPSTREAM__AUTH__{twin}");
        let config = load_both(&text, &[(&variable, "later")]).unwrap();
        assert_eq!(secret(&config), "later", "{text}");
        // Within one layer neither is the later.
        let file = format!("{variable}_FILE");
        let both = [(&*variable, "one"), (&*file, &*path.to_string())];
        let error = load_both("", &both).unwrap_err().to_string();
        assert!(error.contains("_file`; keep one of them"), "{error}");
    }
    let config =
        with_env(&[("INCIDENT_GATEWAY__UPSTREAM__PASSWORD_FILE", &path.to_string())]).unwrap();
    assert_eq!(config.upstream.password.unwrap().expose_secret(), "hunter2");
    let both = [
        ("INCIDENT_GATEWAY__UPSTREAM__PASSWORD_FILE", &*path.to_string()),
        ("ELEVATE_PASSWORD", "hunter2"),
    ];
    assert_eq!(env_refusal(&both), "ELEVATE_PASSWORD: excludes `password_file`; keep one of them");
    let text = format!("upstream: {{ password_file: {path} }}");
    let config = load_both(&text, &[("ELEVATE_PASSWORD", "later")]).unwrap();
    assert_eq!(config.upstream.password.unwrap().expose_secret(), "later");
}

#[test]
fn only_upstreams_that_are_used_need_credentials() {
    let source = |upstream: &str| {
        format!("sources: [{{ name: s, upstream: {upstream}, path: /x, identity: who }}]\n")
    };
    let upstream =
        |settings: &str| format!("upstreams: {{ okta: {{ base_url: 'http://h', {settings} }} }}\n");
    let missing = |text: &str| {
        let missing = from_yaml("c", text).unwrap().require_credentials();
        missing.err().map(|errors| errors.to_string()).unwrap_or_default()
    };
    // No source uses the default upstream, so there is no table there either.
    let text = upstream("auth: { none: {} }") + &source("okta");
    assert_eq!(missing(&text), "");
    assert!(from_yaml("c", &text).unwrap().identities.is_empty());
    assert_eq!(missing(&(upstream("") + &source("okta"))), "", "without `auth` there is none");
    // A table that is configured uses it.
    let table = "identities: { path: /identities/ }\n";
    assert!(missing(&format!("{text}{table}")).contains("neither user nor password"));
    let text = upstream("") + &source("default");
    let expected = "no credentials for the default upstream (neither user nor password); `s` and \
                    `identities` use it: set `upstream: NAME` there if another one is meant, or \
                    set ELEVATE_USERNAME and ELEVATE_PASSWORD";
    assert!(missing(&text).starts_with(expected), "{}", missing(&text));
    assert_eq!(from_yaml("c", &text).unwrap().identities.len(), 1);
    for auth in ["none: {}", "bearer: { token: t }"] {
        assert_eq!(missing(&format!("upstream: {{ auth: {{ {auth} }} }}\n")), "", "{auth}");
    }
    let text = upstream("username: alice") + &source("okta");
    assert_eq!(
        missing(&text),
        "no credentials for the upstream: `upstreams.okta.username` is set, \
         `upstreams.okta.password` is not"
    );
}

#[test]
fn what_check_prints_is_not_enough_to_call_an_upstream() {
    for (auth, path) in [
        ("basic: { username: a, password: hunter2 }", "basic.password"),
        ("bearer: { token: hunter2 }", "bearer.token"),
        ("headers: { X-A: { value: hunter2, prefix: 'P ' } }", "headers.x-a"),
        (
            "oauth2: { token_url: 'http://h', client_id: c, client_secret: hunter2 }",
            "oauth2.client_secret",
        ),
    ] {
        let config = from_yaml("c", &format!("upstream: {{ auth: {{ {auth} }} }}")).unwrap();
        assert!(config.require_credentials().is_ok());
        let printed = config.to_yaml();
        let again = from_yaml("printed.yaml", &printed).unwrap();
        assert_eq!(again.to_yaml(), printed);
        assert_eq!(
            again.require_credentials().unwrap_err().to_string(),
            format!(
                "the secret `upstream.auth.{path}` is masked, as `check` prints it; write the \
                 secret, or the path of a file with it (`…_file`)"
            )
        );
    }
}

#[test]
fn without_secrets_their_files_need_not_be_there() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (_directory, key_path) = file(&key.serialize_pem());
    let text = format!(
        "upstream: {{ client_cert_file: /nonexistent, client_key_file: {}, auth: {{ bearer: \
         {{ token_file: /nonexistent }} }} }}\n",
        key_path.display()
    );
    let (_directory, path) = file(&text);
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    let variables = [("ELEVATE_USERNAME_FILE", "/nonexistent")];
    let errors = load(&overrides, &env(&variables)).unwrap_err();
    assert_eq!(errors.errors.len(), 3, "{errors}");
    let config = load_without_secrets(&overrides, &env(&variables)).unwrap();
    assert!(config.upstream.auth.is_none() && config.upstream.client_certificate.is_none());

    for text in
        ["upstream: { pasword_file: /nonexistent }", "cache: { ttl: 1 }", "a: [", "sources: []"]
    {
        let (_directory, path) = file(text);
        let overrides = Overrides { config: Some(path), ..Overrides::default() };
        assert!(load_without_secrets(&overrides, &env(&[])).is_err(), "{text}");
    }
    let overrides = Overrides { config: Some("/nonexistent".into()), ..Overrides::default() };
    assert!(load_without_secrets(&overrides, &env(&[])).is_err(), "the file itself is needed");
}
