//! The keys of an issuer: a JSON Web Key Set (JWKS; RFC 7517, section 5).

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::header::Header;
use super::key::{Jwk, Key};
use super::provider;
use crate::access::Failure;

/// The most keys with which one signature is tried, where several have its `kid`, or it has none.
const MAX_TRIED_KEYS: usize = 8;

/// The keys of an issuer.
#[derive(Debug, Eq, PartialEq)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// The indices of the keys with each id; none for an id that only unusable keys have.
    by_id: HashMap<String, Vec<usize>>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// No key has its `kid`. The issuer may have added one since.
    UnknownKey,
    /// It is refused, whatever keys are added.
    Final(Failure),
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// Reads a key set. Keys that cannot be used are left out.
    ///
    /// # Errors
    ///
    /// When there is no key that can be used. The error says what is wrong, and quotes nothing from
    /// the document.
    pub fn parse(json: &[u8]) -> Result<Self, &'static str> {
        // Here, because no token is verified without a key set.
        provider::install();
        let document: Option<Document<'_>> =
            str::from_utf8(json).ok().and_then(|json| serde_json::from_str(json).ok());
        let document = document.ok_or("the answer is not a JSON object with a list of `keys`")?;
        let (mut keys, mut by_id) = (Vec::new(), HashMap::<_, Vec<_>>::new());
        for jwk in document.keys {
            let Ok(jwk) = serde_json::from_str::<Jwk>(jwk.get()) else { continue };
            let key = jwk.to_key();
            if let Some(id) = jwk.id() {
                by_id.entry(id.to_owned()).or_default().extend(key.is_some().then_some(keys.len()));
            }
            keys.extend(key.map(Arc::new));
        }
        if keys.iter().any(|key| key.is_usable()) {
            Ok(Self { keys, by_id })
        } else {
            Err("no key of the set can be used: there must be one for RS256 or PS256 (from 2048 \
                 bits), ES256 or EdDSA (Ed25519)")
        }
    }

    /// The keys that may have signed a token with this header; at least one.
    pub(super) fn fitting(&self, header: &Header) -> Result<Vec<&Arc<Key>>, Rejection> {
        let algorithm = header.algorithm;
        let Some(id) = &header.key_id else {
            let fitting = fitting(self.keys.iter(), algorithm);
            return if fitting.is_empty() {
                Err(Rejection::Final(Failure::Key))
            } else {
                Ok(fitting)
            };
        };
        let named = self.by_id.get(id).ok_or(Rejection::UnknownKey)?;
        if named.is_empty() {
            return Err(Rejection::Final(Failure::Key));
        }
        let fitting = fitting(named.iter().map(|index| &self.keys[*index]), algorithm);
        if fitting.is_empty() { Err(Rejection::Final(Failure::Algorithm)) } else { Ok(fitting) }
    }

    /// Whether this key is in the set.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.iter().any(|known| **known == *key)
    }
}

fn fitting<'k>(
    keys: impl Iterator<Item = &'k Arc<Key>>,
    algorithm: Algorithm,
) -> Vec<&'k Arc<Key>> {
    keys.filter(|key| key.is_for(algorithm)).take(MAX_TRIED_KEYS).collect()
}

#[cfg(test)]
mod tests;
