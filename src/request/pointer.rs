//! Places in the JSON body of a request.

use std::fmt;

/// The longest pointer.
const MAX_POINTER_BYTES: usize = 1024;

/// The most reference tokens of a pointer.
const MAX_POINTER_TOKENS: usize = 32;

/// A JSON Pointer (RFC 6901) to a place in a request's body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

/// Why a text is no pointer, or a pointer is of no use in a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PointerError {
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for PointerError {}

impl JsonPointer {
    /// Parses a pointer to a part of a body. The empty pointer, to the whole body, is refused.
    ///
    /// # Errors
    ///
    /// When the text is no JSON Pointer, points to the whole body, or is too long.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let error = |detail: String| Err(PointerError { detail });
        if text.len() > MAX_POINTER_BYTES {
            return error(format!("longer than {MAX_POINTER_BYTES} bytes; shorten it"));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return error(format!("{text:?} is no JSON Pointer; write it like /request/offset"));
        };
        let tokens: Option<Vec<String>> = tokens.split('/').map(unescape).collect();
        match tokens {
            Some(tokens) if tokens.len() > MAX_POINTER_TOKENS => {
                error(format!("{text:?} has more than {MAX_POINTER_TOKENS} parts; shorten it"))
            }
            Some(tokens) => Ok(Self { text: text.to_owned(), tokens }),
            None => error(format!("{text:?} has a `~` that is neither ~0 (for ~) nor ~1 (for /)")),
        }
    }

    /// The text as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The unescaped reference tokens; at least one.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A reference token without its escapes; `None` if one is wrong.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        unescaped.push(escaped);
        unescaped.push_str(rest);
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unescaped() {
        let tokens = |text| JsonPointer::parse(text).unwrap().tokens().to_vec();
        assert_eq!(tokens("/a/b"), ["a", "b"]);
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/a~1b/m~0n/~01"), ["a/b", "m~n", "~1"]);
        assert_eq!(tokens("/ø"), ["ø"]);
    }

    #[test]
    fn other_texts_are_refused() {
        let long = format!("/{}", "a".repeat(MAX_POINTER_BYTES));
        let deep = "/a".repeat(MAX_POINTER_TOKENS + 1);
        for text in ["", "a", "#/a", "$.a", "/~", "/a~2", "/~é", &long, &deep] {
            assert!(JsonPointer::parse(text).is_err(), "{text}");
        }
    }
}
