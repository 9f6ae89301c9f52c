//! JSON Web Tokens (RFC 7519) of an `OpenID` provider.

mod key;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::key::Key;
use super::{Failure, Grant, SetupError};
use crate::clock::WallClock;
use crate::config::Jwt;

/// Verifies tokens by the keys of one issuer.
#[derive(Debug)]
pub struct Verifier {
    settings: Arc<Jwt>,
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
    pub fn new(settings: &Jwt, _clock: WallClock) -> Result<Arc<Self>, SetupError> {
        Ok(Arc::new(Self { settings: Arc::new(settings.clone()) }))
    }

    /// Whether it was made from these settings.
    #[must_use]
    pub fn is_of(&self, settings: &Jwt) -> bool {
        *self.settings == *settings
    }

    /// Verifies the text of a token.
    #[must_use]
    pub fn verify(self: &Arc<Self>, _token: &str) -> Verification {
        Verification::Ready(Err(Failure::Key))
    }

    /// Whether the grant of a token holds still: it has not expired, its key is still in the key
    /// set, and it was verified by the same settings.
    #[must_use]
    pub fn still_grants(&self, _grant: &Grant) -> bool {
        false
    }
}
