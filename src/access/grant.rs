//! Who a caller is, and what they may see.

use std::sync::Arc;
use std::time::SystemTime;

use super::Scope;
use super::jwt::Proof;
use crate::credentials::{PasswordHash, TokenDigest};

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
    /// Who it is; `None` where nobody needs to sign in, and for a JWT that names nobody.
    pub principal: Option<Arc<str>>,
    /// What they may see.
    pub scope: Scope,
    /// When it ends by itself, by the wall clock.
    pub expires_at: Option<SystemTime>,
    credential: Credential,
}

/// The credential of a grant, by which another configuration can tell whether it holds still.
#[derive(Clone)]
pub(super) enum Credential {
    /// Nobody needs to sign in.
    None,
    /// A password that this hash is of.
    Password(PasswordHash),
    /// A token with this digest.
    Token(TokenDigest),
    /// A JSON Web Token.
    Jwt(Proof),
    /// A client certificate alone.
    Certificate,
}

impl std::fmt::Debug for Credential {
    /// Only the kind.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password",
            Self::Token(_) => "Token",
            Self::Jwt(_) => "Jwt",
            Self::Certificate => "Certificate",
        })
    }
}

impl Grant {
    /// Everything, to somebody unknown.
    #[must_use]
    pub fn open() -> Self {
        Self { principal: None, scope: Scope::All, expires_at: None, credential: Credential::None }
    }

    /// What `scope` permits, to `principal`, without an end.
    pub(super) fn new(principal: Arc<str>, scope: Scope, credential: Credential) -> Self {
        Self { principal: Some(principal), scope, expires_at: None, credential }
    }

    /// What a JSON Web Token grants.
    pub(super) fn jwt(
        principal: Option<Arc<str>>,
        scope: Scope,
        expires_at: SystemTime,
        proof: Proof,
    ) -> Self {
        Self { principal, scope, expires_at: Some(expires_at), credential: Credential::Jwt(proof) }
    }

    /// How the caller signed in; `None` where nobody needs to.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.credential {
            Credential::None => None,
            Credential::Password(_) => Some(Method::Basic),
            Credential::Token(_) => Some(Method::Token),
            Credential::Jwt(_) => Some(Method::Jwt),
            Credential::Certificate => Some(Method::Certificate),
        }
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// How a JSON Web Token was verified; `None` for other credentials.
    pub(super) fn proof(&self) -> Option<&Proof> {
        match &self.credential {
            Credential::Jwt(proof) => Some(proof),
            _ => None,
        }
    }
}
