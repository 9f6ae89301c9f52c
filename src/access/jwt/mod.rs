//! JSON Web Tokens (RFC 7519, RFC 8725) of an `OpenID` provider.
//!
//! The key decides which algorithms are accepted, and the token only chooses among them. The
//! signature is verified before any claim is read, so that an unsigned token learns nothing.
//!
//! jsonwebtoken verifies the signature alone (`provider`: over ring). The header is read here
//! (`header`), because it ignores `crit`, and refuses keys of other kinds in members that are to be
//! ignored; so are the claims (`claims`), because it takes a list of issuers, rounds times, and
//! reads the system's clock.

mod claims;
mod endpoint;
mod header;
mod key;
mod key_set;
mod key_source;
mod members;
mod provider;
mod scope;
mod token;
mod verified_tokens;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use self::endpoint::KeyEndpoint;
use self::key::Key;
pub use self::key_set::{KeySet, Rejection};
use self::key_source::KeySource;
pub use self::token::verify;
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
            Err(Rejection::Final(failure)) => Verification::Ready(Err(failure)),
            Err(Rejection::UnknownKey) if self.keys.request() => {
                Verification::Pending(Arc::clone(self).verify_later(token.to_owned()).boxed())
            }
            Err(Rejection::UnknownKey) => Verification::Ready(Err(Failure::Key)),
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
                Err(Rejection::Final(failure)) => return Err(failure),
                Err(Rejection::UnknownKey) if self.keys.request() => {}
                Err(Rejection::UnknownKey) => return Err(Failure::Key),
            }
        }
    }

    /// Verifies a token by the present keys.
    fn verify_now(&self, token: &str) -> Result<Arc<Grant>, Rejection> {
        let keys = self.keys.current();
        let now = self.clock.now();
        if let Some(grant) = keys.as_ref().and_then(|keys| keys.verified.get(token, now)) {
            return Ok(grant);
        }
        let set = keys.as_ref().map(|keys| &keys.set);
        let grant = token::verify(token, set, &self.settings, now).map(Arc::new)?;
        if let Some(keys) = &keys {
            keys.verified.insert(token, Arc::clone(&grant));
        }
        Ok(grant)
    }
}
