//! Hashes under a random key, by which a secret is recognised without being kept.

use ring::hmac;
use ring::rand::SystemRandom;

/// The length of a hash.
pub(super) const HASH_BYTES: usize = ring::digest::SHA256_OUTPUT_LEN;

/// HMAC-SHA256 under a random key, which never leaves the process. Clones have the same key.
#[derive(Clone, Debug)]
pub(super) struct KeyedHash(hmac::Key);

impl KeyedHash {
    /// With a new key.
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self(key.expect("the system's random numbers do not fail once it has started"))
    }

    /// The hash of `bytes`.
    pub(super) fn of(&self, bytes: &[u8]) -> [u8; HASH_BYTES] {
        let tag = hmac::sign(&self.0, bytes);
        tag.as_ref().try_into().expect("the length of SHA-256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_bytes_and_on_the_key() {
        let hash = KeyedHash::new();
        assert_eq!(hash.of(b"a"), hash.clone().of(b"a"));
        assert_ne!(hash.of(b"a"), hash.of(b"b"));
        assert_ne!(hash.of(b"a"), KeyedHash::new().of(b"a"));
    }
}
