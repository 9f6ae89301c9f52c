//! Files of tokens: `NAME:SHA256-HEX-OF-TOKEN[:SCOPE]`.

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};

use super::{LineError, Scope, lines};

const FORM: &str = "write NAME:SHA256 or NAME:SHA256:SCOPE, where SHA256 is the 64 hexadecimal \
    digits that `printf %s TOKEN | sha256sum` prints";
const SCOPES: &str = "write `all`, `metrics` or `self=EMPLOYEE_ID`";

/// The longest employee id, in bytes.
const MAX_EMPLOYEE_ID_BYTES: usize = 256;

/// The SHA-256 digest of a token.
pub type TokenDigest = [u8; 32];

/// The tokens of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens(Vec<Token>);

/// A token.
#[derive(Clone, Eq, PartialEq)]
pub struct Token {
    /// The name of whoever has it.
    pub name: Arc<str>,
    /// Its digest; never printed.
    pub digest: TokenDigest,
    /// What its bearer may see.
    pub scope: Scope,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, digest: _, scope } = self;
        f.debug_struct("Token").field("name", name).field("scope", scope).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Parses the text of a file. One without any entry is valid: nobody can sign in by it.
    ///
    /// # Errors
    ///
    /// Every malformed line, up to a bound.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        // What a script makes of a variable that is not set.
        let digests_of_nothing = [&b""[..], b"\n", b"\r\n"].map(|text| digest(&SHA256, text));
        let mut first_lines = HashMap::new();
        let mut tokens = Vec::new();
        lines::read(text, FORM, |line, name, rest| {
            let (hex, scope) = match rest.split_once(':') {
                Some((hex, scope)) => (hex, Some(scope)),
                None => (rest, None),
            };
            let digest = parse_digest(hex)?;
            if digests_of_nothing.iter().any(|nothing| nothing.as_ref() == digest) {
                return Err("the digest is that of an empty token; make a token, such as with \
                            `openssl rand -hex 32`, and write its digest"
                    .to_owned());
            }
            if let Some(first) = first_lines.insert(digest, line) {
                return Err(format!("the token of line {first} again; keep one of the two"));
            }
            let scope = scope.map_or(Ok(Scope::All), parse_scope)?;
            tokens.push(Token { name: name.into(), digest, scope });
            Ok(())
        })?;
        Ok(Self(tokens))
    }

    /// The tokens.
    #[must_use]
    pub fn as_slice(&self) -> &[Token] {
        &self.0
    }
}

fn parse_digest(hex: &str) -> Result<TokenDigest, String> {
    let mut digest = TokenDigest::default();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if hex.len() != 2 * digest.len() {
        return Err(format!("what follows the name is no SHA-256 digest; {FORM}"));
    }
    for (byte, digits) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let value = || u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok();
        *byte = value()
            .ok_or_else(|| format!("the digest has other characters than digits; {FORM}"))?;
    }
    Ok(digest)
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    match text.split_once('=') {
        None if text == "all" => Ok(Scope::All),
        None if text == "metrics" => Ok(Scope::Metrics),
        Some(("self", id)) => parse_employee(id).map(|id| Scope::Employee(id.into())),
        _ => Err(format!("the scope after the digest is unknown; {SCOPES}")),
    }
}

/// Decodes a percent-encoded id.
fn parse_employee(text: &str) -> Result<String, String> {
    let is_unencoded = |c: char| c == ':' || c.is_whitespace() || c.is_control();
    let has_wrong_escape = text.split('%').skip(1).any(|after| {
        !after
            .as_bytes()
            .first_chunk()
            .is_some_and(|digits: &[u8; 2]| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if has_wrong_escape || text.contains(is_unencoded) {
        return Err("the employee's id is not percent-encoded; write `:` as `%3A`, `%` as `%25` \
                    and a space as `%20`"
            .to_owned());
    }
    let Ok(id) = percent_decode_str(text).decode_utf8() else {
        return Err("the employee's id is not UTF-8; percent-encode its UTF-8 bytes".to_owned());
    };
    if id.is_empty() {
        Err("there is no employee's id after `self=`; write `self=EMPLOYEE_ID`".to_owned())
    } else if id.len() > MAX_EMPLOYEE_ID_BYTES {
        Err(format!(
            "the employee's id is longer than {MAX_EMPLOYEE_ID_BYTES} bytes; is it the right \
                     one?"
        ))
    } else if id.contains(char::is_control) {
        Err("the employee's id contains a control character; remove it".to_owned())
    } else {
        Ok(id.into_owned())
    }
}

#[cfg(test)]
mod tests;
