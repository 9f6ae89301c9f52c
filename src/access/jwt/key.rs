//! A key of the issuer (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::header::accepted_algorithm;

/// The sizes of RSA keys. The lower bound is RFC 7518's (section 3.3); the upper one bounds the
/// time that a signature takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The longest public exponent that ring takes.
const MAX_EXPONENT_BYTES: usize = 5;

/// The length of a coordinate of P-256, and of a point of Ed25519.
const COORDINATE_BYTES: usize = 32;

/// A key of the issuer, which verifies signatures.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Key {
    id: Option<String>,
    /// The algorithms of signatures that it verifies; none if it is for one that is not accepted.
    algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Debug, Eq, PartialEq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as it is written. Certificates, private parts and unknown members are not read.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwk {
    /// The key's id.
    pub(super) fn id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key; `None` if it is of another kind, is not for signatures, or is faulty.
    pub(super) fn to_key(&self) -> Option<Key> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let (material, mut algorithms) = self.material().filter(|_| is_for_signatures)?;
        if let Some(alg) = &self.alg {
            let alg = accepted_algorithm(alg);
            algorithms.retain(|algorithm| Some(*algorithm) == alg);
        }
        Some(Key { id: self.kid.clone(), algorithms, material })
    }

    /// The key's material, and the algorithms of its kind.
    fn material(&self) -> Option<(Material, Vec<Algorithm>)> {
        match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (integer(self.n.as_ref()?)?, integer(self.e.as_ref()?)?);
                let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
                let is_valid = RSA_BITS.contains(&bits)
                    && exponent.len() <= MAX_EXPONENT_BYTES
                    && exponent.last().is_some_and(|last| last % 2 == 1)
                    && *exponent != [1];
                let material = Material::Rsa { modulus, exponent };
                is_valid.then_some((material, vec![Algorithm::RS256, Algorithm::PS256]))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(self.x.as_ref()?)?, coordinate(self.y.as_ref()?)?);
                // The prefix of an uncompressed point (SEC 1, section 2.3.3).
                let point = [&[4], &x[..], &y[..]].concat();
                Some((Material::P256(point), vec![Algorithm::ES256]))
            }
            ("OKP", Some("Ed25519")) => {
                let point = coordinate(self.x.as_ref()?)?;
                Some((Material::Ed25519(point), vec![Algorithm::EdDSA]))
            }
            _ => None,
        }
    }
}

impl Key {
    /// Whether it verifies signatures of this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it verifies any signatures.
    pub(super) fn is_usable(&self) -> bool {
        !self.algorithms.is_empty()
    }

    /// The key for jsonwebtoken.
    pub(super) fn decoding_key(&self) -> DecodingKey {
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                DecodingKey::from_rsa_raw_components(modulus, exponent)
            }
            Material::P256(point) => DecodingKey::from_ec_der(point),
            Material::Ed25519(point) => DecodingKey::from_ed_der(point),
        }
    }
}

/// The bytes of a positive integer. Leading zeros, which some issuers write although RFC 7518
/// (section 2) forbids them, are dropped.
fn integer(encoded: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec()).filter(|bytes| !bytes.is_empty())
}

fn coordinate(encoded: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded).ok().filter(|bytes| bytes.len() == COORDINATE_BYTES)
}
