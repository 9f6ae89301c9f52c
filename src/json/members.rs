//! Reads the members of objects that the decoder has accepted.

use std::borrow::Cow;

use super::scanner::Scanner;

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

/// The members of an object that the decoder has accepted; `record` is everything after its opening
/// brace. Yields each member's name, unescaped (`None` if it is not Unicode text), and its bytes
/// from the name's opening quote to the end of the value.
pub fn members(record: &[u8]) -> impl Iterator<Item = (Option<Cow<'_, str>>, &[u8])> {
    let mut scanner = Scanner::new(record);
    let mut has_more = true;
    std::iter::from_fn(move || {
        scanner.skip_whitespace();
        if !has_more || scanner.peek() == b'}' {
            return None;
        }
        let start = scanner.position();
        let name = scanner.name().ok()?;
        scanner.skip_whitespace();
        let value = scanner.value(1).ok()?;
        scanner.skip_whitespace();
        has_more = scanner.accept(b',');
        Some((unescape(name), &record[start..value.end]))
    })
}
