//! The header `Authorization` (RFC 9110, section 11.6.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

/// The longest bearer token.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The longest encoded user name and password.
const MAX_BASIC_BYTES: usize = 4 << 10;

/// What a request signs in with.
#[derive(Debug)]
pub(super) enum Authorization<'a> {
    /// There is no header.
    None,
    /// A user name and a password (RFC 7617, in UTF-8).
    Basic(UserPass),
    /// A token (RFC 6750).
    Bearer(BearerToken<'a>),
    /// A scheme that is not known, or a header that cannot be read.
    Malformed(Malformed),
    /// There are several headers.
    Repeated,
}

/// A header that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed {
    /// Whether it has a bearer token.
    pub(super) has_token: bool,
}

/// A user name and a password.
#[derive(Debug)]
pub(super) struct UserPass {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// A bearer token, which is never printed.
#[derive(Clone, Copy)]
pub(super) struct BearerToken<'a>(&'a str);

impl<'a> BearerToken<'a> {
    pub(super) fn expose(self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerToken")
    }
}

impl<'a> Authorization<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        match (fields.next(), fields.next()) {
            (None, _) => Self::None,
            (Some(field), None) => Self::parse(field),
            (Some(_), Some(_)) => Self::Repeated,
        }
    }

    fn parse(field: &'a HeaderValue) -> Self {
        const MALFORMED: Authorization<'_> =
            Authorization::Malformed(Malformed { has_token: false });
        // Fails unless all characters are visible ASCII, spaces or tabs.
        let Ok(field) = field.to_str() else { return MALFORMED };
        let Some((scheme, credentials)) = field.split_once(' ') else { return MALFORMED };
        let credentials = credentials.trim_start_matches(' ');
        if scheme.eq_ignore_ascii_case("basic") {
            UserPass::decode(credentials).map_or(MALFORMED, Self::Basic)
        } else if scheme.eq_ignore_ascii_case("bearer") && !credentials.is_empty() {
            if credentials.len() <= MAX_TOKEN_BYTES
                && credentials.bytes().all(|b| b.is_ascii_graphic())
            {
                Self::Bearer(BearerToken(credentials))
            } else {
                Self::Malformed(Malformed { has_token: true })
            }
        } else {
            MALFORMED
        }
    }
}

impl UserPass {
    /// Decodes `BASE64(user:password)`. Control characters are not allowed in either (RFC 7617,
    /// section 2).
    fn decode(credentials: &str) -> Option<Self> {
        if credentials.len() > MAX_BASIC_BYTES {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        if decoded.contains(char::is_control) {
            return None;
        }
        let (user, password) = decoded.split_once(':')?;
        Some(Self { user: user.to_owned(), password: password.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

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
}
