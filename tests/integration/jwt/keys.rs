//! Keys that come and go: rotation, unknown keys, and an issuer that is down.

use std::time::{Duration, Instant};

use futures::future::join_all;
use incident_gateway::access::Failure;
use serde_json::json;
use tokio::time::{advance, pause, resume, sleep};

use super::{Granted, Signed, verifier, verify};
use crate::support::identity_provider::{
    DISCOVERY_PATH, IdentityProvider, KEYS_PATH, SigningKey, settings,
};
use crate::support::scripted_upstream::{AcceptMode, Reply, Script};

/// Longer than a fetch over loopback takes, and much shorter than any wait for keys.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// How long a request waits for keys.
const MAX_KEY_WAIT: Duration = Duration::from_secs(3);

/// Moves the clock on while no call is made.
async fn pass(duration: Duration) {
    pause();
    advance(duration).await;
    resume();
}

/// Waits until a condition holds.
async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_mins(1), "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_new_key_is_used_at_once_and_an_old_one_no_longer() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let idp = IdentityProvider::start(&[&old]).await;
    let verifier = verifier(&idp.settings());
    let old_token = old.token(&idp.claims(json!({})));
    let Granted(grant) = verify(&verifier, &old_token).await.unwrap();
    assert_eq!((idp.fetches(), verifier.still_grants(&grant)), (1, true));

    idp.set_keys([old.jwk(), new.jwk()]);
    let began = Instant::now();
    assert!(verify(&verifier, &new.token(&idp.claims(json!({})))).await.is_ok());
    assert!(began.elapsed() < AT_ONCE && idp.fetches() == 2);
    assert!(verify(&verifier, &old_token).await.is_ok() && verifier.still_grants(&grant));

    // Ten minutes later the old key is gone, and with it what was verified by it.
    idp.set_keys([new.jwk()]);
    assert!(verify(&verifier, &old_token).await.is_ok());
    pass(Duration::from_mins(10)).await;
    wait_until("the next fetch", || idp.fetches() == 3 && !verifier.still_grants(&grant)).await;
    assert_eq!(verify(&verifier, &old_token).await, Err(Failure::Key));
    assert!(verify(&verifier, &new.token(&idp.claims(json!({})))).await.is_ok());
}

#[tokio::test]
async fn another_key_under_the_same_id_replaces_the_first() {
    let (first, second) = (SigningKey::ed25519("key"), SigningKey::ed25519("key"));
    let idp = IdentityProvider::start(&[&first]).await;
    let verifier = verifier(&idp.settings());
    let tokens = [&first, &second].map(|key| key.token(&idp.claims(json!({}))));
    let Granted(grant) = verify(&verifier, &tokens[0]).await.unwrap();
    assert_eq!(verify(&verifier, &tokens[1]).await, Err(Failure::Signature));
    idp.set_keys([second.jwk()]);
    pass(Duration::from_mins(10)).await;
    wait_until("the next fetch", || idp.fetches() == 2 && !verifier.still_grants(&grant)).await;
    assert!(verify(&verifier, &tokens[1]).await.is_ok());
    assert_eq!(verify(&verifier, &tokens[0]).await, Err(Failure::Signature));
}

#[tokio::test]
async fn each_key_of_one_id_is_tried() {
    let keys = [(); 3].map(|()| SigningKey::ed25519("key"));
    let signed = Signed::start(&keys.each_ref()).await;
    for key in &keys {
        assert_eq!(signed.refusal(&key.token(&signed.claims())).await, None);
    }
    let other = SigningKey::ed25519("key").token(&signed.claims());
    assert_eq!(signed.refusal(&other).await, Some(Failure::Signature));
}

#[tokio::test]
async fn thousands_of_unknown_keys_cause_one_fetch_in_ten_seconds() {
    let (key, attacker) = (SigningKey::ed25519("key"), SigningKey::ed25519("attacker"));
    let idp = IdentityProvider::start(&[&key]).await;
    let verifier = verifier(&idp.settings());
    let valid = key.token(&idp.claims(json!({})));
    assert!(verify(&verifier, &valid).await.is_ok());
    let claims = idp.claims(json!({}));
    let forged = |number: usize| attacker.token_with(json!({"kid": number.to_string()}), &claims);
    let tokens: Vec<_> = (0..3000).map(forged).collect();
    for round in 1..=3 {
        let began = Instant::now();
        let results = join_all(tokens.iter().map(|token| verify(&verifier, token))).await;
        assert!(results.iter().all(|result| *result == Err(Failure::Key)));
        assert_eq!(idp.fetches(), 1 + round);
        assert!(began.elapsed() < MAX_KEY_WAIT, "{:?}", began.elapsed());
        assert!(verify(&verifier, &valid).await.is_ok());
        pass(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn one_fetch_serves_all_who_wait_for_it() {
    let (old, new) = (SigningKey::ed25519("old"), SigningKey::ed25519("new"));
    let idp = IdentityProvider::start(&[&old]).await;
    let verifier = verifier(&idp.settings());
    assert!(verify(&verifier, &old.token(&idp.claims(json!({})))).await.is_ok());
    let set = json!({"keys": [old.jwk(), new.jwk()]}).to_string();
    idp.server.script(KEYS_PATH, Reply::json(set).after(Duration::from_millis(300)));
    let tokens: Vec<_> =
        (0..200).map(|number| new.token(&idp.claims(json!({"sub": number.to_string()})))).collect();
    let results = join_all(tokens.iter().map(|token| verify(&verifier, token))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(idp.fetches(), 2);
}

#[tokio::test]
async fn a_request_waits_for_keys_for_three_seconds() {
    let (key, unknown) = (SigningKey::ed25519("key"), SigningKey::ed25519("unknown"));
    let idp = IdentityProvider::start(&[&key]).await;
    let verifier = verifier(&idp.settings());
    let valid = key.token(&idp.claims(json!({})));
    assert!(verify(&verifier, &valid).await.is_ok());
    let slow = Reply::json(json!({"keys": [key.jwk()]}).to_string());
    // Discovery takes 2 s, and so do the keys: in time for each call, but not for the request.
    let discovery = json!({"issuer": idp.issuer(), "jwks_uri": idp.keys_url()}).to_string();
    let delay = Duration::from_secs(2);
    idp.server.script(DISCOVERY_PATH, Reply::json(discovery).after(delay));
    idp.server.script(KEYS_PATH, slow.after(delay));
    let began = Instant::now();
    let invalid = unknown.token(&idp.claims(json!({})));
    let (refused, accepted) = tokio::join!(verify(&verifier, &invalid), verify(&verifier, &valid));
    assert!(refused == Err(Failure::Key) && accepted.is_ok());
    let waited = began.elapsed();
    assert!((MAX_KEY_WAIT..MAX_KEY_WAIT + AT_ONCE / 2).contains(&waited), "{waited:?}");
    // The fetch goes on without it.
    wait_until("the fetch", || idp.fetches() == 2 && idp.server.in_flight() == 0).await;
}

#[tokio::test]
async fn the_start_does_not_wait_for_the_issuer() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    idp.server.set_accept_mode(AcceptMode::Refuse).await;
    let verifier = verifier(&idp.settings());
    let token = key.token(&idp.claims(json!({})));
    let began = Instant::now();
    assert_eq!(verify(&verifier, &token).await, Err(Failure::Key));
    assert!(began.elapsed() < AT_ONCE);
    idp.server.set_accept_mode(AcceptMode::Serve).await;
    let began = Instant::now();
    while verify(&verifier, &token).await.is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "never taken");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_first_request_waits_for_the_first_fetch() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    let set = json!({"keys": [key.jwk()]}).to_string();
    idp.server.script(KEYS_PATH, Reply::json(set).after(Duration::from_millis(500)));
    let verifier = verifier(&idp.settings());
    assert!(verify(&verifier, &key.token(&idp.claims(json!({})))).await.is_ok());
    assert_eq!(idp.fetches(), 1);
}

#[tokio::test]
async fn the_last_keys_stand_while_the_issuer_is_down() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    let verifier = verifier(&idp.settings());
    let token = |sub: &str| key.token(&idp.claims(json!({"sub": sub})));
    assert!(verify(&verifier, &token("before")).await.is_ok());
    idp.server.set_accept_mode(AcceptMode::Refuse).await;
    let unknown = SigningKey::ed25519("unknown").token(&idp.claims(json!({})));
    for hour in 0..3 {
        assert_eq!(verify(&verifier, &unknown).await, Err(Failure::Key));
        assert!(verify(&verifier, &token(&format!("hour {hour}"))).await.is_ok());
        pass(Duration::from_hours(1)).await;
    }
    idp.server.set_accept_mode(AcceptMode::Serve).await;
    assert!(verify(&verifier, &token("after")).await.is_ok());
}

#[tokio::test]
async fn answers_without_usable_keys_leave_the_last_keys() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    let verifier = verifier(&idp.settings());
    let token = key.token(&idp.claims(json!({})));
    assert!(verify(&verifier, &token).await.is_ok());
    let unknown = SigningKey::ed25519("unknown").token(&idp.claims(json!({})));
    let answers = ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#];
    for (index, answer) in answers.into_iter().enumerate() {
        idp.server.script(KEYS_PATH, Script::json(answer));
        assert_eq!(verify(&verifier, &unknown).await, Err(Failure::Key));
        assert!(idp.fetches() >= index + 2, "{answer}");
        assert!(verify(&verifier, &token).await.is_ok(), "{answer}");
        pass(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn the_keys_are_fetched_until_the_verifier_is_dropped() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    let verifier = verifier(&idp.settings());
    assert!(verify(&verifier, &key.token(&idp.claims(json!({})))).await.is_ok());
    for fetches in 2..5 {
        pass(Duration::from_mins(10)).await;
        wait_until("a fetch", || idp.fetches() >= fetches && idp.server.in_flight() == 0).await;
    }
    drop(verifier);
    wait_until("the last call's end", || idp.server.in_flight() == 0).await;
    let fetches = idp.fetches();
    pass(Duration::from_mins(30)).await;
    sleep(AT_ONCE / 10).await;
    assert_eq!(idp.fetches(), fetches);
}

#[tokio::test]
async fn keys_come_from_jwks_url_in_place_of_discovery() {
    let key = SigningKey::rsa("rsa", 0);
    let idp = IdentityProvider::start(&[&key]).await;
    let mut settings = settings("https://idp.test/realms/a/");
    settings.jwks_url = Some(idp.keys_url().parse().unwrap());
    let verifier = verifier(&settings);
    let token = key.token(&idp.claims(json!({"iss": "https://idp.test/realms/a/"})));
    assert!(verify(&verifier, &token).await.is_ok());
    assert_eq!(idp.server.calls(DISCOVERY_PATH), 0);
    let other = key.token(&idp.claims(json!({})));
    assert_eq!(verify(&verifier, &other).await, Err(Failure::Issuer));
}
