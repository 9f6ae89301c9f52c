//! Cursors: positions in the order of the history, as opaque texts for URLs.
//!
//! A cursor is valid at each process of this version, because processes may share a store. Its
//! checksum tells it from what was cut off or made up; it is no secret, since every position is
//! harmless.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::store::HistoryPosition;

/// The format below. Another one needs another number.
const VERSION: u8 = 1;

/// Differs from that of other checksums, so that no other text happens to be a cursor.
const CHECKSUM_SEED: u64 = 0x6869_7374_6f72_7901;

/// The version, whether there is a time, the time, the number.
const POSITION_BYTES: usize = 1 + 1 + 8 + 8;

const CURSOR_BYTES: usize = POSITION_BYTES + 8;

/// The text of a position.
pub(super) fn encode(position: HistoryPosition) -> String {
    let mut bytes = [0; CURSOR_BYTES];
    bytes[0] = VERSION;
    bytes[1] = u8::from(position.timestamp.is_some());
    bytes[2..10].copy_from_slice(&position.timestamp.unwrap_or_default().to_be_bytes());
    bytes[10..POSITION_BYTES].copy_from_slice(&position.number.to_be_bytes());
    let checksum = checksum(&bytes[..POSITION_BYTES]);
    bytes[POSITION_BYTES..].copy_from_slice(&checksum);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`encode`] has made the text from; `None` for any other text.
pub(super) fn decode(text: &str) -> Option<HistoryPosition> {
    let mut bytes = [0; CURSOR_BYTES];
    // Longer texts do not fit; nothing is allocated for them.
    if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != CURSOR_BYTES {
        return None;
    }
    let (position, sum) = bytes.split_at(POSITION_BYTES);
    if sum != checksum(position) || position[0] != VERSION {
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
