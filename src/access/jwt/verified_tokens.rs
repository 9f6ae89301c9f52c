//! Remembers verified tokens, because verifying one takes some tens of microseconds.

use std::sync::Arc;
use std::time::SystemTime;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::access::Grant;
use crate::access::keyed_hash::{HASH_BYTES, KeyedHash};

/// The most tokens that are remembered, those that were used last.
const MAX_TOKENS: u64 = 4096;

/// The grants of verified tokens. They are known by a keyed hash, so that neither tokens are
/// kept, nor the time of a lookup tells how much of a token is right.
#[derive(Debug)]
pub(super) struct VerifiedTokens {
    hash: KeyedHash,
    grants: Cache<[u8; HASH_BYTES], Arc<Grant>>,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        let grants =
            Cache::builder().max_capacity(MAX_TOKENS).eviction_policy(EvictionPolicy::lru());
        Self { hash: KeyedHash::new(), grants: grants.build() }
    }

    /// The grant of a token, unless it has expired.
    pub(super) fn get(&self, token: &str, now: SystemTime) -> Option<Arc<Grant>> {
        let grant = self.grants.get(&self.hash.of(token.as_bytes()))?;
        grant.expires_at.is_some_and(|expires_at| now < expires_at).then_some(grant)
    }

    pub(super) fn insert(&self, token: &str, grant: Arc<Grant>) {
        self.grants.insert(self.hash.of(token.as_bytes()), grant);
    }
}
