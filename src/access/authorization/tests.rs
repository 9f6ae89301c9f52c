use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;

/// `user:password` as it was read; else what the value is.
fn read(value: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    match Authorization::of(&headers) {
        Authorization::None => "none".to_owned(),
        Authorization::Basic(UserPass { user, password }) => {
            format!("{user}:{}", password.expose_secret())
        }
        Authorization::Bearer(token) => format!("token {}", token.expose()),
        Authorization::Malformed(Malformed { has_token: false }) => "malformed".to_owned(),
        Authorization::Malformed(Malformed { has_token: true }) => "malformed token".to_owned(),
        Authorization::Repeated => "repeated".to_owned(),
    }
}

fn basic(bytes: impl AsRef<[u8]>) -> String {
    read(&format!("Basic {}", STANDARD.encode(bytes)))
}

#[test]
fn a_user_name_ends_at_the_first_colon() {
    for credentials in ["ann:pass", "ann:p:a:s:s", ":", "ann:", ":pass", "Zoë Ł:пароль £ 𝄞"]
    {
        assert_eq!(basic(credentials), credentials);
    }
}

#[test]
fn basic_credentials_without_colon_with_control_characters_or_of_another_charset_are_refused() {
    let others: [&[u8]; 9] = [
        b"",
        b"ann",
        b"ann:\xe9",
        b"\xff:pass",
        b"ann:pa\0ss",
        b"ann:pass\n",
        b"a\tnn:pass",
        b"ann:\x7f",
        b"ann:\xc2\x85",
    ];
    for other in others {
        assert_eq!(basic(other), "malformed", "{other:?}");
    }
}

#[test]
fn only_canonical_base64_is_read() {
    // `ann:pas?>`, whose encoding has both special characters.
    assert_eq!(read("Basic YW5uOnBhcz8+"), "ann:pas?>");
    assert_eq!(read("Basic YW5uOnBhcw=="), "ann:pas");
    for value in [
        "Basic YW5uOnBhcz8-",
        "Basic YW5uOnBhcw",
        "Basic YW5uOnBhcw=",
        "Basic YW5uOnBhcw===",
        "Basic YW5uOnBhcx==",
        "Basic YW5u OnBhcw==",
        "Basic YW5uOnBhcw==,",
        "Basic YW5uOnBhcw== x",
        "Basic YW5uOnBhcw==\tx",
        "Basic =",
        "Basic \"YW5uOnBhcw==\"",
    ] {
        assert_eq!(read(value), "malformed", "{value}");
    }
}

#[test]
fn schemes_are_compared_without_regard_to_case() {
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        assert_eq!(read(&format!("{scheme} YW5uOnBhcw==")), "ann:pas");
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(read(&format!("{scheme} t0ken")), "token t0ken");
        assert_eq!(read(&format!("{scheme}   t0ken")), "token t0ken");
    }
}

#[test]
fn other_values_are_malformed() {
    let bytes = [
        "",
        " ",
        "Basic",
        "Bearer",
        "Bearer ",
        "Basic ",
        "Digest a=b",
        "Negotiate YII",
        "token",
        "Basic\tYW5uOnBhcw==",
        "Bearer\tt0ken",
        "BasicYW5uOnBhcw==",
        "Basi YW5uOnBhcw==",
        "Basic: YW5uOnBhcw==",
        "Bearer, t0ken",
        "Bäsic YW5uOnBhcw==",
    ];
    for value in bytes {
        assert_eq!(read(value), "malformed", "{value:?}");
    }
    for value in ["Bearer a b", "Bearer a, Basic b", "Bearer \ta", "Bearer a\tb"] {
        assert_eq!(read(value), "malformed token", "{value:?}");
    }
}

#[test]
fn lengths_are_bounded() {
    assert!(read(&format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES))).starts_with("token"));
    assert_eq!(read(&format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1))), "malformed token");
    assert!(basic(format!("a:{}", "b".repeat(3000))).starts_with("a:b"));
    assert_eq!(basic(format!("a:{}", "b".repeat(3100))), "malformed");
}

#[test]
fn several_headers_are_repeated_even_if_they_are_equal() {
    let mut headers = HeaderMap::new();
    assert!(matches!(Authorization::of(&headers), Authorization::None));
    for _ in 0..2 {
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
    }
    assert!(matches!(Authorization::of(&headers), Authorization::Repeated));
}

#[test]
fn debug_output_shows_no_credentials() {
    for value in ["Basic YW5uOnBhcw==", "Bearer t0ken"] {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        let debug = format!("{:?}", Authorization::of(&headers));
        assert!(!debug.contains("pas\"") && !debug.contains("t0ken"), "{debug}");
    }
}

proptest! {
    #[test]
    fn whatever_a_user_and_a_password_consist_of_they_are_read_as_sent(
        user in "[^:\\p{Cc}]{0,40}",
        password in "[^\\p{Cc}]{0,80}",
    ) {
        let credentials = format!("{user}:{password}");
        prop_assert_eq!(basic(&credentials), credentials);
    }

    #[test]
    fn no_value_is_read_as_credentials_that_it_does_not_have(
        scheme in prop::sample::select(vec!["", "Basic", "basic ", "Bearer", "BEARER ", "x "]),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let value = [scheme.as_bytes(), &rest].concat();
        let mut headers = HeaderMap::new();
        let Ok(header) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        headers.insert(header::AUTHORIZATION, header);
        match Authorization::of(&headers) {
            Authorization::Basic(_) => prop_assert!(value[..6].eq_ignore_ascii_case(b"basic ")),
            Authorization::Bearer(token) => {
                prop_assert!(value[..7].eq_ignore_ascii_case(b"bearer "));
                prop_assert!(value.ends_with(token.expose().as_bytes()));
            }
            Authorization::Malformed(_) => {}
            Authorization::None | Authorization::Repeated => prop_assert!(false),
        }
    }
}
