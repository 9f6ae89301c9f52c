//! An identity provider whose answers are not those of a provider, and how it is reached.

use std::time::{Duration, Instant};

use incident_gateway::access::Failure;
use incident_gateway::config::{Jwt, PemFile};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::Level;

use super::{verifier, verify};
use crate::support::authority::Authority;
use crate::support::captured_log::CapturedLog;
use crate::support::forward_proxy::ForwardProxy;
use crate::support::identity_provider::{
    DISCOVERY_PATH, IdentityProvider, KEYS_PATH, SigningKey, merged,
};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream, gzip};

/// Whether a token of the key is taken under these settings.
async fn is_taken(idp: &IdentityProvider, settings: &Jwt, key: &SigningKey) -> bool {
    let token = key.token(&idp.claims(json!({"iss": settings.issuer})));
    match verify(&verifier(settings), &token).await {
        Ok(_) => true,
        Err(failure) => {
            assert_eq!(failure, Failure::Key);
            false
        }
    }
}

#[tokio::test]
async fn the_issuer_of_the_configuration_must_be_the_same() {
    let key = SigningKey::ed25519("key");
    let idp = IdentityProvider::start(&[&key]).await;
    let issuer = idp.issuer();
    for (answered, expected) in [
        (json!(issuer), true),
        (json!(format!("{issuer}/")), false),
        (json!(issuer.replace("http", "HTTP")), false),
        (json!("https://idp.test"), false),
        (json!([issuer]), false),
        (Value::Null, false),
    ] {
        idp.set_discovery(json!({"issuer": answered}));
        assert_eq!(is_taken(&idp, &idp.settings(), &key).await, expected, "{answered}");
    }
    // A slash at the end is not doubled in the address, but compares.
    let settings = Jwt { issuer: format!("{issuer}/"), ..idp.settings() };
    idp.set_discovery(json!({"issuer": format!("{issuer}/")}));
    assert!(is_taken(&idp, &settings, &key).await);
    idp.set_discovery(json!({"issuer": issuer}));
    assert!(!is_taken(&idp, &settings, &key).await);
    // A path comes before that of the configuration (OpenID Connect Discovery 1.0, section 4.1).
    let settings = Jwt { issuer: format!("{issuer}/realms/a"), ..idp.settings() };
    let configuration = json!({"issuer": settings.issuer, "jwks_uri": idp.keys_url()});
    let path = format!("/realms/a{DISCOVERY_PATH}");
    idp.server.script(&path, Script::json(configuration.to_string()));
    assert!(is_taken(&idp, &settings, &key).await);
}

#[tokio::test]
async fn keys_are_only_fetched_over_https_or_loopback() {
    let key = SigningKey::ed25519("key");
    let idp = IdentityProvider::start(&[&key]).await;
    for address in [
        "http://10.0.0.1/keys",
        "http://idp.test/keys",
        "http://127.0.0.1.idp.test/keys",
        "http://idp.localhost/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "data:application/json,{}",
        "/keys",
        "",
    ] {
        idp.set_discovery(json!({"jwks_uri": address}));
        assert!(!is_taken(&idp, &idp.settings(), &key).await, "{address}");
    }
    assert_eq!(idp.fetches(), 0);
    let error = |settings: Jwt| {
        let clock = incident_gateway::clock::WallClock::system();
        incident_gateway::access::jwt::Verifier::new(&settings, clock).unwrap_err().to_string()
    };
    let settings = Jwt { issuer: "http://idp.test".to_owned(), ..idp.settings() };
    assert!(error(settings.clone()).contains("auth.jwt.issuer"));
    let keys_url = Some("http://idp.test/keys".parse().unwrap());
    assert!(error(Jwt { jwks_url: keys_url, ..settings }).contains("auth.jwt.jwks_url"));
    let elsewhere = Some("http://proxy.test:3128".parse().unwrap());
    let settings = Jwt { proxy: elsewhere, ..idp.settings() };
    assert!(error(settings).contains("without a proxy elsewhere"));
    // A proxy of this machine does no harm.
    let proxy = ForwardProxy::start(idp.server.address()).await;
    idp.set_discovery(json!({}));
    let settings = Jwt { proxy: Some(proxy.url()), ..idp.settings() };
    assert!(is_taken(&idp, &settings, &key).await);
    assert!(!proxy.heads().is_empty());
}

#[tokio::test]
async fn answers_that_are_no_keys_are_not_taken() {
    let key = SigningKey::ed25519("key");
    let idp = IdentityProvider::start(&[&key]).await;
    let set = json!({"keys": [key.jwk()]}).to_string();
    let padded = |length: usize| format!("{set}{}", " ".repeat(length - set.len()));
    let other = ScriptedUpstream::start().await;
    other.script(KEYS_PATH, Script::json(set.clone()));
    let redirect = |status, location: String| {
        Reply { status, ..Reply::json(set.clone()) }.header("Location", &location)
    };
    let gzipped = Reply::json(gzip(set.as_bytes())).header("Content-Encoding", "gzip");
    let answers: Vec<(&str, Script, bool)> = vec![
        ("a key set", Script::json(set.clone()), true),
        ("1 MiB", Script::json(padded(1 << 20)), true),
        ("more than 1 MiB", Script::json(padded((1 << 20) + 1)), false),
        ("compressed", gzipped.into(), false),
        ("cut", Script::json(&set.as_bytes()[..set.len() - 1]), false),
        ("twice", Script::json(set.repeat(2)), false),
        ("an error", Reply { status: 500, ..Reply::json(set.clone()) }.into(), false),
        ("no content", Reply { status: 201, ..Reply::json(set.clone()) }.into(), false),
        ("not found", Script::status(404), false),
        ("a redirect", redirect(302, format!("{}{KEYS_PATH}", other.base_url())).into(), false),
        ("a redirect to itself", redirect(301, format!("{KEYS_PATH}?")).into(), false),
        ("a permanent redirect", redirect(308, KEYS_PATH.to_owned()).into(), false),
    ];
    for (what, script, expected) in &answers {
        idp.server.script(KEYS_PATH, script.clone());
        assert_eq!(is_taken(&idp, &idp.settings(), &key).await, *expected, "{what}");
    }
    assert_eq!(other.connections(), 0);
    idp.server.script(KEYS_PATH, Script::json(set.clone()));
    let configuration = json!({"issuer": idp.issuer(), "jwks_uri": idp.keys_url()}).to_string();
    let redirect = Reply { status: 302, ..Reply::json(configuration.clone()) };
    for (what, script) in [
        ("a redirect", redirect.header("Location", DISCOVERY_PATH).into()),
        ("an error", Script::status(503)),
        ("a list", Script::json(format!("[{configuration}]"))),
        (
            "no address",
            Script::json(merged(json!({}), json!({"issuer": idp.issuer()})).to_string()),
        ),
        (
            "two issuers",
            Script::json(configuration.replace('{', r#"{"issuer":"https://idp.test","#)),
        ),
    ] {
        idp.server.script(DISCOVERY_PATH, script);
        assert!(!is_taken(&idp, &idp.settings(), &key).await, "{what}");
    }
    idp.set_discovery(json!({}));
    assert!(is_taken(&idp, &idp.settings(), &key).await);
}

#[tokio::test]
async fn the_issuer_is_reached_over_tls_by_its_authority_and_through_a_proxy() {
    let (authority, key) = (Authority::new("idp"), SigningKey::ed25519("key"));
    let tls = authority.server(b"http/1.1", &["127.0.0.1"], |_| {});
    let idp = IdentityProvider::of(ScriptedUpstream::start_tls(tls).await, &[&key]);
    let ca = |authority: &Authority| {
        Some(PemFile { path: "/ca.pem".into(), pem: authority.pem().into() })
    };
    let settings = Jwt { ca: ca(&authority), ..idp.settings() };
    assert!(settings.issuer.starts_with("https://"));
    assert!(is_taken(&idp, &settings, &key).await);
    let another = Jwt { ca: ca(&Authority::new("another")), ..idp.settings() };
    assert!(!is_taken(&idp, &another, &key).await);

    let proxy = ForwardProxy::start(idp.server.address()).await;
    let fetches = idp.fetches();
    let proxied = Jwt { proxy: Some(proxy.url()), ..settings };
    assert!(is_taken(&idp, &proxied, &key).await);
    assert!(proxy.heads().iter().all(|head| head.starts_with("CONNECT ")));
    assert_eq!((proxy.heads().is_empty(), idp.fetches()), (false, fetches + 1));
}

#[tokio::test]
async fn requests_for_keys_ask_for_nothing_compressed_and_carry_no_credentials() {
    let key = SigningKey::ed25519("key");
    let idp = IdentityProvider::start(&[&key]).await;
    assert!(is_taken(&idp, &idp.settings(), &key).await);
    let seen = idp.server.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(
            (&*request.method, request.header("accept-encoding")),
            ("GET", Some("identity"))
        );
        assert!(request.header("authorization").is_none() && request.body.is_empty());
    }
}

#[tokio::test]
async fn a_change_of_the_issuers_state_is_one_line_of_the_log() {
    let log = CapturedLog::new();
    let _capture = log.capture(Level::INFO);
    let secrets = fail_and_recover(&log).await;
    let lines = |level: &str| log.text().lines().filter(|line| line.contains(level)).count();
    assert_eq!((lines("WARN"), lines("INFO")), (1, 1), "{}", log.text());
    assert!(log.text().contains("refused until then"));
    assert!(secrets.iter().all(|secret| !log.text().contains(secret)));
}

/// Has an issuer fail until the third fetch. Returns what must not be in the log.
async fn fail_and_recover(log: &CapturedLog) -> [String; 2] {
    let (key, secret) = (SigningKey::ed25519("key"), "hunter2".to_owned());
    let idp = IdentityProvider::start(&[&key]).await;
    let faulty = Script::json(format!(r#"{{"keys":"{secret}"}}"#));
    let set = Script::json(json!({"keys": [key.jwk()]}).to_string());
    idp.server.script_each(KEYS_PATH, [faulty.clone(), faulty, set]);
    let verifier = verifier(&idp.settings());
    let token = key.token(&idp.claims(json!({})));
    let began = Instant::now();
    while verify(&verifier, &token).await.is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "never taken: {}", log.text());
        sleep(Duration::from_millis(5)).await;
    }
    assert!(idp.fetches() >= 3);
    [secret, token]
}
