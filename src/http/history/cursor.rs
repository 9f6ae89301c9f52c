//! Cursors: positions in the order of the history, as opaque texts for URLs.
//!
//! A cursor is valid at each process of this version, because processes may share a store.
//!
//! A position has the number of a record, and numbers count the records of everybody. Who may see
//! everything gets it with a checksum, which tells it from what was cut off or made up. For one
//! employee it is encrypted with the store's key, and authenticated together with the employee.

use std::sync::Arc;

use ::ring::aead::{AES_128_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ::ring::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::store::{HistoryPosition, StoreKey};

/// The format below. Another one needs another number.
const VERSION: u8 = 1;

/// Differs from that of other checksums, so that no other text happens to be a cursor.
const CHECKSUM_SEED: u64 = 0x6869_7374_6f72_7901;

/// The version, whether there is a time, the time, the number.
const POSITION_BYTES: usize = 1 + 1 + 8 + 8;

const OPEN_BYTES: usize = POSITION_BYTES + 8;

/// A nonce, the encrypted position and a tag.
const TAG_START: usize = NONCE_LEN + POSITION_BYTES;
const SEALED_BYTES: usize = TAG_START + MAX_TAG_LEN;

/// The cursors of a caller.
pub(super) enum Cursors {
    /// Of one who may see everything.
    Open,
    /// Of one who may see this employee alone.
    Sealed { employee: Arc<str>, key: Box<LessSafeKey> },
}

impl Cursors {
    /// Those of a caller who may see this employee alone.
    pub(super) fn sealed(employee: Arc<str>, key: &StoreKey) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &key.0).expect("the key has 128 bits");
        Self::Sealed { employee, key: Box::new(LessSafeKey::new(key)) }
    }

    /// The text of a position.
    pub(super) fn encode(&self, position: HistoryPosition) -> String {
        let mut position = to_bytes(position);
        match self {
            Self::Open => {
                let mut bytes = [0; OPEN_BYTES];
                bytes[..POSITION_BYTES].copy_from_slice(&position);
                bytes[POSITION_BYTES..].copy_from_slice(&checksum(&position));
                URL_SAFE_NO_PAD.encode(bytes)
            }
            Self::Sealed { employee, key } => {
                let mut nonce = [0; NONCE_LEN];
                SystemRandom::new().fill(&mut nonce).expect("the system has random numbers");
                let tag = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(employee.as_bytes()),
                        &mut position,
                    )
                    .expect("a position can be sealed");
                let mut bytes = [0; SEALED_BYTES];
                bytes[..NONCE_LEN].copy_from_slice(&nonce);
                bytes[NONCE_LEN..TAG_START].copy_from_slice(&position);
                bytes[TAG_START..].copy_from_slice(tag.as_ref());
                URL_SAFE_NO_PAD.encode(bytes)
            }
        }
    }

    /// The position that [`Self::encode`] has made the text from; `None` for any other text.
    pub(super) fn decode(&self, text: &str) -> Option<HistoryPosition> {
        match self {
            Self::Open => {
                let bytes: [u8; OPEN_BYTES] = decoded(text)?;
                let (position, sum) = bytes.split_at(POSITION_BYTES);
                if sum == checksum(position) { from_bytes(position) } else { None }
            }
            Self::Sealed { employee, key } => {
                let mut bytes: [u8; SEALED_BYTES] = decoded(text)?;
                let (nonce, sealed) = bytes.split_at_mut(NONCE_LEN);
                let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
                let employee = Aad::from(employee.as_bytes());
                from_bytes(key.open_in_place(nonce, employee, sealed).ok()?)
            }
        }
    }
}

/// The bytes of a text. Longer texts do not fit; nothing is allocated for them.
fn decoded<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == LENGTH).then_some(bytes)
}

fn to_bytes(position: HistoryPosition) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[0] = VERSION;
    bytes[1] = u8::from(position.timestamp.is_some());
    bytes[2..10].copy_from_slice(&position.timestamp.unwrap_or_default().to_be_bytes());
    bytes[10..].copy_from_slice(&position.number.to_be_bytes());
    bytes
}

fn from_bytes(position: &[u8]) -> Option<HistoryPosition> {
    if position[0] != VERSION {
        return None;
    }
    let timestamp = f64::from_be_bytes(position[2..10].try_into().ok()?);
    let number = i64::from_be_bytes(position[10..].try_into().ok()?);
    let timestamp = match position[1] {
        0 if timestamp.to_bits() == 0 => None,
        1 if timestamp.is_finite() => Some(timestamp),
        _ => return None,
    };
    Some(HistoryPosition { timestamp, number })
}

fn checksum(position: &[u8]) -> [u8; 8] {
    xxh3_64_with_seed(position, CHECKSUM_SEED).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(position: HistoryPosition) -> String {
        Cursors::Open.encode(position)
    }

    fn decode(text: &str) -> Option<HistoryPosition> {
        Cursors::Open.decode(text)
    }

    #[test]
    fn those_of_one_employee_tell_nothing_and_are_of_no_use_to_others() {
        let sealed = |employee: &str, key| Cursors::sealed(employee.into(), &StoreKey([key; 16]));
        let own = sealed("7", 1);
        let position = HistoryPosition { timestamp: Some(1.5), number: 2001 };
        let cursor = own.encode(position);
        assert_eq!(sealed("7", 1).decode(&cursor), Some(position), "at each process");
        assert_ne!(cursor, own.encode(position));
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        assert!(!bytes.windows(8).any(|window| window == 2001_i64.to_be_bytes()));
        for others in [sealed("8", 1), sealed("7", 2), Cursors::Open] {
            assert_eq!(others.decode(&cursor), None);
        }
        for text in ["", "AAAA", &cursor[1..], &format!("{cursor}A"), &encode(position)] {
            assert_eq!(own.decode(text), None, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let cursor = encode(HistoryPosition { timestamp: Some(1.5), number: 7 });
        for text in [
            "",
            "1",
            "AQ",
            &cursor[1..],
            &cursor[..cursor.len() - 1],
            &format!("{cursor}A"),
            &format!("{cursor}="),
            &format!(" {cursor}"),
            &cursor.to_lowercase(),
            &"A".repeat(cursor.len()),
            &"A".repeat(60_000),
            "é",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn what_encode_does_not_make_is_refused_even_with_its_checksum() {
        let made = |version: u8, has_time: u8, timestamp: f64| {
            let mut bytes = vec![version, has_time];
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&7_i64.to_be_bytes());
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            decode(&URL_SAFE_NO_PAD.encode(bytes))
        };
        assert!(made(VERSION, 1, 1.5).is_some() && made(VERSION, 0, 0.0).is_some());
        for (version, has_time, timestamp) in [
            (0, 1, 1.5),
            (2, 1, 1.5),
            (VERSION, 2, 1.5),
            (VERSION, 0, 1.5),
            (VERSION, 0, -0.0),
            (VERSION, 1, f64::NAN),
            (VERSION, 1, f64::INFINITY),
            (VERSION, 1, f64::NEG_INFINITY),
        ] {
            assert_eq!(
                made(version, has_time, timestamp),
                None,
                "{version} {has_time} {timestamp}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_cursor_leads_to_its_position(
            timestamp in prop::option::of(prop::num::f64::NORMAL | prop::num::f64::ZERO),
            number: i64,
        ) {
            let position = HistoryPosition { timestamp, number };
            let cursor = encode(position);
            prop_assert_eq!(decode(&cursor), Some(position));
            prop_assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        }

        #[test]
        fn a_changed_cursor_is_refused(number: i64, at in 0..34_usize, by in 1..64_u8) {
            let cursor = encode(HistoryPosition { timestamp: Some(1.5), number });
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut changed = cursor.into_bytes();
            let digit = digits.iter().position(|digit| *digit == changed[at]).unwrap();
            changed[at] = digits[(digit + usize::from(by)) % digits.len()];
            prop_assert_eq!(decode(std::str::from_utf8(&changed).unwrap()), None);
        }
    }
}
