//! Times as texts: decimal numbers, and RFC 3339.

use jiff::civil::DateTime;

use super::written_time::WrittenTime;

/// A text that is read from its start to its end.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.as_bytes() }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Consumes the next byte if it is one of `bytes`.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> Option<u8> {
        let (next, rest) = self.rest.split_first()?;
        if !bytes.contains(next) {
            return None;
        }
        self.rest = rest;
        Some(*next)
    }

    /// Consumes a text, without regard to case, if it is next.
    pub(super) fn accept_text(&mut self, text: &str) -> Option<()> {
        let next = self.rest.get(..text.len())?;
        if !next.eq_ignore_ascii_case(text.as_bytes()) {
            return None;
        }
        self.rest = &self.rest[text.len()..];
        Some(())
    }

    pub(super) fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Consumes at least `least` digits, and further ones up to `most`.
    pub(super) fn digits(&mut self, least: usize, most: usize) -> Option<&'a [u8]> {
        let count = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(digits)
    }

    /// Consumes a number of at least `least` digits and at most `most`, which is at most 18.
    pub(super) fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let digits = self.digits(least, most)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Consumes the digits of a fraction of a second, any number of them; gives microseconds.
    pub(super) fn fraction_micros(&mut self) -> Option<i64> {
        let digits = self.digits(1, usize::MAX)?;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Some(padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
    }

    /// Consumes an offset from UTC: `Z`, `+02:00`, `+0200` or `+02`; gives seconds.
    pub(super) fn offset_seconds(&mut self) -> Option<i32> {
        if self.accept(b"Zz").is_some() {
            return Some(0);
        }
        let sign = self.accept(b"+-")?;
        let hours = self.number(2, 2).filter(|hours| *hours < 24)?;
        let minutes = if self.accept(b":").is_some() {
            self.number(2, 2)?
        } else {
            self.number(2, 2).unwrap_or(0)
        };
        let seconds = i32::try_from(hours * 3600 + minutes * 60).ok().filter(|_| minutes < 60)?;
        Some(if sign == b'-' { -seconds } else { seconds })
    }
}

/// The offset from UTC that a text names, in seconds.
pub(super) fn offset_seconds(text: &str) -> Option<i32> {
    if text.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let mut cursor = Cursor::new(text);
    cursor.offset_seconds().filter(|_| cursor.is_at_end())
}

/// The microseconds of a decimal number times ten to the power of `exponent`. The digits are cut,
/// not rounded, and never pass through a float. `None` if the text is no decimal number, or if it
/// has more than 18 digits of microseconds.
pub(super) fn decimal_micros(text: &str, exponent: i64) -> Option<i64> {
    let mut cursor = Cursor::new(text);
    let is_negative = cursor.accept(b"-").is_some();
    let integer = cursor.digits(1, usize::MAX)?;
    let fraction = match cursor.accept(b".") {
        Some(_) => cursor.digits(1, usize::MAX)?,
        None => &[],
    };
    let mut exponent = exponent;
    if cursor.accept(b"eE").is_some() {
        let is_negative = cursor.accept(b"+-") == Some(b'-');
        let digits = cursor.digits(1, usize::MAX)?;
        let magnitude = digits.iter().fold(0_i64, |number, digit| {
            number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
        });
        let signed = if is_negative { magnitude.saturating_neg() } else { magnitude };
        exponent = exponent.saturating_add(signed);
    }
    if !cursor.is_at_end() {
        return None;
    }
    let digits = integer.iter().chain(fraction);
    let leading_zeros = digits.clone().take_while(|digit| **digit == b'0').count();
    let significant = integer.len() + fraction.len() - leading_zeros;
    if significant == 0 {
        return Some(0);
    }
    // How many of the significant digits, followed by zeros, stand before the point.
    let count = exponent
        .saturating_add(i64::try_from(significant).ok()?)
        .saturating_sub(i64::try_from(fraction.len()).ok()?);
    if count > 18 {
        return None;
    }
    let significant = digits.skip(leading_zeros).copied().chain(std::iter::repeat(b'0'));
    let micros = significant
        .take(usize::try_from(count).unwrap_or(0))
        .fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    Some(if is_negative { -micros } else { micros })
}

/// The time of a text in the notation of RFC 3339. A space may stand for the `T`, the offset may
/// lack its colon or be absent, and there may be any number of fractional digits.
pub(super) fn rfc3339(text: &str) -> Option<WrittenTime> {
    let mut cursor = Cursor::new(text);
    let year = cursor.number(4, 4)?;
    cursor.accept(b"-")?;
    let month = cursor.number(2, 2)?;
    cursor.accept(b"-")?;
    let day = cursor.number(2, 2)?;
    cursor.accept(b"Tt ")?;
    let hour = cursor.number(2, 2)?;
    cursor.accept(b":")?;
    let minute = cursor.number(2, 2)?;
    cursor.accept(b":")?;
    let second = cursor.number(2, 2)?;
    let micros = match cursor.accept(b".") {
        Some(_) => cursor.fraction_micros()?,
        None => 0,
    };
    let offset = if cursor.is_at_end() { None } else { Some(cursor.offset_seconds()?) };
    if !cursor.is_at_end() {
        return None;
    }
    written_time([year, month, day, hour, minute, second], micros, offset)
}

/// A time of a clock, given as year, month, day, hour, minute and second; `None` if there is no
/// such time. A leap second is the second after the 59th.
pub(super) fn written_time(
    [year, month, day, hour, minute, second]: [i64; 6],
    micros: i64,
    offset: Option<i32>,
) -> Option<WrittenTime> {
    let leap_seconds = i64::from(second == 60);
    let part = |part: i64| i8::try_from(part).ok();
    let clock = DateTime::new(
        i16::try_from(year).ok()?,
        part(month)?,
        part(day)?,
        part(hour)?,
        part(minute)?,
        part(second - leap_seconds)?,
        0,
    );
    Some(WrittenTime { clock: clock.ok()?, micros: micros + leap_seconds * 1_000_000, offset })
}
