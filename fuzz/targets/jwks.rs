//! Reading a key set, and verifying tokens with its keys.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use incident_gateway::access::jwt::{KeySet, verify};
use incident_gateway::config::Jwt;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW_SECONDS: u64 = 1_800_000_000;

/// Signed by the keys of a seed.
const SIGNED: [&str; 4] = [
    include_str!("../seeds/jwt/RS256.txt"),
    include_str!("../seeds/jwt/PS256.txt"),
    include_str!("../seeds/jwt/ES256.txt"),
    include_str!("../seeds/jwt/EdDSA.txt"),
];

static SETTINGS: LazyLock<Arc<Jwt>> = LazyLock::new(|| {
    Arc::new(Jwt {
        issuer: "https://idp.test".to_owned(),
        audience: "gateway".to_owned(),
        jwks_url: None,
        ca: None,
        proxy: None,
        employee_claim: "employee_id".to_owned(),
        scope_claim: "scope".to_owned(),
    })
});

static SEED: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../seeds/jwks/each-kind.json")).expect("JSON")
});

fuzz_target!(|json: &[u8]| {
    let Ok(keys) = KeySet::parse(json) else { return };
    assert_eq!(KeySet::parse(json).as_ref(), Ok(&keys));
    // This reader has limits on what the key set does not read: depth, and the size of numbers.
    let Ok(set) = serde_json::from_slice::<Value>(json) else { return };
    let given = set["keys"].as_array().expect("a key set has a list");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECONDS);
    // A token is only taken if the key that signed it is in the set.
    let has = |seed: usize, names: &[&str]| {
        let seed = &SEED["keys"][seed];
        given.iter().any(|key| names.iter().all(|name| trimmed(&key[name]) == trimmed(&seed[name])))
    };
    let members: [(usize, &[&str]); 4] =
        [(0, &["n", "e"]), (0, &["n", "e"]), (1, &["x", "y"]), (2, &["x"])];
    for (token, (seed, names)) in SIGNED.into_iter().zip(members) {
        if verify(token, Some(&keys), &SETTINGS, now).is_ok() {
            assert!(has(seed, names), "taken by another key: {token}");
        }
    }
});

/// A number without the zero bytes in front of it, which may be written or not.
fn trimmed(value: &Value) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}
