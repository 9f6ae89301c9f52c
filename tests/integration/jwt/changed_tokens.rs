//! Valid tokens that were changed on their way.

use incident_gateway::access::Failure;
use incident_gateway::access::jwt::Verification;
use proptest::prelude::*;

use super::Signed;
use crate::support::identity_provider::SigningKey;

/// The verdict on a token whose key is known, which is ready at once.
fn is_taken(signed: &Signed, token: &str) -> bool {
    matches!(signed.verifier.verify(token), Verification::Ready(Ok(_)))
}

#[tokio::test]
async fn no_flipped_bit_is_accepted() {
    let keys = SigningKey::of_each_kind();
    let signed = Signed::start(&keys.each_ref()).await;
    for key in &keys {
        let token = key.token(&signed.claims());
        assert!(is_taken(&signed, &token));
        for position in 0..token.len() {
            for bit in 0..7 {
                let mut changed = token.clone().into_bytes();
                changed[position] ^= 1 << bit;
                let changed = String::from_utf8(changed).unwrap();
                assert!(!is_taken(&signed, &changed), "bit {bit} at {position} of {token}");
            }
        }
        assert!(is_taken(&signed, &token));
    }
}

#[tokio::test]
async fn no_part_of_a_token_is_accepted() {
    let key = SigningKey::ed25519("ed25519");
    let signed = Signed::start(&[&key]).await;
    let token = key.token(&signed.claims());
    for end in 0..token.len() {
        assert!(!is_taken(&signed, &token[..end]), "the first {end} bytes");
        assert!(!is_taken(&signed, &token[end + 1..]), "without the first {} bytes", end + 1);
    }
    let (message, signature) = token.rsplit_once('.').unwrap();
    for changed in [
        format!("{token}."),
        format!(".{token}"),
        format!("{message}..{signature}"),
        format!("{token}.{signature}"),
        format!("{token}.."),
        format!("{token}="),
        format!("{token}=="),
        format!("{message}=.{signature}"),
        format!("{token}A"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{message}.{signature}{signature}"),
        token.replace('.', ","),
        token.to_ascii_uppercase(),
        format!("{token}{}", "A".repeat(1 << 20)),
        "A".repeat(1 << 20),
        ".".repeat(1 << 20),
        format!("{}.{}.{}", "A".repeat(5000), "A".repeat(5000), "A".repeat(5000)),
        String::new(),
    ] {
        let refusal = signed.refusal(&changed).await;
        assert!(
            matches!(refusal, Some(Failure::Malformed | Failure::Signature)),
            "{refusal:?} for {}",
            &changed[..changed.len().min(1000)]
        );
    }
}

#[test]
fn no_changed_byte_is_accepted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let keys = SigningKey::of_each_kind();
    let signed = runtime.block_on(Signed::start(&keys.each_ref()));
    let tokens = keys.each_ref().map(|key| key.token(&signed.claims()));
    let change = (0..tokens.len(), any::<prop::sample::Index>(), 0_u8..0x80);
    proptest!(|((which, position, byte) in change)| {
        let token = &tokens[which];
        let mut changed = token.clone().into_bytes();
        changed[position.index(token.len())] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(is_taken(&signed, &changed), changed == *token);
        // Another byte in front of it.
        let mut longer = token.clone();
        longer.insert(position.index(token.len() + 1), char::from(byte));
        prop_assert!(!is_taken(&signed, &longer));
    });
}
