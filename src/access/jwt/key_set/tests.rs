use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

fn parse(keys: &Value) -> Result<KeySet, &'static str> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
}

/// Valid as far as the members can be checked: whether a point is on its curve is not.
fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode([7; 32])})
}

fn p256() -> Value {
    let coordinate = URL_SAFE_NO_PAD.encode([7; 32]);
    json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": coordinate, "y": coordinate})
}

/// An RSA key whose modulus has this many bits.
fn rsa(bits: usize) -> Value {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    json!({"kty": "RSA", "kid": "rsa", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn header(algorithm: Algorithm, id: Option<&str>) -> Header {
    Header { algorithm, key_id: id.map(str::to_owned) }
}

/// How many keys fit.
fn fitting(keys: &KeySet, algorithm: Algorithm, id: Option<&str>) -> Result<usize, Rejection> {
    keys.fitting(&header(algorithm, id)).map(|keys| keys.len())
}

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

#[test]
fn the_key_decides_which_algorithms_fit() {
    let keys = parse(&json!([rsa(2048), p256(), ed25519()])).unwrap();
    for (id, own) in
        [("rsa", &ALGORITHMS[..2]), ("ec", &ALGORITHMS[2..3]), ("ed", &ALGORITHMS[3..])]
    {
        for algorithm in ALGORITHMS {
            let expected = if own.contains(&algorithm) {
                Ok(1)
            } else {
                Err(Rejection::Final(Failure::Algorithm))
            };
            assert_eq!(fitting(&keys, algorithm, Some(id)), expected, "{id} {algorithm:?}");
        }
    }
    assert_eq!(fitting(&keys, Algorithm::RS256, Some("other")), Err(Rejection::UnknownKey));
    assert_eq!(fitting(&keys, Algorithm::RS256, None), Ok(1));

    for (alg, fits) in [("RS256", [true, false]), ("PS256", [false, true]), ("RS512", [false; 2])] {
        let keys = parse(&json!([with(rsa(2048), "alg", json!(alg)), ed25519()])).unwrap();
        for (algorithm, fits) in ALGORITHMS.into_iter().zip(fits) {
            assert_eq!(fitting(&keys, algorithm, Some("rsa")).is_ok(), fits, "{alg} {algorithm:?}");
        }
    }
}

#[test]
fn only_keys_for_signatures_are_taken() {
    let signing = [("use", json!("sig")), ("key_ops", json!(["sign", "verify"]))];
    for (name, value) in signing {
        let keys = parse(&json!([with(p256(), name, value)])).unwrap();
        assert_eq!(fitting(&keys, Algorithm::ES256, Some("ec")), Ok(1));
    }
    let others = [
        ("use", json!("enc")),
        ("use", json!("SIG")),
        ("use", json!("")),
        ("key_ops", json!([])),
        ("key_ops", json!(["encrypt"])),
    ];
    for (name, value) in others {
        let keys = parse(&json!([with(p256(), name, value.clone()), ed25519()])).unwrap();
        let refused = Err(Rejection::Final(Failure::Key));
        assert_eq!(fitting(&keys, Algorithm::ES256, Some("ec")), refused, "{name} {value}");
        assert_eq!(fitting(&keys, Algorithm::ES256, None), refused, "{name} {value}");
    }
}

#[test]
fn keys_that_cannot_be_used_do_not_spoil_the_set() {
    let short = URL_SAFE_NO_PAD.encode([7; 31]);
    let unusable = [
        rsa(2047),
        rsa(1024),
        rsa(8193),
        with(rsa(2048), "e", json!("AQ")),
        with(rsa(2048), "e", json!("AA")),
        with(rsa(2048), "e", json!("Ag")),
        with(rsa(2048), "e", json!("AQAAAAAB")),
        with(rsa(2048), "n", json!("")),
        with(rsa(2048), "n", json!("AQAB==")),
        with(p256(), "crv", json!("P-384")),
        with(p256(), "crv", Value::Null),
        with(p256(), "x", json!(short)),
        with(p256(), "y", Value::Null),
        with(p256(), "y", json!(7)),
        with(ed25519(), "crv", json!("Ed448")),
        with(ed25519(), "crv", json!("X25519")),
        with(ed25519(), "x", json!(short)),
        with(ed25519(), "alg", json!("ES256")),
        with(ed25519(), "alg", json!("HS256")),
        with(ed25519(), "alg", json!(7)),
        with(ed25519(), "kty", json!("oct")),
        with(ed25519(), "kty", json!("AKP")),
        with(ed25519(), "kty", Value::Null),
        with(ed25519(), "kid", json!(7)),
        json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": "AAAA"}),
        json!({}),
        json!([]),
        json!("key"),
        Value::Null,
    ];
    for key in &unusable {
        assert!(parse(&json!([key])).is_err(), "{key}");
    }
    let mut all = unusable.to_vec();
    all.push(ed25519());
    let keys = parse(&json!(all)).unwrap();
    assert_eq!(fitting(&keys, Algorithm::EdDSA, Some("ed")), Ok(1));
    assert_eq!(fitting(&keys, Algorithm::EdDSA, None), Ok(1));
    let octets = fitting(&keys, Algorithm::EdDSA, Some("k"));
    assert_eq!(octets, Err(Rejection::Final(Failure::Key)));
}

#[test]
fn rsa_keys_from_2048_to_8192_bits_are_taken() {
    for bits in [2048, 2049, 3072, 4096, 8192] {
        assert!(parse(&json!([rsa(bits)])).is_ok(), "{bits}");
    }
    let zero = URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat());
    let with_zero = parse(&json!([with(rsa(2048), "n", json!(zero))])).unwrap();
    assert_eq!(with_zero, parse(&json!([rsa(2048)])).unwrap());
}

#[test]
fn several_keys_of_one_id_are_tried_up_to_a_bound() {
    let same = |count| vec![ed25519(); count];
    for (count, tried) in [(1, 1), (3, 3), (MAX_TRIED_KEYS, 8), (1000, 8)] {
        let keys = parse(&json!(same(count))).unwrap();
        assert_eq!(fitting(&keys, Algorithm::EdDSA, Some("ed")), Ok(tried));
        assert_eq!(fitting(&keys, Algorithm::EdDSA, None), Ok(tried));
    }
    // Those of other kinds do not count.
    let mut mixed = vec![with(p256(), "kid", json!("ed")); 1000];
    mixed.push(ed25519());
    let keys = parse(&json!(mixed)).unwrap();
    assert_eq!(fitting(&keys, Algorithm::EdDSA, Some("ed")), Ok(1));
}

#[test]
fn only_an_object_with_a_list_of_keys_is_a_set() {
    let key = ed25519().to_string();
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("[{key}]"),
        format!(r#"{{"keys":{key}}}"#),
        format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
        format!(r#"{{"keys":[{key}]}} {{}}"#),
        format!(r#"{{"keys":[{key}]"#),
        format!(r#"{{"Keys":[{key}]}}"#),
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let not_unicode = [format!(r#"{{"keys":[{key}],"a":""#).as_bytes(), b"\xff\"}"].concat();
    assert!(KeySet::parse(&not_unicode).is_err());
    let nested = format!(r#"{{"keys":[{}7{},{key}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(KeySet::parse(nested.as_bytes()).is_ok());
    let twice = key.replace(r#""kid":"#, r#""kid":"a","kid":"#);
    assert!(KeySet::parse(format!(r#"{{"keys":[{twice}]}}"#).as_bytes()).is_err());
}

#[test]
fn sets_are_equal_when_their_keys_are() {
    let keys = || vec![rsa(2048), p256(), ed25519()];
    let set = parse(&json!(keys())).unwrap();
    assert_eq!(set, parse(&json!(keys())).unwrap());
    let key = Arc::clone(set.fitting(&header(Algorithm::EdDSA, None)).unwrap()[0]);
    assert!(parse(&json!(keys())).unwrap().contains(&key));
    for other in [
        with(ed25519(), "kid", json!("other")),
        with(ed25519(), "alg", json!("ES256")),
        with(ed25519(), "use", json!("enc")),
        with(ed25519(), "x", json!(URL_SAFE_NO_PAD.encode([8; 32]))),
    ] {
        let others = parse(&json!([rsa(2048), p256(), other])).unwrap();
        assert!(set != others && !others.contains(&key), "{other}");
    }
}
