//! Reads the members of objects that the decoder has accepted.

use std::borrow::Cow;

use super::found::Found;
use super::scanner::Scanner;
use super::unescape::unescape;

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

/// The members of an object that the decoder has accepted, given from its opening brace on: each
/// member's name as spelled between the quotes, and its value.
pub(crate) fn object_members(object: &str) -> impl Iterator<Item = (&str, Found<'_>)> {
    let mut scanner = Scanner::new(object.as_bytes());
    let mut has_more = scanner.accept(b'{');
    std::iter::from_fn(move || {
        scanner.skip_whitespace();
        if !has_more || scanner.peek() == b'}' {
            return None;
        }
        let name = scanner.name().ok()?;
        scanner.skip_whitespace();
        let value = scanner.value(1).ok()?;
        scanner.skip_whitespace();
        has_more = scanner.accept(b',');
        Some((name, Found { kind: value.kind, raw: object.get(value.start..value.end)? }))
    })
}
