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
mod tests;
