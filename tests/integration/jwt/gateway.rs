//! Tokens as callers of a gateway send them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use incident_gateway::config::{Config, SignIn};
use serde_json::{Value, json};
use tracing::Level;

use crate::support::captured_log::CapturedLog;
use crate::support::client::{Answer, Client};
use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::identity_provider::{IdentityProvider, SigningKey};
use crate::support::scripted_upstream::ScriptedUpstream;

/// A gateway that takes the tokens of a provider alone.
struct Guarded {
    gateway: Gateway,
    idp: IdentityProvider,
    key: SigningKey,
    callers: AtomicU32,
    _upstream: ScriptedUpstream,
}

impl Guarded {
    async fn start() -> Self {
        let key = SigningKey::rsa("rsa", 0);
        let idp = IdentityProvider::start(&[&key]).await;
        let upstream = good_upstream().await;
        let config = Config {
            sign_in: SignIn { jwt: Some(idp.settings()), ..SignIn::default() },
            ..quick(&upstream.base_url())
        };
        let gateway = Gateway::start(&config);
        let guarded = Self { gateway, idp, key, callers: AtomicU32::new(0), _upstream: upstream };
        let (reader, began) = (guarded.token(json!({})), Instant::now());
        while guarded.get("/incidents", &reader).await.header("incident-completeness") != "complete"
        {
            assert!(began.elapsed() < Duration::from_mins(1), "never complete");
        }
        guarded
    }

    fn token(&self, claims: Value) -> String {
        self.key.token(&self.idp.claims(claims))
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.try_get(path, token).await.unwrap()
    }

    /// Sends a request from an address of its own, because failures of one address are limited.
    async fn try_get(&self, path: &str, token: &str) -> std::io::Result<Answer> {
        let caller = self.callers.fetch_add(1, Ordering::SeqCst);
        let source = IpAddr::from(Ipv4Addr::from(0x7f01_0001 + caller));
        let mut client = Client::connect_from(source, self.gateway.running.address).await?;
        client.get(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    /// How often tokens were refused for a reason.
    async fn failures(&self, reason: &str) -> u64 {
        let page = self.gateway.admin("/metrics").await;
        let name = format!("incident_gateway_auth_failures_total{{reason=\"{reason}\"}} ");
        let line = page.text().lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn each_refusal_is_401_and_counted_by_its_reason() {
    let guarded = Guarded::start().await;
    let (key, idp) = (&guarded.key, &guarded.idp);
    let stranger = SigningKey::rsa("rsa", 1);
    let header = |header: Value| key.token_with(header, &idp.claims(json!({})));
    for (reason, token) in [
        ("expired", guarded.token(json!({"exp": 1}))),
        ("not_yet_valid", guarded.token(json!({"nbf": 4_102_444_800_u64}))),
        ("issuer", guarded.token(json!({"iss": format!("{}/", idp.issuer())}))),
        ("audience", guarded.token(json!({"aud": "another"}))),
        ("signature", stranger.token(&idp.claims(json!({})))),
        ("algorithm", header(json!({"alg": "none"}))),
        ("key", header(json!({"kid": "another"}))),
        ("malformed", header(json!({"crit": ["exp"]}))),
        ("malformed", guarded.token(json!({"exp": null}))),
    ] {
        let before = guarded.failures(reason).await;
        let answer = guarded.get("/incidents", &token).await;
        assert_eq!((answer.status, &*answer.problem()), (401, "unauthorized"), "{reason}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer") && challenge.contains(r#"error="invalid_token""#));
        assert!(!answer.text().contains(reason), "the reason is told: {}", answer.text());
        assert_eq!(guarded.failures(reason).await, before + 1, "{reason}");
    }
    assert_eq!(guarded.get("/incidents", &guarded.token(json!({}))).await.status, 200);
}

#[tokio::test]
async fn the_scope_claim_decides_what_is_seen() {
    let guarded = Guarded::start().await;
    let scoped = |scope: &str, employee: Value| {
        guarded.token(json!({"scope": scope, "employee_id": employee}))
    };
    for (token, status) in [
        (scoped("incidents:read", Value::Null), 200),
        (scoped("incidents:self", json!(100)), 200),
        (scoped("incidents:self metrics:read", json!("100")), 200),
        (scoped("incidents:self incidents:read", Value::Null), 200),
        (scoped("incidents:self", Value::Null), 403),
        (scoped("metrics:read", json!(100)), 403),
        (scoped("openid", json!(100)), 403),
        (guarded.token(json!({"scope": null})), 403),
    ] {
        let answer = guarded.get("/incidents", &token).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 403 {
            assert!(answer.header("www-authenticate").contains(r#"error="insufficient_scope""#));
        }
    }
    for employee in [json!(100), json!("100")] {
        let own = scoped("incidents:self", employee);
        let document = guarded.get("/incidents", &own).await.json();
        let employees: Vec<_> = document.as_object().unwrap().keys().collect();
        assert_eq!(employees, ["100"]);
        assert_eq!(guarded.get("/incidents/100", &own).await.status, 200);
        for path in ["/incidents/200", "/incidents/unknown", "/incidents?employee_id=200"] {
            assert_eq!(guarded.get(path, &own).await.status, 403, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_of_a_mebibyte_is_refused_and_others_are_served() {
    let guarded = Guarded::start().await;
    let valid = guarded.token(json!({}));
    let large = guarded.token(json!({"padding": "x".repeat(1 << 20)}));
    // The connection may be closed before all was sent.
    if let Ok(answer) = guarded.try_get("/incidents", &large).await {
        assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    }
    let fits_a_header = guarded.token(json!({"padding": "x".repeat(20_000)}));
    assert_eq!(guarded.get("/incidents", &fits_a_header).await.status, 401);
    assert_eq!(guarded.get("/incidents", &valid).await.status, 200);
}

#[tokio::test]
async fn valid_tokens_are_served_while_thousands_of_unknown_keys_come() {
    let guarded = Guarded::start().await;
    let valid = guarded.token(json!({}));
    let fetches = guarded.idp.fetches();
    let claims = guarded.idp.claims(json!({}));
    let forged: Vec<_> = (0..1000)
        .map(|number: usize| {
            guarded.key.token_with(json!({"kid": format!("unknown {number}")}), &claims)
        })
        .collect();
    let began = Instant::now();
    for forged in forged.chunks(50) {
        let attack = join_all(forged.iter().map(|token| guarded.get("/incidents", token)));
        let (refused, served) = tokio::join!(attack, guarded.get("/incidents", &valid));
        assert!(refused.iter().all(|answer| answer.status == 401));
        assert_eq!(served.status, 200);
        assert!(served.took < Duration::from_secs(3), "{:?}", served.took);
    }
    let most = 1 + began.elapsed().as_secs() / 10;
    assert!((guarded.idp.fetches() - fetches) as u64 <= most, "{} fetches", guarded.idp.fetches());
}

#[tokio::test]
async fn the_log_names_the_principal_and_never_the_token() {
    let guarded = Guarded::start().await;
    let log = CapturedLog::new();
    let _capture = log.capture(Level::DEBUG);
    let token = guarded.token(json!({"sub": "alice@example.test"}));
    assert_eq!(guarded.get("/incidents", &token).await.status, 200);
    let broken = format!("{token}AAAA");
    assert_eq!(guarded.get("/incidents", &broken).await.status, 401);
    let text = log.text();
    let of_alice = text.lines().filter(|line| line.contains("alice@example.test"));
    let of_alice: Vec<_> = of_alice.collect();
    assert!(matches!(of_alice[..], [line] if line.contains("jwt")), "{text}");
    for part in token.split('.') {
        assert!(!text.contains(part), "{part}");
    }
}
