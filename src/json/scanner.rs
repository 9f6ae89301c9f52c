//! A strict JSON scanner (RFC 8259), which finds where values begin and end without building them.
//!
//! It does not recurse, so [`MAX_DEPTH`] bounds the nesting and the stack does not.
#![expect(
    clippy::inline_always,
    reason = "called for every record; without inlining they cost a tenth of the throughput"
)]

use wide::u8x16;

use super::JsonError;
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
    /// Null, a boolean, an array or an object; the gateway does not interpret these.
    Other,
}

/// A value's bounds in the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) kind: ValueKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A position in a body.
///
/// The methods that every record needs are inlined, and rare ones work on a copy
/// ([`Scanner::on_copy`]), so that the compiler can keep the position in a register.
#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The bitwise OR of all windows in which strings were read; ASCII if every byte in them is.
    string_bytes: u8x16,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, string_bytes: u8x16::ZERO }
    }

    /// A scanner whose next byte is that at `position`.
    pub(crate) fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { position, ..Self::new(bytes) }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The text between two positions; a fault if it is not UTF-8.
    #[inline(always)]
    pub(crate) fn text(&self, start: usize, end: usize) -> Result<&'a str, JsonError> {
        std::str::from_utf8(&self.bytes[start..end])
            .map_err(|_| JsonError { offset: start, fault: "invalid UTF-8" })
    }

    /// Whether all strings are known to be ASCII. May be false although they are.
    pub(crate) fn is_ascii(&self) -> bool {
        self.string_bytes.to_array().is_ascii()
    }

    #[inline(always)]
    pub(crate) fn fault<T>(&self, fault: &'static str) -> Result<T, JsonError> {
        let fault =
            if self.position >= self.bytes.len() { "the body ends too soon" } else { fault };
        Err(JsonError { offset: self.position, fault })
    }

    /// Runs a rare step on a copy of the scanner, and adopts the copy if the step succeeds.
    #[inline(always)]
    pub(crate) fn on_copy<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        let mut copy = *self;
        let result = step(&mut copy)?;
        *self = copy;
        Ok(result)
    }

    /// The next byte; at the end 0, which is not valid anywhere in JSON.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.position).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.position += 1;
        }
    }

    /// Consumes `byte` if it is next.
    #[inline(always)]
    pub(crate) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.position += usize::from(found);
        found
    }

    /// Consumes `bytes` if they are next.
    pub(crate) fn accept_bytes(&mut self, bytes: &[u8]) {
        if self.bytes[self.position..].starts_with(bytes) {
            self.position += bytes.len();
        }
    }

    #[inline(always)]
    pub(crate) fn expect(&mut self, byte: u8, fault: &'static str) -> Result<(), JsonError> {
        if self.accept(byte) { Ok(()) } else { self.fault(fault) }
    }

    /// A fault if anything but whitespace is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.position == self.bytes.len() {
            Ok(())
        } else {
            self.fault("text after the document")
        }
    }

    /// Reads an object from its opening brace on. `member` is called with each member's name as
    /// spelled, and must read its value. `expected` is the fault if the next value is not an
    /// object.
    pub(crate) fn object(
        &mut self,
        expected: &'static str,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
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

    /// Reads a member's name and the colon after it; returns the name as spelled between the
    /// quotes.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<&'a str, JsonError> {
        let (start, end, _) = self.name_bounds()?;
        self.text(start, end)
    }

    /// Reads a member's name and the colon after it; returns where the name begins and ends between
    /// the quotes, and whether it has an escape.
    #[inline(always)]
    pub(crate) fn name_bounds(&mut self) -> Result<(usize, usize, bool), JsonError> {
        if self.peek() != b'"' {
            return self.fault("expected a member name");
        }
        let start = self.position + 1;
        let has_escape = self.string()?;
        let end = self.position - 1;
        self.skip_whitespace();
        self.expect(b':', "expected a colon")?;
        Ok((start, end, has_escape))
    }

    #[inline(always)]
    fn window(&self) -> Window {
        Window::of(self.bytes, self.position)
    }

    /// Consumes the prefix if it is next.
    #[inline(always)]
    pub(crate) fn accept_prefix(&mut self, prefix: &Prefix) -> bool {
        let length = prefix.matches(self.bytes, self.position);
        self.position += length.unwrap_or_default();
        length.is_some()
    }

    /// Reads a value of any kind; `depth` is how many arrays and objects are open around it.
    #[inline(always)]
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
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
                self.on_copy(|scanner| scanner.other(depth))?;
                ValueKind::Other
            }
        };
        Ok(Value { kind, start, end: self.position })
    }

    /// Reads a string, from its opening quote on; returns whether it has an escape.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, JsonError> {
        let end = self.plain_end(self.position + 1);
        if self.bytes.get(end) == Some(&b'"') {
            self.position = end + 1;
            return Ok(false);
        }
        self.on_copy(|scanner| scanner.string_from(end))?;
        Ok(true)
    }

    /// The position of the first quote, backslash or control character from `position` on.
    #[inline(always)]
    fn plain_end(&mut self, mut position: usize) -> usize {
        loop {
            let window = Window::of(self.bytes, position);
            self.string_bytes |= window.bytes();
            let stops = window.string_stops();
            if stops != 0 {
                return position + stops.trailing_zeros() as usize;
            }
            // The next position does not depend on the window, so that the processor need not wait
            // for it.
            position += WIDTH;
        }
    }

    /// Reads a string from `position` on, where it has an escape or a fault.
    #[inline(never)]
    fn string_from(&mut self, mut position: usize) -> Result<(), JsonError> {
        loop {
            match self.bytes.get(position) {
                Some(b'"') => {
                    self.position = position + 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    position += match self.bytes.get(position + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        _ => self.unicode_escape(position)?,
                    };
                }
                _ => {
                    self.position = position;
                    return self.fault("a control character in a string");
                }
            }
            position = self.plain_end(position);
        }
    }

    /// The length of an escape that is no single character, which begins at `position`.
    #[inline(never)]
    fn unicode_escape(&self, position: usize) -> Result<usize, JsonError> {
        let digits = self.bytes.get(position + 2..position + 6);
        if self.bytes.get(position + 1) == Some(&b'u')
            && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        {
            return Ok(6);
        }
        Self { position, ..*self }.fault("an invalid escape")
    }

    /// Reads one or more digits; returns how many.
    #[inline(always)]
    fn digits(&mut self) -> Result<usize, JsonError> {
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

    /// Reads a number, and returns where it ends.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Result<usize, JsonError> {
        self.accept(b'-');
        let has_leading_zero = self.peek() == b'0';
        let integer_digits = self.digits()?;
        if has_leading_zero && integer_digits > 1 {
            return self.fault("an invalid number");
        }
        if self.accept(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.position += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.position += 1;
            }
            self.digits()?;
        }
        Ok(self.position)
    }

    #[inline(always)]
    fn literal(&mut self, literal: &'static str) -> Result<(), JsonError> {
        if self.bytes[self.position..].starts_with(literal.as_bytes()) {
            self.position += literal.len();
            return Ok(());
        }
        self.fault("expected a value")
    }

    /// Reads a literal, an array or an object.
    #[inline(never)]
    fn other(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'[' | b'{' => self.container(depth),
            _ => self.fault("expected a value"),
        }
    }

    /// Reads an array or an object with everything in it.
    fn container(&mut self, depth: usize) -> Result<(), JsonError> {
        *self = self.after_container(depth)?;
        Ok(())
    }

    /// The scanner after the container. The scanner is passed by value so that its position stays
    /// in a register. A stack of bits holds the containers that are open: 1 for an object, 0 for an
    /// array.
    fn after_container(mut self, depth: usize) -> Result<Self, JsonError> {
        let mut objects = [0_u64; MAX_DEPTH / 64];
        let mut open = 0;
        loop {
            // A value begins here.
            match self.peek() {
                opening @ (b'[' | b'{') => {
                    if depth + open >= MAX_DEPTH {
                        return self.fault("arrays and objects nest too deep");
                    }
                    let is_object = opening == b'{';
                    let (word, bit) = (open / 64, 1 << (open % 64));
                    if is_object {
                        objects[word] |= bit;
                    } else {
                        objects[word] &= !bit;
                    }
                    open += 1;
                    self.position += 1;
                    self.skip_whitespace();
                    if self.peek() != if is_object { b'}' } else { b']' } {
                        if is_object {
                            self.name_bounds()?;
                            self.skip_whitespace();
                        }
                        continue;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => return self.fault("expected a value"),
            }
            // A value or an empty container ends here. Close containers until a comma introduces
            // the next value.
            loop {
                let is_object = objects[(open - 1) / 64] & (1 << ((open - 1) % 64)) != 0;
                self.skip_whitespace();
                if self.accept(b',') {
                    self.skip_whitespace();
                    if is_object {
                        self.name_bounds()?;
                        self.skip_whitespace();
                    }
                    break;
                }
                self.expect(
                    if is_object { b'}' } else { b']' },
                    "expected a comma or a closing bracket",
                )?;
                open -= 1;
                if open == 0 {
                    return Ok(self);
                }
            }
        }
    }
}
