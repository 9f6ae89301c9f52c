//! A strict JSON scanner (RFC 8259) that finds where values begin and end without building them.
//!
//! It reads a body about as fast as a parser that throws everything away, because it does little
//! more than that. It does not recurse, so that depth is bounded by [`MAX_DEPTH`] and not by the
//! stack.
#![expect(
    clippy::inline_always,
    reason = "the steps of a record's loop; called instead, they cost a tenth of the throughput"
)]

use std::borrow::Cow;

use wide::u8x16;

use super::DecodeError;
use super::window::{Prefix, WIDTH, Window};

/// How deep arrays and objects may nest, the document itself included.
pub const MAX_DEPTH: usize = 256;

/// What a value without parts is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scalar {
    /// A number; its span is its spelling.
    Number,
    /// A string; its span includes the quotes.
    String,
    /// Null, a boolean, an array or an object: nothing the gateway reads a meaning into.
    Other,
}

/// A value's place in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) kind: Scalar,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A decimal number's place in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) start: usize,
    /// Digits before the point.
    pub(super) whole: usize,
    /// Digits after it.
    pub(super) places: usize,
    pub(super) end: usize,
    /// Neither sign nor exponent.
    pub(super) plain: bool,
}

/// A position in a body.
///
/// The steps of a record's loop are all inline, and what is seldom needed works on a copy
/// ([`Scanner::apart`]): so the position is in a register of the processor all the while.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
    /// All bytes of strings, together: where none is beyond ASCII, this is not either.
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

    /// The text between two positions that values gave; a fault where it is no UTF-8.
    #[inline(always)]
    pub(super) fn text(&self, start: usize, end: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(&self.bytes[start..end])
            .map_err(|_| DecodeError { offset: start, fault: "invalid UTF-8" })
    }

    /// Whether what was scanned is ASCII. It is when this says so; it may be when it does not.
    pub(super) fn is_ascii(&self) -> bool {
        self.seen.to_array().is_ascii()
    }

    #[inline(always)]
    pub(super) fn fault<T>(&self, fault: &'static str) -> Result<T, DecodeError> {
        let fault =
            if self.position >= self.bytes.len() { "the body ends too soon" } else { fault };
        Err(DecodeError { offset: self.position, fault })
    }

    /// Takes a step that is seldom needed.
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

    /// Nothing but whitespace may follow the document.
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

    /// Consumes these very bytes when they are next.
    #[inline(always)]
    pub(super) fn accept_prefix(&mut self, prefix: &Prefix) -> bool {
        let length = prefix.matches(self.bytes, self.position);
        self.position += length.unwrap_or_default();
        length.is_some()
    }

    /// One value, whatever it is; `depth` is how many arrays and objects are open around it.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let start = self.position;
        let kind = match self.peek() {
            b'"' => {
                self.string()?;
                Scalar::String
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Scalar::Number
            }
            _ => {
                self.apart(|scanner| scanner.other(depth))?;
                Scalar::Other
            }
        };
        Ok(Value { kind, start, end: self.position })
    }

    /// A string, from its opening quote on.
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

    /// Digits, one at the least; returns how many.
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

    /// A literal, an array or an object.
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

    /// An array or an object with all that is in it. The open ones are a stack of bits: 1 for an
    /// object.
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
            // A value has ended, or an empty container is about to: close what closes, go on after
            // a comma.
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

/// The text that the inside of a JSON string stands for; `None` when it holds a lone surrogate.
#[must_use]
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    // Only strings that the scanner accepted come here, so a failure can only be a lone surrogate.
    serde_json::from_str::<String>(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}

/// The members of an object that a decoder accepted, of which `tail` is all after the opening
/// brace: each name (unescaped, unless it is no Unicode text) with the bytes from its opening quote
/// to the end of its value.
pub fn members(tail: &[u8]) -> impl Iterator<Item = (Option<Cow<'_, str>>, &[u8])> {
    let mut scanner = Scanner::new(tail);
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
        Some((unescape(name), &tail[start..value.end]))
    })
}
