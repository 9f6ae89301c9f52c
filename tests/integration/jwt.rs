//! JSON Web Tokens, from an identity provider over real sockets.

mod attacks;
mod changed_tokens;
mod gateway;
mod keys;
mod provider_faults;
mod times;

use std::sync::Arc;

use incident_gateway::access::jwt::{Verification, Verifier};
use incident_gateway::access::{Failure, Grant};
use incident_gateway::clock::WallClock;
use incident_gateway::config::Jwt;
use serde_json::{Value, json};

use crate::support::identity_provider::{IdentityProvider, SigningKey};

/// A provider, and the verifier of its tokens, which has its keys.
struct Signed {
    idp: IdentityProvider,
    verifier: Arc<Verifier>,
}

impl Signed {
    async fn start(keys: &[&SigningKey]) -> Self {
        Self::of(IdentityProvider::start(keys).await).await
    }

    async fn of(idp: IdentityProvider) -> Self {
        let verifier = verifier(&idp.settings());
        // Waits for the first fetch, since the key of this token is unknown.
        let token = SigningKey::ed25519("first fetch").token(&idp.claims(json!({})));
        assert_eq!(verify(&verifier, &token).await, Err(Failure::Key));
        Self { idp, verifier }
    }

    /// Why a token is refused; `None` if it is taken.
    async fn refusal(&self, token: &str) -> Option<Failure> {
        verify(&self.verifier, token).await.err()
    }

    fn claims(&self) -> Value {
        self.idp.claims(json!({}))
    }
}

fn verifier(settings: &Jwt) -> Arc<Verifier> {
    Verifier::new(settings, WallClock::system()).unwrap()
}

/// Verifies a token, and waits for keys if need be. A grant is compared by its scope alone.
async fn verify(verifier: &Arc<Verifier>, token: &str) -> Result<Granted, Failure> {
    let result = match verifier.verify(token) {
        Verification::Ready(result) => result,
        Verification::Pending(result) => result.await,
    };
    result.map(Granted)
}

#[derive(Debug)]
struct Granted(Arc<Grant>);

impl PartialEq for Granted {
    fn eq(&self, other: &Self) -> bool {
        self.0.scope == other.0.scope
    }
}
