//! JSON Web Tokens (RFC 7519, RFC 8725) of an `OpenID` provider.
//!
//! The key decides which algorithms are accepted, and the token only chooses among them. The
//! signature is verified before any claim is read, so that an unsigned token learns nothing.
//!
//! jsonwebtoken verifies the signature (`provider`: over ring). What it is lax about is checked
//! before and after: the header (`header`), because it ignores `crit`, and the claims (`claims`),
//! because it takes a list of issuers, rounds times, and reads the system's clock.

mod claims;
mod endpoint;
mod header;
mod key;
mod key_set;
mod key_source;
mod members;
mod provider;
mod scope;
mod verified_tokens;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use tokio::time::{Instant, timeout_at};

use self::endpoint::KeyEndpoint;
use self::header::Header;
use self::key::Key;
use self::key_set::NoKey;
use self::key_source::{KeySource, Keys};
use self::members::Members;
use super::{Failure, Grant, SetupError};
use crate::clock::WallClock;
use crate::config::Jwt;

/// How long a request waits for keys.
const MAX_KEY_WAIT: Duration = Duration::from_secs(3);

/// Verifies tokens by the keys of one issuer.
#[derive(Debug)]
pub struct Verifier {
    settings: Arc<Jwt>,
    clock: WallClock,
    keys: KeySource,
}

/// A token's grant, or why it is refused: known at once, or after the issuer's keys were fetched.
pub enum Verification {
    /// Decided.
    Ready(Result<Arc<Grant>, Failure>),
    /// Keys are being fetched.
    Pending(BoxFuture<'static, Result<Arc<Grant>, Failure>>),
}

/// By which settings and with which key a token was verified.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    settings: Arc<Jwt>,
    key: Arc<Key>,
}

impl Verifier {
    /// Starts to fetch the issuer's keys, on the current runtime, until this value is dropped.
    ///
    /// # Errors
    ///
    /// When the client that fetches keys cannot be set up.
    pub fn new(settings: &Jwt, clock: WallClock) -> Result<Arc<Self>, SetupError> {
        provider::install();
        let settings = Arc::new(settings.clone());
        let endpoint = Arc::new(KeyEndpoint::new(Arc::clone(&settings))?);
        let keys = KeySource::start(&settings.issuer, move || {
            let endpoint = Arc::clone(&endpoint);
            async move { endpoint.fetch().await }
        });
        Ok(Arc::new(Self { settings, clock, keys }))
    }

    /// Whether it was made from these settings.
    #[must_use]
    pub fn is_of(&self, settings: &Jwt) -> bool {
        *self.settings == *settings
    }

    /// Whether there are keys, without which no token can be verified.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.keys.current().is_some()
    }

    /// Verifies the text of a token.
    #[must_use]
    pub fn verify(self: &Arc<Self>, token: &str) -> Verification {
        match self.verify_now(token) {
            Ok(grant) => Verification::Ready(Ok(grant)),
            Err(NoKey::Refused(failure)) => Verification::Ready(Err(failure)),
            Err(NoKey::UnknownId) if self.keys.request() => {
                Verification::Pending(Arc::clone(self).verify_later(token.to_owned()).boxed())
            }
            Err(NoKey::UnknownId) => Verification::Ready(Err(Failure::Key)),
        }
    }

    /// Whether the grant of a token holds still: it has not expired, its key is still in the key
    /// set, and it was verified by the same settings.
    #[must_use]
    pub fn still_grants(&self, grant: &Grant) -> bool {
        grant.proof().is_some_and(|proof| {
            *proof.settings == *self.settings
                && grant.expires_at.is_some_and(|expires_at| self.clock.now() < expires_at)
                && self.keys.current().is_some_and(|keys| keys.set.contains(&proof.key))
        })
    }

    /// Waits for the fetch that is under way, and for one more if that brings nothing.
    async fn verify_later(self: Arc<Self>, token: String) -> Result<Arc<Grant>, Failure> {
        let deadline = Instant::now() + MAX_KEY_WAIT;
        loop {
            if timeout_at(deadline, self.keys.fetched()).await.is_err() {
                return Err(Failure::Key);
            }
            match self.verify_now(&token) {
                Ok(grant) => return Ok(grant),
                Err(NoKey::Refused(failure)) => return Err(failure),
                Err(NoKey::UnknownId) if self.keys.request() => {}
                Err(NoKey::UnknownId) => return Err(Failure::Key),
            }
        }
    }

    /// Verifies a token by the present keys.
    fn verify_now(&self, token: &str) -> Result<Arc<Grant>, NoKey> {
        let keys = self.keys.current();
        let now = self.clock.now();
        if let Some(grant) = keys.as_ref().and_then(|keys| keys.verified.get(token, now)) {
            return Ok(grant);
        }
        let header = Header::of(token).map_err(NoKey::Refused)?;
        let keys = keys.ok_or(NoKey::UnknownId)?;
        let (key, claims) = signed_claims(token, &header, &keys)?;
        let expires_at = claims::check(&claims, &self.settings, now).map_err(NoKey::Refused)?;
        let proof = Proof { settings: Arc::clone(&self.settings), key };
        let scope = scope::scope(&claims, &self.settings);
        let grant = Arc::new(Grant::jwt(claims::principal(&claims), scope, expires_at, proof));
        keys.verified.insert(token, Arc::clone(&grant));
        Ok(grant)
    }
}

/// The claims of a token that one of the keys has signed, and this key.
fn signed_claims(token: &str, header: &Header, keys: &Keys) -> Result<(Arc<Key>, Members), NoKey> {
    for key in keys.set.fitting(header)? {
        match verify_signature(token, key, header.algorithm) {
            Ok(claims) => return Ok((Arc::clone(key), claims)),
            Err(Failure::Signature) => {}
            Err(failure) => return Err(NoKey::Refused(failure)),
        }
    }
    Err(NoKey::Refused(Failure::Signature))
}

/// Verifies the signature with one key, then reads the claims.
fn verify_signature(token: &str, key: &Key, algorithm: Algorithm) -> Result<Members, Failure> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode(token, &key.decoding_key(), &validation);
    data.map(|data| data.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Failure::Signature,
        ErrorKind::InvalidAlgorithm => Failure::Algorithm,
        _ => Failure::Malformed,
    })
}
