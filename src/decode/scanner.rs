//! A strict JSON scanner (RFC 8259) that finds where values begin and end without building them.
//!
//! It does not recurse, so that depth is bounded by [`MAX_DEPTH`] and not by the stack.
#![expect(
    clippy::inline_always,
    reason = "called for every record; without inlining they cost a tenth of the throughput"
)]

use std::borrow::Cow;

use wide::u8x16;

use super::DecodeError;
use super::window::{Prefix, WIDTH, Window};

/// How deep arrays and objects may nest, the document itself included.
pub const MAX_DEPTH: usize = 256;

/// The kind of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ValueKind {
    /// A number; its span is its spelling.
    Number,
    /// A string; its span includes the quotes.
    String,
    /// Null, a boolean, an array or an object: nothing the gateway reads a meaning into.
    Other,
}

/// A value's bounds in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) kind: ValueKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A number's bounds in the body, and what its digits are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) start: usize,
    /// How many digits stand before the point.
    pub(super) whole: usize,
    /// How many digits stand after it.
    pub(super) places: usize,
    pub(super) end: usize,
    /// Whether it has neither sign nor exponent.
    pub(super) plain: bool,
}

/// A position in a body.
///
/// The methods that every record needs are inlined, and rare ones work on a copy
/// ([`Scanner::apart`]). So the compiler can keep the position in a register.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The bitwise OR of all bytes of strings: ASCII exactly if all of them are.
    seen: u8x16,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, seen: u8x16::ZERO }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The text between two bounds of values; a fault where it is not UTF-8.
    #[inline(always)]
    pub(super) fn text(&self, start: usize, end: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(&self.bytes[start..end])
            .map_err(|_| DecodeError { offset: start, fault: "invalid UTF-8" })
    }

    /// Whether all strings are known to be ASCII; they may be even when this is false.
    pub(super) fn is_ascii(&self) -> bool {
        self.seen.to_array().is_ascii()
    }

    #[inline(always)]
    pub(super) fn fault<T>(&self, fault: &'static str) -> Result<T, DecodeError> {
        let fault =
            if self.position >= self.bytes.len() { "the body ends too soon" } else { fault };
        Err(DecodeError { offset: self.position, fault })
    }

    /// Runs a rare step on a copy of the scanner.
    #[inline(always)]
    pub(super) fn apart<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut copy = *self;
        let taken = step(&mut copy)?;
        *self = copy;
        Ok(taken)
    }

    /// The next byte; 0, which no rule accepts, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.position).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(super) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.position += 1;
        }
    }

    /// Consumes `byte` when it is next.
    #[inline(always)]
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.position += usize::from(found);
        found
    }

    /// Consumes `bytes` when they are next.
    pub(super) fn accept_bytes(&mut self, bytes: &[u8]) {
        if self.bytes[self.position..].starts_with(bytes) {
            self.position += bytes.len();
        }
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, fault: &'static str) -> Result<(), DecodeError> {
        if self.accept(byte) { Ok(()) } else { self.fault(fault) }
    }

    /// A fault when anything but whitespace follows the document.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.skip_whitespace();
        if self.position == self.bytes.len() {
            Ok(())
        } else {
            self.fault("text after the document")
        }
    }

    /// An object, from its opening brace on. `member` is given the raw name of each member, and must
    /// read its value. `expected` is the fault when there is no object.
    pub(super) fn object(
        &mut self,
        expected: &'static str,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.expect(b'{', expected)?;
        self.skip_whitespace();
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            self.skip_whitespace();
            member(self, name)?;
            self.skip_whitespace();
            if self.accept(b'}') {
                return Ok(());
            }
            self.expect(b',', "expected a comma or a closing brace")?;
            self.skip_whitespace();
        }
    }

    /// A member's name and the colon after it: the raw text between the quotes.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&'a str, DecodeError> {
        if self.peek() != b'"' {
            return self.fault("expected a member name");
        }
        let start = self.position + 1;
        self.string()?;
        let name = self.text(start, self.position - 1)?;
        self.skip_whitespace();
        self.expect(b':', "expected a colon")?;
        Ok(name)
    }

    #[inline(always)]
    fn window(&self) -> Window {
        Window::of(self.bytes, self.position)
    }

    /// Consumes the prefix when it is next.
    #[inline(always)]
    pub(super) fn accept_prefix(&mut self, prefix: &Prefix) -> bool {
        let length = prefix.matches(self.bytes, self.position);
        self.position += length.unwrap_or_default();
        length.is_some()
    }

    /// Reads a value of any kind; `depth` is how many arrays and objects are open around it.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let start = self.position;
        let kind = match self.peek() {
            b'"' => {
                self.string()?;
                ValueKind::String
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                ValueKind::Number
            }
            _ => {
                self.apart(|scanner| scanner.other(depth))?;
                ValueKind::Other
            }
        };
        Ok(Value { kind, start, end: self.position })
    }

    /// Reads a string, from its opening quote on.
    #[inline(always)]
    fn string(&mut self) -> Result<(), DecodeError> {
        self.position += 1;
        loop {
            let window = self.window();
            self.seen |= window.bytes();
            let run = window.plain_run();
            self.position += run;
            if run == WIDTH {
                continue;
            }
            match self.peek() {
                b'"' => {
                    self.position += 1;
                    return Ok(());
                }
                b'\\' => self.apart(Self::escape)?,
                _ => return self.fault("a control character in a string"),
            }
        }
    }

    #[inline(never)]
    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.bytes.get(self.position + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.position += 2,
            Some(b'u')
                if self
                    .bytes
                    .get(self.position + 2..self.position + 6)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) =>
            {
                self.position += 6;
            }
            _ => return self.fault("an invalid escape"),
        }
        Ok(())
    }

    /// Reads one or more digits; returns how many.
    #[inline(always)]
    fn digits(&mut self) -> Result<usize, DecodeError> {
        let start = self.position;
        loop {
            let run = self.window().digit_run();
            self.position += run;
            if run < WIDTH {
                break;
            }
        }
        if self.position == start {
            self.fault("expected a digit")
        } else {
            Ok(self.position - start)
        }
    }

    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<Number, DecodeError> {
        let start = self.position;
        let mut plain = !self.accept(b'-');
        let leading_zero = self.peek() == b'0';
        let whole = self.digits()?;
        if leading_zero && whole > 1 {
            return self.fault("an invalid number");
        }
        let places = if self.accept(b'.') { self.digits()? } else { 0 };
        if matches!(self.peek(), b'e' | b'E') {
            plain = false;
            self.position += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.position += 1;
            }
            self.digits()?;
        }
        Ok(Number { start, whole, places, end: self.position, plain })
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), DecodeError> {
        if self.bytes[self.position..].starts_with(literal.as_bytes()) {
            self.position += literal.len();
            return Ok(());
        }
        self.fault("expected a value")
    }

    /// Reads a literal, an array or an object.
    #[inline(never)]
    fn other(&mut self, depth: usize) -> Result<(), DecodeError> {
        match self.peek() {
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'[' | b'{' => self.container(depth),
            _ => self.fault("expected a value"),
        }
    }

    /// Reads an array or an object with everything in it. What is open is kept as a stack of bits: 1
    /// for an object, 0 for an array.
    fn container(&mut self, depth: usize) -> Result<(), DecodeError> {
        let mut objects = [0_u64; MAX_DEPTH / 64];
        let mut open = 0;
        loop {
            // A value begins here.
            match self.peek() {
                opening @ (b'[' | b'{') => {
                    if depth + open >= MAX_DEPTH {
                        return self.fault("arrays and objects nest too deep");
                    }
                    let object = opening == b'{';
                    let (word, bit) = (open / 64, 1 << (open % 64));
                    if object {
                        objects[word] |= bit;
                    } else {
                        objects[word] &= !bit;
                    }
                    open += 1;
                    self.position += 1;
                    self.skip_whitespace();
                    if self.peek() != if object { b'}' } else { b']' } {
                        if object {
                            self.name()?;
                            self.skip_whitespace();
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => drop(self.number()?),
                _ => self.other(depth)?,
            }
            // A value or an empty container ends here. Close containers until a comma introduces the
            // next value.
            loop {
                let object = objects[(open - 1) / 64] & (1 << ((open - 1) % 64)) != 0;
                self.skip_whitespace();
                if self.accept(b',') {
                    self.skip_whitespace();
                    if object {
                        self.name()?;
                        self.skip_whitespace();
                    }
                    break;
                }
                self.expect(
                    if object { b'}' } else { b']' },
                    "expected a comma or a closing bracket",
                )?;
                open -= 1;
                if open == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// The text that a JSON string stands for, given what is between its quotes; `None` when it has a
/// lone surrogate.
#[must_use]
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    // The scanner accepted the string, so a lone surrogate is the only possible failure.
    serde_json::from_str::<String>(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}

/// The members of an object that the decoder accepted; `record` is all that follows its opening
/// brace. Each has its name, unescaped (`None` for a name that is not Unicode text), and the bytes
/// from the name's opening quote to the end of the value.
pub fn members(record: &[u8]) -> impl Iterator<Item = (Option<Cow<'_, str>>, &[u8])> {
    let mut scanner = Scanner::new(record);
    let mut more = true;
    std::iter::from_fn(move || {
        scanner.skip_whitespace();
        if !more || scanner.peek() == b'}' {
            return None;
        }
        let start = scanner.position();
        let name = scanner.name().ok()?;
        scanner.skip_whitespace();
        let value = scanner.value(1).ok()?;
        scanner.skip_whitespace();
        more = scanner.accept(b',');
        Some((unescape(name), &record[start..value.end]))
    })
}
