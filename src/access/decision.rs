//! The result of a sign-in.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::Grant;

/// Who the sender of a request is: known at once, or after some work.
pub enum Decision {
    /// Decided.
    Ready(Result<Arc<Grant>, Refusal>),
    /// Takes time: a password is hashed, or keys are fetched. A caller that leaves drops it.
    Pending(BoxFuture<'static, Result<Arc<Grant>, Refusal>>),
}

impl std::fmt::Debug for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
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

/// The error of a bearer token, for `WWW-Authenticate` (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenError {
    /// The token is unknown, invalid or has expired.
    InvalidToken,
    /// The token does not permit this.
    InsufficientScope,
}
