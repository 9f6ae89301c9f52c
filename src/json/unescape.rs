//! The text of JSON strings.

use std::borrow::Cow;

/// The text of a JSON string, given its spelling between the quotes; `None` if it has a lone
/// surrogate.
#[must_use]
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    // The scanner accepted the string, so a lone surrogate is the only possible failure.
    serde_json::from_str::<String>(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}
