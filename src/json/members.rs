//! Reads the members of objects that the decoder has accepted.

use std::borrow::Cow;

use super::found::Found;
use super::scanner::{Scanner, Value};
use super::unescape::unescape;

/// The members of an object that the decoder has accepted; `record` is everything after its opening
/// brace. Yields each member's name, unescaped (`None` if it is not Unicode text), and its bytes
/// from the name's opening quote to the end of the value.
pub fn members(record: &[u8]) -> impl Iterator<Item = (Option<Cow<'_, str>>, &[u8])> {
    spelled_members(Scanner::new(record))
        .map(|member| (unescape(member.name), &record[member.start..member.value.end]))
}

/// The members of an object that the decoder has accepted, given from its opening brace on: each
/// member's name as spelled between the quotes, and its value.
pub(crate) fn object_members(object: &str) -> impl Iterator<Item = (&str, Found<'_>)> {
    let mut scanner = Scanner::new(object.as_bytes());
    scanner.accept(b'{');
    spelled_members(scanner).map(|SpelledMember { name, value, .. }| {
        (name, Found { kind: value.kind, raw: &object[value.start..value.end] })
    })
}

struct SpelledMember<'a> {
    /// The position of the name's opening quote.
    start: usize,
    /// Between the quotes.
    name: &'a str,
    value: Value,
}

/// The members of an object, from the position after its opening brace on.
fn spelled_members(mut scanner: Scanner<'_>) -> impl Iterator<Item = SpelledMember<'_>> {
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
        Some(SpelledMember { start, name, value })
    })
}
