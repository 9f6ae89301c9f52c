use serde_json::{Value, json};

use super::*;

const NOW_SECONDS: u64 = 1_800_000_000;

fn settings() -> Jwt {
    Jwt {
        issuer: "https://idp.test/".to_owned(),
        audience: "gateway".to_owned(),
        jwks_url: None,
        ca: None,
        proxy: None,
        employee_claim: "employee_id".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

fn members(claims: &Value) -> Members {
    serde_json::from_value(claims.clone()).unwrap()
}

/// Checks claims that are valid but for the value of one.
fn check_with(name: &str, value: Value) -> Result<SystemTime, Failure> {
    check_at(name, value, 0.0)
}

/// The same, this many seconds later.
fn check_at(name: &str, value: Value, seconds: f64) -> Result<SystemTime, Failure> {
    let mut claims =
        json!({"iss": "https://idp.test/", "aud": "gateway", "exp": NOW_SECONDS + 3600});
    claims[name] = value;
    let now = Duration::from_secs(NOW_SECONDS) + Duration::from_secs_f64(seconds);
    check(&members(&claims), &settings(), SystemTime::UNIX_EPOCH + now)
}

#[test]
fn the_issuer_compares_byte_for_byte() {
    assert!(check_with("iss", json!("https://idp.test/")).is_ok());
    for issuer in [
        json!("https://idp.test"),
        json!("https://idp.test//"),
        json!("https://IDP.test/"),
        json!("https://idp.test/ "),
        json!("https://idp.test:443/"),
        json!("https://idp.test/\u{0}"),
        json!("http://idp.test/"),
        json!(["https://idp.test/"]),
        json!({"https://idp.test/": true}),
        json!(""),
        json!(7),
        Value::Null,
    ] {
        assert_eq!(check_with("iss", issuer.clone()), Err(Failure::Issuer), "{issuer}");
    }
}

#[test]
fn the_audience_is_text_or_in_a_list() {
    for audience in [json!("gateway"), json!(["gateway"]), json!(["a", 7, null, "gateway"])] {
        assert!(check_with("aud", audience.clone()).is_ok(), "{audience}");
    }
    for audience in [
        json!("Gateway"),
        json!("gateway2"),
        json!("a gateway"),
        json!(""),
        json!([]),
        json!([["gateway"]]),
        json!(["a gateway"]),
        json!({"gateway": "gateway"}),
        json!(true),
        Value::Null,
    ] {
        assert_eq!(check_with("aud", audience.clone()), Err(Failure::Audience), "{audience}");
    }
}

#[test]
fn times_have_a_leeway_of_thirty_seconds() {
    let exp = json!(NOW_SECONDS + 100);
    assert!(check_at("exp", exp.clone(), 129.9).is_ok());
    assert_eq!(check_at("exp", exp.clone(), 130.0), Err(Failure::Expired));
    assert_eq!(check_at("exp", exp, 1e9), Err(Failure::Expired));
    let fractional = json!(NOW_SECONDS as f64 + 100.5);
    assert!(check_at("exp", fractional.clone(), 130.4).is_ok());
    assert_eq!(check_at("exp", fractional, 130.5), Err(Failure::Expired));
    for exp in [json!(0), json!(-1), json!(-1e300), json!(NOW_SECONDS - 30), json!(1e-9)] {
        assert_eq!(check_with("exp", exp.clone()), Err(Failure::Expired), "{exp}");
    }

    let nbf = json!(NOW_SECONDS + 100);
    assert_eq!(check_at("nbf", nbf.clone(), 69.9), Err(Failure::NotYetValid));
    assert!(check_at("nbf", nbf, 70.0).is_ok());
    assert_eq!(check_with("nbf", json!(1e300)), Err(Failure::NotYetValid));
    for nbf in [json!(0), json!(-1e300), json!(NOW_SECONDS), json!(NOW_SECONDS as f64 + 29.9)] {
        assert!(check_with("nbf", nbf.clone()).is_ok(), "{nbf}");
    }
    // A clock before 1970 is of no use.
    let claims = json!({"iss": "https://idp.test/", "aud": "gateway", "exp": 3600, "nbf": 3600});
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let result = check(&members(&claims), &settings(), before);
    assert_eq!(result, Err(Failure::NotYetValid));
}

#[test]
fn times_are_numbers_and_exp_is_required() {
    let text = json!((NOW_SECONDS + 3600).to_string());
    for value in [text, json!(true), json!([NOW_SECONDS + 3600]), json!({}), Value::Null] {
        assert_eq!(check_with("exp", value.clone()), Err(Failure::Malformed), "{value}");
        assert_eq!(check_with("nbf", value.clone()), Err(Failure::Malformed), "{value}");
    }
    let claims = json!({"iss": "https://idp.test/", "aud": "gateway"});
    let result = check(&members(&claims), &settings(), SystemTime::UNIX_EPOCH);
    assert_eq!(result, Err(Failure::Malformed));
}

#[test]
fn the_end_includes_the_leeway_and_is_bounded() {
    let after_epoch = |seconds| Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let exp = json!(NOW_SECONDS + 100);
    assert_eq!(check_with("exp", exp), after_epoch(NOW_SECONDS + 130));
    for exp in [json!(u64::MAX), json!(1e20), json!(f64::MAX)] {
        assert_eq!(check_with("exp", exp), after_epoch(253_402_300_799));
    }
}

#[test]
fn the_principal_is_the_first_claim_with_a_name() {
    let name = |claims| principal(&members(&claims));
    assert_eq!(name(json!({"sub": "a", "client_id": "b", "azp": "c"})), Some("a".into()));
    assert_eq!(name(json!({"sub": "", "client_id": "b", "azp": "c"})), Some("b".into()));
    assert_eq!(name(json!({"sub": 7, "client_id": null, "azp": "c"})), Some("c".into()));
    assert_eq!(name(json!({"name": "d"})), None);
    assert_eq!(name(json!({"sub": "a\n\u{1b}b"})), Some("a\u{fffd}\u{fffd}b".into()));
    let long = "ü".repeat(MAX_PRINCIPAL_BYTES);
    assert_eq!(name(json!({"sub": long})), Some("ü".repeat(MAX_PRINCIPAL_BYTES / 2).into()));
    assert_eq!(name(json!({"sub": format!("a{long}")})).unwrap().len(), MAX_PRINCIPAL_BYTES - 1);
}
