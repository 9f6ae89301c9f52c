//! Verifying a token: one that somebody has made up, and one of which the issuer has signed any
//! header and any claims.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use incident_gateway::access::jwt::{KeySet, verify};
use incident_gateway::access::{Failure, Scope, jwt::Rejection};
use incident_gateway::config::Jwt;
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;

const NOW_SECONDS: u64 = 1_800_000_000;
const LEEWAY_SECONDS: f64 = 30.0;
const ISSUER: &str = "https://idp.test";
const AUDIENCE: &str = "gateway";

/// What the issuer has signed in the seeds.
const SIGNED: [&str; 4] = [
    include_str!("../seeds/jwt/RS256.txt"),
    include_str!("../seeds/jwt/PS256.txt"),
    include_str!("../seeds/jwt/ES256.txt"),
    include_str!("../seeds/jwt/EdDSA.txt"),
];

static SETTINGS: LazyLock<Arc<Jwt>> = LazyLock::new(|| {
    Arc::new(Jwt {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks_url: None,
        ca: None,
        proxy: None,
        employee_claim: "employee_id".to_owned(),
        scope_claim: "scope".to_owned(),
    })
});

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::parse(include_bytes!("../seeds/jwks/each-kind.json")).expect("a key set")
});

/// Signs what the input says.
static SIGNER: LazyLock<(Ed25519KeyPair, KeySet)> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let point = URL_SAFE_NO_PAD.encode(key.public_key());
    let set =
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"signer","x":"{point}"}}]}}"#);
    let set = KeySet::parse(set.as_bytes()).expect("a key set");
    (key, set)
});

fuzz_target!(|input: &str| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECONDS);
    let made_up = verify(input, Some(&KEYS), &SETTINGS, now);
    assert_eq!(made_up.is_ok(), SIGNED.contains(&input));
    let without_keys = verify(input, None, &SETTINGS, now);
    assert!(without_keys.is_err(), "nothing is taken without keys");

    let Some((header, claims)) = input.split_once('\n') else { return };
    let (key, keys) = &*SIGNER;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    let token = format!("{message}.{signature}");
    let grant = match verify(&token, Some(keys), &SETTINGS, now) {
        Ok(grant) => grant,
        Err(Rejection::Final(Failure::Signature)) => panic!("the signature is right: {token}"),
        Err(_) => return,
    };
    let header: Value = serde_json::from_str(header).expect("an object");
    let kid = &header["kid"];
    assert!(header["alg"] == "EdDSA" && (kid.is_null() || kid == "signer"));
    assert!(["crit", "b64", "enc", "zip"].iter().all(|name| header.get(*name).is_none()));
    let claims: Value = serde_json::from_str(claims).expect("an object");
    let audience = &claims["aud"];
    let audiences = audience.as_array();
    assert_eq!(claims["iss"], ISSUER);
    assert!(audience == AUDIENCE || audiences.is_some_and(|list| list.contains(&AUDIENCE.into())));
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp + LEEWAY_SECONDS > NOW_SECONDS as f64));
    assert!(grant.expires_at.is_some_and(|expires_at| now < expires_at));
    let scope = claims["scope"].to_string();
    match &grant.scope {
        Scope::All | Scope::Incidents => assert!(scope.contains("incidents:read")),
        Scope::Employee(id) | Scope::EmployeeAndMetrics(id) => {
            let employee = &claims["employee_id"];
            assert!(scope.contains("incidents:self") && (1..=256).contains(&id.len()));
            assert!(employee == &**id || employee.to_string() == **id);
        }
        Scope::Metrics => assert!(scope.contains("metrics:read")),
        Scope::Nothing => {}
    }
    assert!(grant.principal.is_none_or(|name| {
        (1..=256 * 3).contains(&name.len()) && !name.contains(char::is_control)
    }));
});
