//! Tokens that an attacker has made without the issuer's keys, and those that misuse its keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use incident_gateway::access::Failure;
use ring::hmac;
use serde_json::{Value, json};

use super::{Signed, verifier, verify};
use crate::support::identity_provider::{
    IdentityProvider, SigningKey, assemble, encode, key_set, merged, rsa_1024, settings,
};
use crate::support::scripted_upstream::ScriptedUpstream;

#[tokio::test]
async fn tokens_of_each_algorithm_are_taken() {
    let keys = SigningKey::of_each_kind();
    let signed = Signed::start(&keys.each_ref()).await;
    for key in &keys {
        assert_eq!(signed.refusal(&key.token(&signed.claims())).await, None);
        let anonymous = key.token_with(json!({"kid": null}), &signed.claims());
        assert_eq!(signed.refusal(&anonymous).await, None, "without a kid");
    }
    let token = keys[0].token_with(json!({"alg": "PS256"}), &signed.claims());
    assert_eq!(signed.refusal(&token).await, None);
}

#[tokio::test]
async fn tokens_without_a_signature_are_refused() {
    let key = SigningKey::rsa("rsa", 0);
    let signed = Signed::start(&[&key]).await;
    let claims = signed.claims().to_string();
    for algorithm in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        let header = json!({"alg": algorithm, "kid": "rsa", "typ": "JWT"}).to_string();
        for signature in [&b""[..], b"\0", &[0; 256]] {
            let token = assemble(&header, &claims, |_| signature.to_vec());
            assert_eq!(signed.refusal(&token).await, Some(Failure::Algorithm), "{algorithm:?}");
        }
        // The right signature does not help.
        let token = assemble(&header, &claims, |message| key.sign("RS256", message));
        assert_eq!(signed.refusal(&token).await, Some(Failure::Algorithm), "{algorithm:?}");
    }
    let header = json!({"alg": "RS256", "kid": "rsa"}).to_string();
    for signature in [&b""[..], b"\0", &[0; 255], &[0; 256], &[0; 257], &[0xff; 256]] {
        let token = assemble(&header, &claims, |_| signature.to_vec());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Signature));
    }
    for key in [SigningKey::p256("p256"), SigningKey::ed25519("ed25519")] {
        let signed = Signed::start(&[&key]).await;
        let header = json!({"alg": key.algorithm()}).to_string();
        for signature in [&b""[..], &[0; 63], &[0; 64], &[0; 65], &[0xff; 64]] {
            let token = assemble(&header, &signed.claims().to_string(), |_| signature.to_vec());
            assert_eq!(signed.refusal(&token).await, Some(Failure::Signature));
        }
    }
}

#[tokio::test]
async fn hmac_with_the_public_key_is_refused() {
    let key = SigningKey::rsa("rsa", 0);
    let signed = Signed::start(&[&key]).await;
    let pkcs1 = key.public_der();
    // The header of a SubjectPublicKeyInfo (RFC 5280) of an RSA key of 2048 bits.
    let spki_header = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00";
    let spki = [&spki_header[..], &pkcs1].concat();
    let pem = |label: &str, der: &[u8]| {
        let lines = STANDARD.encode(der).into_bytes();
        let lines: Vec<_> = lines.chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let (public, rsa_public) = (pem("PUBLIC KEY", &spki), pem("RSA PUBLIC KEY", &pkcs1));
    let jwk = key.jwk();
    let secrets = [
        public.trim_end().as_bytes().to_vec(),
        public.into_bytes(),
        rsa_public.into_bytes(),
        spki,
        pkcs1,
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        Vec::new(),
    ];
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
        ("hs256", hmac::HMAC_SHA256),
        ("RS256", hmac::HMAC_SHA256),
    ] {
        let header = json!({"alg": name, "kid": "rsa", "typ": "JWT"}).to_string();
        for secret in &secrets {
            let token = assemble(&header, &signed.claims().to_string(), |message| {
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            });
            let expected = if name == "RS256" { Failure::Signature } else { Failure::Algorithm };
            assert_eq!(signed.refusal(&token).await, Some(expected), "{name}");
        }
    }
}

#[tokio::test]
async fn a_symmetric_key_in_the_set_verifies_nothing() {
    let (key, secret) = (SigningKey::rsa("rsa", 0), b"0123456789abcdef0123456789abcdef");
    let idp = IdentityProvider::start(&[]).await;
    let octets = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": encode(secret)});
    idp.set_keys([key.jwk(), octets]);
    let signed = Signed::of(idp).await;
    let header = json!({"alg": "HS256", "kid": "oct"}).to_string();
    let token = assemble(&header, &signed.claims().to_string(), |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
    });
    assert_eq!(signed.refusal(&token).await, Some(Failure::Algorithm));
}

#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let (key, attacker) = (SigningKey::rsa("rsa", 0), SigningKey::rsa("rsa", 1));
    let signed = Signed::start(&[&key]).await;
    let server = ScriptedUpstream::start().await;
    server.script("/keys", key_set([attacker.jwk()]));
    let keys_url = format!("{}/keys", server.base_url());
    let certificate = rcgen::generate_simple_self_signed(["idp.test".to_owned()]).unwrap();
    let chain = json!([STANDARD.encode(certificate.cert.der())]);
    let headers = [
        json!({"jwk": attacker.jwk()}),
        json!({"jku": keys_url}),
        json!({"x5u": keys_url}),
        json!({"x5c": chain}),
        // Of kinds that the parser of keys does not know.
        json!({"jwk": {"kty": "EC", "crv": "secp256k1"}, "x5c": {}, "jku": 7, "x5u": [], "x5t": 1}),
        json!({"jku": keys_url, "x5u": keys_url, "jwk": attacker.jwk(), "x5c": chain}),
    ];
    for header in headers {
        let token = attacker.token_with(header.clone(), &signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Signature), "{header}");
        let anonymous = merged(header.clone(), json!({"kid": null}));
        let token = attacker.token_with(anonymous, &signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Signature), "{header}");
        let unknown = merged(header.clone(), json!({"kid": "attacker"}));
        let token = attacker.token_with(unknown, &signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Key), "{header}");
        let token = key.token_with(header.clone(), &signed.claims());
        assert_eq!(signed.refusal(&token).await, None, "{header}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_else_a_header_may_ask_for_is_refused() {
    let key = SigningKey::ed25519("ed25519");
    let signed = Signed::start(&[&key]).await;
    for header in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": true}),
        json!({"b64": true}),
        json!({"crit": ["http://example.test/unknown"], "http://example.test/unknown": 1}),
        json!({"typ": "logout+jwt"}),
        json!({"cty": "JWT"}),
        json!({"enc": "A128GCM"}),
        json!({"zip": "DEF"}),
        json!({"kid": ["ed25519"]}),
    ] {
        let token = key.token_with(header.clone(), &signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Malformed), "{header}");
    }
    for header in [json!({"typ": null}), json!({"typ": "at+jwt"}), json!({"other": {"crit": 1}})] {
        let token = key.token_with(header.clone(), &signed.claims());
        assert_eq!(signed.refusal(&token).await, None, "{header}");
    }
}

#[tokio::test]
async fn a_key_verifies_only_what_it_is_for() {
    let key = SigningKey::rsa("rsa", 0);
    let of_set = async |members: Value| {
        let idp = IdentityProvider::start(&[]).await;
        idp.set_keys([key.jwk_with(members), SigningKey::ed25519("other").jwk()]);
        Signed::of(idp).await
    };
    for (members, failure) in [
        (json!({"alg": "PS256"}), Failure::Algorithm),
        (json!({"alg": "RS512"}), Failure::Algorithm),
        (json!({"alg": "HS256"}), Failure::Algorithm),
        (json!({"alg": "RSA-OAEP"}), Failure::Algorithm),
        (json!({"use": "enc"}), Failure::Key),
        (json!({"key_ops": ["encrypt"]}), Failure::Key),
        (json!({"use": null, "key_ops": ["wrapKey"]}), Failure::Key),
    ] {
        let signed = of_set(members.clone()).await;
        let token = key.token(&signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(failure), "{members}");
    }
    for members in [json!({"alg": "RS256"}), json!({"use": null, "key_ops": ["verify"]})] {
        let signed = of_set(members.clone()).await;
        assert_eq!(signed.refusal(&key.token(&signed.claims())).await, None, "{members}");
    }
    // An algorithm of another kind of key, under this key's id.
    let signed = Signed::start(&[&key]).await;
    for other in [SigningKey::p256("rsa"), SigningKey::ed25519("rsa")] {
        let token = other.token(&signed.claims());
        assert_eq!(signed.refusal(&token).await, Some(Failure::Algorithm));
    }
}

#[tokio::test]
async fn a_short_rsa_key_is_not_taken() {
    let (fixture, server) = (rsa_1024(), ScriptedUpstream::start().await);
    let other = SigningKey::rsa("other", 0);
    server.script("/keys", key_set([fixture["jwk"].clone(), other.jwk()]));
    let mut settings = settings("https://idp.test");
    settings.jwks_url = Some(format!("{}/keys", server.base_url()).parse().unwrap());
    let verifier = verifier(&settings);
    let token = fixture["token"].as_str().unwrap();
    assert_eq!(verify(&verifier, token).await, Err(Failure::Key));
    // The same claims by a key that is long enough.
    let claims: Value = {
        let claims = token.split('.').nth(1).unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice(&claims).unwrap()
    };
    assert!(verify(&verifier, &other.token(&claims)).await.is_ok());
}

#[tokio::test]
async fn ecdsa_signatures_are_not_taken_in_der() {
    let key = SigningKey::p256("p256");
    let signed = Signed::start(&[&key]).await;
    let header = json!({"alg": "ES256", "kid": "p256"}).to_string();
    let claims = signed.claims().to_string();
    let token = assemble(&header, &claims, |message| key.sign_der(message));
    assert_eq!(signed.refusal(&token).await, Some(Failure::Signature));
    let token = assemble(&header, &claims, |message| key.sign("ES256", message));
    assert_eq!(signed.refusal(&token).await, None);
}

#[tokio::test]
async fn a_name_that_comes_twice_is_refused() {
    let key = SigningKey::ed25519("ed25519");
    let signed = Signed::start(&[&key]).await;
    let (header, claims) = (r#"{"alg":"EdDSA","kid":"ed25519"}"#, signed.claims().to_string());
    let sign = |message: &[u8]| key.sign("EdDSA", message);
    assert_eq!(signed.refusal(&assemble(header, &claims, sign)).await, None);
    for header in [
        r#"{"alg":"none","alg":"EdDSA","kid":"ed25519"}"#,
        r#"{"alg":"EdDSA","kid":"ed25519","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":"ed25519","\u006bid":"other"}"#,
    ] {
        let token = assemble(header, &claims, sign);
        assert_eq!(signed.refusal(&token).await, Some(Failure::Malformed), "{header}");
    }
    for member in [r#""exp":1"#, r#""iss":"a""#, r#""aud":["b"]"#, r#""scope":"metrics:read""#] {
        for claims in [
            format!("{},{member}}}", &claims[..claims.len() - 1]),
            format!("{{{member},{}", &claims[1..]),
        ] {
            let token = assemble(header, &claims, sign);
            assert_eq!(signed.refusal(&token).await, Some(Failure::Malformed), "{claims}");
        }
    }
}

#[tokio::test]
async fn claims_that_are_no_object_are_refused() {
    let key = SigningKey::ed25519("ed25519");
    let signed = Signed::start(&[&key]).await;
    let header = r#"{"alg":"EdDSA","kid":"ed25519"}"#;
    let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
    for claims in ["", "null", "[]", "7", "\"exp\"", "{", "{} {}", "\u{feff}{}", &nested] {
        let token = assemble(header, claims, |message| key.sign("EdDSA", message));
        assert_eq!(signed.refusal(&token).await, Some(Failure::Malformed), "{claims}");
    }
}

#[tokio::test]
async fn nothing_is_told_about_the_claims_of_a_forged_token() {
    let (key, attacker) = (SigningKey::rsa("rsa", 0), SigningKey::rsa("rsa", 1));
    let signed = Signed::start(&[&key]).await;
    for (claims, failure) in [
        (json!({"exp": 1}), Failure::Expired),
        (json!({"nbf": 4_102_444_800_u64}), Failure::NotYetValid),
        (json!({"iss": format!("{}/", signed.idp.issuer())}), Failure::Issuer),
        (json!({"aud": "another"}), Failure::Audience),
        (json!({"exp": "tomorrow"}), Failure::Malformed),
    ] {
        let claims = signed.idp.claims(claims);
        assert_eq!(signed.refusal(&key.token(&claims)).await, Some(failure));
        let forged = attacker.token(&claims);
        assert_eq!(signed.refusal(&forged).await, Some(Failure::Signature));
    }
}
