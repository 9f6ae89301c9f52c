//! Verifies one token by a key set.

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;

use super::header::{Header, decode};
use super::key::Key;
use super::key_set::{KeySet, Rejection};
use super::members::Members;
use super::{Proof, claims, scope};
use crate::access::{Failure, Grant};
use crate::config::Jwt;

/// What a token grants at a time; without keys (`None`), every well-formed one is of an unknown
/// key.
///
/// # Errors
///
/// Why it is refused.
pub fn verify(
    token: &str,
    keys: Option<&KeySet>,
    settings: &Arc<Jwt>,
    now: SystemTime,
) -> Result<Grant, Rejection> {
    let header = Header::of(token).map_err(Rejection::Final)?;
    let (key, claims) = signed_claims(token, &header, keys.ok_or(Rejection::UnknownKey)?)?;
    let expires_at = claims::check(&claims, settings, now).map_err(Rejection::Final)?;
    let proof = Proof { settings: Arc::clone(settings), key };
    let scope = scope::scope(&claims, settings);
    Ok(Grant::jwt(claims::principal(&claims), scope, expires_at, proof))
}

/// The claims of a token that one of the keys has signed, and this key.
fn signed_claims(
    token: &str,
    header: &Header,
    keys: &KeySet,
) -> Result<(Arc<Key>, Members), Rejection> {
    for key in keys.fitting(header)? {
        match verify_signature(token, key, header.algorithm) {
            Ok(()) => {
                let claims = claims(token).map_err(Rejection::Final)?;
                return Ok((Arc::clone(key), claims));
            }
            Err(Failure::Signature) => {}
            Err(failure) => return Err(Rejection::Final(failure)),
        }
    }
    Err(Rejection::Final(Failure::Signature))
}

/// Verifies the signature with one key.
fn verify_signature(token: &str, key: &Key, algorithm: Algorithm) -> Result<(), Failure> {
    let (message, signature) = token.rsplit_once('.').ok_or(Failure::Malformed)?;
    let key = key.decoding_key();
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Signature),
        Err(error) if *error.kind() == ErrorKind::InvalidAlgorithm => Err(Failure::Algorithm),
        Err(_) => Err(Failure::Malformed),
    }
}

/// Reads the claims of a token whose signature is verified.
fn claims(token: &str) -> Result<Members, Failure> {
    let claims = decode(token.split('.').nth(1).ok_or(Failure::Malformed)?)?;
    serde_json::from_slice(&claims).map_err(|_| Failure::Malformed)
}
