//! Who a caller is, and what they may see.

use std::sync::Arc;
use std::time::SystemTime;

use super::Scope;
use super::jwt::Proof;

/// How a caller signed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// A user name and a password.
    Basic,
    /// A token of the tokens file.
    Token,
    /// A JSON Web Token.
    Jwt,
    /// A client certificate alone.
    Certificate,
}

impl Method {
    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

/// Who a caller is, and what they may see.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who it is, and how that is known; `None` where nobody needs to sign in.
    pub principal: Option<(Arc<str>, Method)>,
    /// What they may see.
    pub scope: Scope,
    /// When it ends by itself, by the wall clock.
    pub expires_at: Option<SystemTime>,
    /// How it was verified, for [`Method::Jwt`] alone.
    pub(super) proof: Option<Proof>,
}

impl Grant {
    /// Everything, to somebody unknown.
    #[must_use]
    pub fn open() -> Self {
        Self { principal: None, scope: Scope::All, expires_at: None, proof: None }
    }
}
