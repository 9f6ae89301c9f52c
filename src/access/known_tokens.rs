//! The tokens of the tokens file, by their digests.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::Grant;
use super::authorization::BearerToken;
use super::grant::Credential;
use crate::credentials::{Token, TokenDigest, Tokens};

/// The tokens of one configuration.
#[derive(Debug)]
pub(super) struct KnownTokens(HashMap<DigestKey, Arc<Grant>>);

/// A digest that is compared in constant time. The hash of the map is keyed, so that the time of a
/// look-up tells nothing of the digests that are near.
#[derive(Clone, Copy)]
struct DigestKey(TokenDigest);

impl PartialEq for DigestKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for DigestKey {}

impl Hash for DigestKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

impl KnownTokens {
    pub(super) fn new(tokens: &Tokens) -> Self {
        let entry = |token: &Token| {
            let credential = Credential::Token(token.digest);
            let grant = Grant::new(Arc::clone(&token.name), token.scope.clone(), credential);
            (DigestKey(token.digest), Arc::new(grant))
        };
        Self(tokens.as_slice().iter().map(entry).collect())
    }

    /// What a token grants; `None` if it is unknown.
    pub(super) fn find(&self, token: BearerToken<'_>) -> Option<&Arc<Grant>> {
        let digest = digest(&SHA256, token.expose().as_bytes());
        self.with_digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// What the token with this digest grants.
    pub(super) fn with_digest(&self, digest: TokenDigest) -> Option<&Arc<Grant>> {
        self.0.get(&DigestKey(digest))
    }
}
