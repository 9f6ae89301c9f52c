//! Remembers verified tokens, because verifying one takes some tens of microseconds.

use std::sync::Arc;
use std::time::SystemTime;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::access::Grant;

/// The most tokens that are remembered, those that were used last.
const MAX_TOKENS: u64 = 4096;

/// The grants of verified tokens. They are known by a keyed digest, so that neither tokens are
/// kept, nor the time of a lookup tells how much of a token is right.
#[derive(Debug)]
pub(super) struct VerifiedTokens {
    key: hmac::Key,
    grants: Cache<Digest, Arc<Grant>>,
}

type Digest = [u8; ring::digest::SHA256_OUTPUT_LEN];

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system's random numbers do not fail once it has started");
        let grants =
            Cache::builder().max_capacity(MAX_TOKENS).eviction_policy(EvictionPolicy::lru());
        Self { key, grants: grants.build() }
    }

    /// The grant of a token, unless it has expired.
    pub(super) fn get(&self, token: &str, now: SystemTime) -> Option<Arc<Grant>> {
        let grant = self.grants.get(&self.digest(token))?;
        grant.expires_at.is_some_and(|expires_at| now < expires_at).then_some(grant)
    }

    pub(super) fn insert(&self, token: &str, grant: Arc<Grant>) {
        self.grants.insert(self.digest(token), grant);
    }

    fn digest(&self, token: &str) -> Digest {
        let tag = hmac::sign(&self.key, token.as_bytes());
        tag.as_ref().try_into().expect("the length of SHA-256")
    }
}
