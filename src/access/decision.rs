//! The result of a sign-in.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::Grant;

/// Who the sender of a request is: known at once, or after some work.
pub enum Decision {
    /// Decided.
    Ready(Result<Arc<Grant>, Refusal>),
    /// Takes time: a password is hashed, or keys are fetched.
    Pending(BoxFuture<'static, Result<Arc<Grant>, Refusal>>),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There are several `Authorization` headers (400).
    RepeatedAuthorization,
    /// There are no valid credentials (401).
    Unauthorized {
        /// Whether there was a bearer token, which is invalid (RFC 6750, `invalid_token`).
        has_token: bool,
    },
    /// The address has failed too often (429).
    TooManyAttempts {
        /// After how long its next attempt is checked.
        retry_after: Duration,
    },
    /// Too many passwords are waiting to be checked (503).
    Overloaded,
}
