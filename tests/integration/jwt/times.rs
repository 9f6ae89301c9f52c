//! Tokens at the edges of their time, and how long they are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use incident_gateway::access::Failure;
use incident_gateway::access::jwt::Verifier;
use incident_gateway::clock::WallClock;
use incident_gateway::config::Jwt;
use serde_json::json;

use super::{Granted, verify};
use crate::support::identity_provider::{IdentityProvider, SigningKey};

const START_SECONDS: u64 = 1_900_000_000;

/// A wall clock that the test sets.
#[derive(Clone)]
struct SetClock(Arc<AtomicU64>);

impl SetClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START_SECONDS)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(START_SECONDS + seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> WallClock {
        let seconds = Arc::clone(&self.0);
        WallClock::new(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::SeqCst))
        })
    }
}

#[tokio::test]
async fn a_token_is_valid_with_a_leeway_of_thirty_seconds() {
    let key = SigningKey::p256("p256");
    let idp = IdentityProvider::start(&[&key]).await;
    let time = SetClock::new();
    let verifier = Verifier::new(&idp.settings(), time.clock()).unwrap();
    // The second one is first verified when it has expired; the first one is remembered.
    let token = |sub: &str| {
        let times = json!({"sub": sub, "nbf": START_SECONDS + 100, "exp": START_SECONDS + 200});
        key.token(&idp.claims(times))
    };
    let (remembered, new) = (token("remembered"), token("new"));
    for (seconds, expected) in [
        (0, Some(Failure::NotYetValid)),
        (69, Some(Failure::NotYetValid)),
        (70, None),
        (100, None),
        (200, None),
        (229, None),
        (230, Some(Failure::Expired)),
        (10_000, Some(Failure::Expired)),
    ] {
        time.set(seconds);
        let refusal = verify(&verifier, &remembered).await.err();
        assert_eq!(refusal, expected, "after {seconds} s");
    }
    assert_eq!(verify(&verifier, &new).await, Err(Failure::Expired));
}

#[tokio::test]
async fn a_grant_holds_until_its_token_expires() {
    let key = SigningKey::ed25519("ed25519");
    let idp = IdentityProvider::start(&[&key]).await;
    let time = SetClock::new();
    let verifier = Verifier::new(&idp.settings(), time.clock()).unwrap();
    let token = key.token(&idp.claims(json!({"exp": START_SECONDS + 60})));
    let Granted(grant) = verify(&verifier, &token).await.unwrap();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(START_SECONDS + 90);
    assert_eq!(grant.expires_at, Some(end));
    time.set(89);
    assert!(verifier.still_grants(&grant));
    time.set(90);
    assert!(!verifier.still_grants(&grant));
}

#[tokio::test]
async fn a_grant_holds_under_the_same_settings_alone() {
    let key = SigningKey::ed25519("ed25519");
    let idp = IdentityProvider::start(&[&key]).await;
    let time = SetClock::new();
    let verifier = Verifier::new(&idp.settings(), time.clock()).unwrap();
    let token = key.token(&idp.claims(json!({"exp": START_SECONDS + 60})));
    let Granted(grant) = verify(&verifier, &token).await.unwrap();
    let change: [fn(&mut Jwt); 4] = [
        |_| {},
        |jwt| jwt.audience.push('2'),
        |jwt| jwt.scope_claim.push('2'),
        |jwt| jwt.employee_claim.push('2'),
    ];
    for (index, change) in change.into_iter().enumerate() {
        let mut settings = idp.settings();
        change(&mut settings);
        let other = Verifier::new(&settings, time.clock()).unwrap();
        assert_eq!(other.is_of(&idp.settings()), index == 0);
        let _ = verify(&other, &token).await;
        assert_eq!(other.still_grants(&grant), index == 0, "change {index}");
    }
}
