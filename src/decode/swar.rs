//! Reading short texts eight or sixteen bytes at a time (SIMD within a register): small numbers, IPv4 addresses, times.
//!
//! Each function reads a window of the body that begins at the text and may reach beyond it; near the body's end, where
//! there is no whole window, and for what it does not cover, it says so by `None` and the caller takes the usual way.

use super::window::Window;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

fn window<const N: usize>(body: &[u8], start: usize) -> Option<[u8; N]> {
    body.get(start..start + N)?.try_into().ok()
}

/// The bytes of `word` as digits, if the first `count` (1–8) are: moved to the end, with zeros before them.
#[inline]
fn digits(word: u64, count: usize) -> Option<u64> {
    let digits = (word ^ (LOW * 0x30)) << (64 - 8 * count);
    // A digit is 0–9 now; adding 0x76 carries any greater value into the high bit, unless that is set already.
    ((digits.wrapping_add(LOW * 0x76) | digits) & HIGH == 0).then_some(digits)
}

/// The number that eight digits make, the first in the lowest byte: pairs, then fours, then all.
#[inline]
fn combine(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// The number that 1–8 digits at `start` make.
#[inline]
fn number(body: &[u8], start: usize, count: usize) -> Option<u64> {
    Some(combine(digits(u64::from_le_bytes(window(body, start)?), count)?))
}

/// A whole number without sign or leading zeros, of up to eight digits.
#[inline]
pub(super) fn small_number(body: &[u8], start: usize, end: usize) -> Option<u32> {
    let count = end - start;
    if !(1..=8).contains(&count) || (body[start] == b'0' && count > 1) {
        return None;
    }
    u32::try_from(number(body, start, count)?).ok()
}

/// An IPv4 address in strict dotted decimal form (RFC 6943, section 3.1.1), as its 32 bits.
#[inline]
pub(super) fn v4(body: &[u8], start: usize, end: usize) -> Option<u32> {
    let length = end - start;
    if !(7..=15).contains(&length) {
        return None;
    }
    let window = Window::of(body, start);
    let within = (1 << length) - 1;
    let (digits, dots) = (window.digits() & within, window.places(b'.') & within);
    // A leading zero would make an octet octal to some readers: one at the beginning or after a dot, before a digit.
    let leading_zeros = window.places(b'0') & (dots << 1 | 1) & digits >> 1;
    if digits | dots != within || leading_zeros != 0 || dots.count_ones() != 3 {
        return None;
    }
    // The text ends at a dot of our own, so that the four octets look alike.
    let (mut ends, mut begin, mut address, mut valid) = (dots | 1 << length, 0, 0, true);
    for _ in 0..4 {
        let end = ends.trailing_zeros();
        ends &= ends - 1;
        let count = end - begin;
        valid &= (1..=3).contains(&count);
        // Moved to the end, with zeros before them.
        let octet = u32::from_le_bytes(self::window(body, start + begin as usize)?);
        let digits = (octet ^ 0x3030_3030).wrapping_shl(32_u32.wrapping_sub(8 * count));
        let octet = (digits >> 8 & 0xff) * 100 + (digits >> 16 & 0xff) * 10 + (digits >> 24);
        valid &= octet <= 255;
        address = address << 8 | octet;
        begin = end + 1;
    }
    valid.then_some(address)
}

/// The nearest `f64` to a decimal such as `1629939474.1346128` that has neither sign nor exponent: at least 1, at most 18
/// digits, `whole` of them (up to 15) before the point and `places` after it.
///
/// The quotient of the digits and their power of ten is at most one unit off, because the digits may not fit the 53 bits of
/// a float; comparing in whole numbers tells which way.
#[inline]
pub(super) fn decimal(body: &[u8], start: usize, whole: usize, places: usize) -> Option<f64> {
    const POWERS: [i64; 19] = {
        let mut powers = [1; 19];
        let mut index = 1;
        while index < 19 {
            powers[index] = powers[index - 1] * 10;
            index += 1;
        }
        powers
    };
    if whole > 15 || whole + places > 18 {
        return None;
    }
    let mut mantissa = 0;
    for (mut start, mut rest) in [(start, whole), (start + whole + 1, places)] {
        while rest > 0 {
            let count = rest.min(8);
            mantissa = mantissa * POWERS[count] + number(body, start, count)?.cast_signed();
            start += count;
            rest -= count;
        }
    }
    let power = POWERS[places];
    if mantissa < power {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "corrected below")]
    let quotient = mantissa as f64 / power as f64;
    // quotient = significand / 2^shift, exactly; shift is 3–52, as the quotient is at least 1 and less than 10^15 < 2^50.
    let bits = quotient.to_bits();
    let significand = (bits & 0x000f_ffff_ffff_ffff | 0x0010_0000_0000_0000).cast_signed();
    let shift = 1075 - (bits >> 52);
    // What is missing, in 2^-shift / power: less than two units of the last place, which is power. So its low 64 bits tell it.
    let rest = 2 * (mantissa << shift).wrapping_sub(significand.wrapping_mul(power));
    // It is never just half a unit: between two floats below 10^15 that would take 19 digits. No branch: one in four is off.
    Some(f64::from_bits(bits + u64::from(rest > power) - u64::from(rest < -power)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// The same, of a text whose point has to be found first.
    fn decimal(body: &[u8], start: usize, end: usize) -> Option<f64> {
        let text = &body[start..end];
        let whole = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let places = text.len().saturating_sub(whole + 1);
        let plain = whole > 0
            && (whole == text.len() || text[whole] == b'.')
            && text[whole..].iter().skip(1).all(u8::is_ascii_digit);
        if plain { super::decimal(body, start, whole, places) } else { None }
    }

    /// The text in the middle of a body, so that there is a window.
    fn with<T>(text: &str, read: impl Fn(&[u8], usize, usize) -> Option<T>) -> Option<T> {
        let body = format!("\"{text}\",\"0123456789.123456789\"");
        read(body.as_bytes(), 1, 1 + text.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn addresses_are_read_as_the_standard_library_does(
            text in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9]{1,4}(\\.[0-9]{1,4}){2,4}|[0-9.]{0,16}|[0-9a-f.:/]{2,9}",
        ) {
            prop_assert_eq!(with(&text, v4).map(Ipv4Addr::from_bits), text.parse().ok(), "{}", text);
        }

        #[test]
        fn small_numbers_are_their_spelling(text in "[0-9]{0,10}|-?[0-9a:/]{1,5}") {
            let number: Option<u32> = text.parse().ok().filter(|number: &u32| number.to_string() == text);
            prop_assert_eq!(with(&text, small_number), number.filter(|number| *number < 100_000_000));
        }

        #[test]
        fn decimals_are_the_nearest_floats(text in "[1-9][0-9]{0,15}(\\.[0-9]{1,9})?|[0-9]{1,10}\\.[0-9]{7}|[1-9]{1,6}\\.[05]{1,13}") {
            if let Some(seconds) = with(&text, decimal) {
                prop_assert_eq!(seconds.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
            }
        }

        #[test]
        fn decimals_between_two_floats_round_as_the_standard_library_does(bits in 0x3ff0_0000_0000_0000_u64..0x4140_0000_0000_0000) {
            let (low, high) = (f64::from_bits(bits), f64::from_bits(bits + 1));
            for text in [format!("{low}"), format!("{:.9}", f64::midpoint(low, high)), format!("{low:.12}")] {
                if let Some(seconds) = with(&text, decimal) {
                    prop_assert_eq!(seconds.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_divided_exactly_is_left_to_the_usual_way() {
        for text in ["1629939474.1346128", "1.5", "999999999999999.125", "562949953421312.062", "1"] {
            assert_eq!(with(text, decimal), Some(text.parse().unwrap()), "{text}");
        }
        // Among them one that lies half-way between two floats.
        for text in ["562949953421312.0625", "4503599627370497.5", "0.5", "1e3", "-1.5", "", "9007199254740993", ".5"] {
            assert_eq!(with(text, decimal), None, "{text}");
        }
    }
}
