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
        let holds_something = |value: Found<'a>| !matches!(value.raw, "null" | "\"\"");
        if !self.is_array() {
            return if holds_something(self) { visit(self) } else { ControlFlow::Continue(()) };
        }
        // One pass, however deep the arrays nest. Between their elements there are only brackets,
        // commas and whitespace.
        let mut scanner = Scanner::new(self.raw.as_bytes());
        loop {
            while matches!(scanner.peek(), b'[' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t') {
                scanner.accept(scanner.peek());
            }
            let Ok(value) = scanner.value(1) else { return ControlFlow::Continue(()) };
            let element = Found { kind: value.kind, raw: &self.raw[value.start..value.end] };
            if holds_something(element) {
                visit(element)?;
            }
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
