//! A value that a path leads to.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::scanner::{Scanner, ValueKind};
use super::unescape::unescape;

/// A value in a JSON text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found<'a> {
    /// The kind of the value.
    pub kind: ValueKind,
    /// Its text in the document.
    pub raw: &'a str,
}

impl<'a> Found<'a> {
    /// The value that stands in `raw`, which must be valid JSON without whitespace around it.
    #[must_use]
    pub fn new(raw: &'a str) -> Self {
        let kind = match raw.as_bytes().first() {
            Some(b'"') => ValueKind::String,
            Some(b'-' | b'0'..=b'9') => ValueKind::Number,
            _ => ValueKind::Other,
        };
        Self { kind, raw }
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.raw.starts_with('[')
    }

    /// A string's characters, a number's spelling; `None` for values of other kinds, and for
    /// strings that are not Unicode text (a lone surrogate).
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.kind {
            ValueKind::Number => Some(Cow::Borrowed(self.raw)),
            ValueKind::String => unescape(&self.raw[1..self.raw.len() - 1]),
            ValueKind::Other => None,
        }
    }

    /// Calls `visit` for the value, if it holds something: null, `""` and `[]` hold nothing. An
    /// array stands for its elements, in order. Ends early when `visit` breaks.
    pub fn visit_held<T>(
        self,
        visit: &mut impl FnMut(Found<'a>) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        // Nesting is bounded, because whoever accepted the text bounded it.
        if self.is_array() {
            elements(self.raw).try_for_each(|element| element.visit_held(visit))
        } else if matches!(self.raw, "null" | "\"\"") {
            ControlFlow::Continue(())
        } else {
            visit(self)
        }
    }

    /// The value itself, or the first element of an array, that holds something.
    #[must_use]
    pub fn first_held(self) -> Option<Found<'a>> {
        self.visit_held(&mut ControlFlow::Break).break_value()
    }
}

/// The elements of an array that the decoder has accepted, given from its opening bracket on.
pub(crate) fn elements(array: &str) -> impl Iterator<Item = Found<'_>> {
    let mut scanner = Scanner::new(array.as_bytes());
    let mut has_more = scanner.accept(b'[');
    std::iter::from_fn(move || {
        scanner.skip_whitespace();
        if !has_more || scanner.peek() == b']' {
            return None;
        }
        let value = scanner.value(1).ok()?;
        scanner.skip_whitespace();
        has_more = scanner.accept(b',');
        Some(Found { kind: value.kind, raw: array.get(value.start..value.end)? })
    })
}
