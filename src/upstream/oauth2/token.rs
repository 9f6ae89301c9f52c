//! An access token, as a token endpoint answers it (RFC 6749, section 5.1).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use tokio::time::Instant;

/// The lifetime of a token whose answer has none, or none that can be read.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(5);

/// The longest lifetime; a longer one is reduced to this.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// How long before its end a token is renewed at most; at most a fifth of its lifetime.
const MAX_RENEWAL_LEAD: Duration = Duration::from_mins(1);

/// The longest access token. It is part of the header of each request.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// What precedes the token in `Authorization`.
const SCHEME: &str = "Bearer ";

/// An access token.
pub(crate) struct Token {
    /// The value of `Authorization`, marked as sensitive.
    authorization: HeaderValue,
    requested_at: Instant,
    lifetime: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// A number of seconds, which some endpoints send as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Seconds {
    fn duration(self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => seconds,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Other(_) => return None,
        };
        let is_lifetime = seconds.is_finite() && seconds >= 0.0;
        is_lifetime.then(|| Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIFETIME))
    }
}

impl Token {
    /// Reads the body of an answer to a request that was sent at `requested_at`. The error says
    /// what is wrong, and quotes nothing from the body.
    pub(super) fn parse(body: &[u8], requested_at: Instant) -> Result<Self, &'static str> {
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| "its answer is not a JSON object with an access_token")?;
        if !answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err("its answer has another token_type than Bearer");
        }
        let token = answer.access_token;
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err("its answer has an access_token that is empty or too long");
        }
        let mut authorization = HeaderValue::try_from(format!("{SCHEME}{token}"))
            .map_err(|_| "its answer has an access_token that no header can have")?;
        authorization.set_sensitive(true);
        let lifetime = answer.expires_in.and_then(Seconds::duration).unwrap_or(DEFAULT_LIFETIME);
        Ok(Self { authorization, requested_at, lifetime: lifetime.min(MAX_LIFETIME) })
    }

    /// The header fields of a request with this token.
    pub(crate) fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, self.authorization.clone())])
    }

    /// The token itself.
    pub(crate) fn secret(&self) -> &str {
        // It was made of text.
        let value = std::str::from_utf8(self.authorization.as_bytes()).unwrap_or_default();
        value.strip_prefix(SCHEME).unwrap_or(value)
    }

    /// When it must no longer be used.
    pub(super) fn expires_at(&self) -> Instant {
        self.requested_at + self.lifetime
    }

    /// When it is renewed.
    pub(super) fn renew_at(&self) -> Instant {
        self.expires_at() - MAX_RENEWAL_LEAD.min(self.lifetime / 5)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(members: &str) -> Result<Token, &'static str> {
        let body = format!(r#"{{"access_token":"abc.def-_~+/="{members}}}"#);
        Token::parse(body.as_bytes(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn lifetimes_are_read_as_numbers_and_texts() {
        let now = Instant::now();
        let cases = [
            ("", 240, 300),
            (r#","expires_in":3600"#, 3540, 3600),
            (r#","expires_in":"3600""#, 3540, 3600),
            (r#","expires_in":10.0"#, 8, 10),
            (r#","expires_in":null"#, 240, 300),
            (r#","expires_in":"soon""#, 240, 300),
            (r#","expires_in":[1]"#, 240, 300),
            (r#","expires_in":-1"#, 240, 300),
            (r#","expires_in":0"#, 0, 0),
            (r#","expires_in":1e300"#, 86_340, 86_400),
        ];
        for (members, renewed, expired) in cases {
            let token = token(members).unwrap();
            let times = ((token.renew_at() - now).as_secs(), (token.expires_at() - now).as_secs());
            assert_eq!(times, (renewed, expired), "{members}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_bearer_tokens_are_taken() {
        for members in ["", r#","token_type":"bearer""#, r#","token_type":"BEARER","x":{}"#] {
            let token = token(members).unwrap();
            assert_eq!(token.headers()["authorization"], "Bearer abc.def-_~+/=", "{members}");
            assert_eq!(token.secret(), "abc.def-_~+/=");
            assert!(!format!("{token:?} {:?}", token.headers()).contains("abc"));
        }
        assert!(token(r#","token_type":"mac""#).unwrap_err().contains("token_type"));
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(MAX_TOKEN_BYTES + 1));
        for body in
            ["", "abc", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#, &long]
        {
            let error = Token::parse(body.as_bytes(), Instant::now()).unwrap_err();
            assert!(error.contains("access_token"), "{error}");
        }
    }
}
