//! JSON Web Tokens.

use std::sync::Arc;

use incident_gateway::access::jwt::{Verification, Verifier};
use incident_gateway::access::{Failure, Grant, Scope};
use incident_gateway::clock::WallClock;
use incident_gateway::config::Jwt;
use serde_json::json;

use crate::support::identity_provider::{IdentityProvider, SigningKey};

async fn verify(verifier: &Arc<Verifier>, token: &str) -> Result<Arc<Grant>, Failure> {
    match verifier.verify(token) {
        Verification::Ready(result) => result,
        Verification::Pending(result) => result.await,
    }
}

fn verifier(settings: &Jwt) -> Arc<Verifier> {
    Verifier::new(settings, WallClock::system()).unwrap()
}

#[tokio::test]
async fn tokens_of_each_algorithm_are_taken() {
    let keys = SigningKey::of_each_kind();
    let idp = IdentityProvider::start(&keys.each_ref()).await;
    let verifier = verifier(&idp.settings());
    for key in &keys {
        let grant = verify(&verifier, &key.token(&idp.claims(json!({})))).await.unwrap();
        assert_eq!(grant.scope, Scope::Incidents);
    }
    let token = keys[0].token_with(json!({"alg": "PS256"}), &idp.claims(json!({})));
    assert!(verify(&verifier, &token).await.is_ok());
}
