//! Parses small numbers and IPv4 addresses eight or sixteen bytes at a time (SIMD within
//! a register).
//!
//! Functions that take a body read a window of fixed size, which may reach beyond the text's end.

use super::window::Window;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

fn window<const N: usize>(body: &[u8], start: usize) -> Option<[u8; N]> {
    body.get(start..start + N)?.try_into().ok()
}

/// The first `count` (1–8) bytes as digit values, right-aligned, with zeros before them.
#[inline]
fn digits(bytes: [u8; 8], count: usize) -> u64 {
    (u64::from_le_bytes(bytes) ^ (LOW * 0x30)) << (64 - 8 * count)
}

/// Whether all eight values are at most 9.
#[inline]
fn are_digits(digits: u64) -> bool {
    // Adding 0x76 to a value above 9 sets its high bit, unless that is set already.
    (digits.wrapping_add(LOW * 0x76) | digits) & HIGH == 0
}

/// The number that eight digit values make, the first in the lowest byte. Combines pairs of digits,
/// then pairs of pairs, then the two halves.
#[inline]
fn combine(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// The number of a text of `count` bytes, if these are one to eight digits without leading zeros.
/// `first` are the text's bytes and those that follow.
#[inline]
fn small_number_of(first: [u8; 8], count: usize) -> Option<u32> {
    if !(1..=8).contains(&count) || (first[0] == b'0' && count > 1) {
        return None;
    }
    let digits = digits(first, count);
    if are_digits(digits) { u32::try_from(combine(digits)).ok() } else { None }
}

/// The number of a text, if this is one to eight digits without leading zeros.
#[must_use]
pub(crate) fn small_number(text: &[u8]) -> Option<u32> {
    let mut first = [0; 8];
    first.get_mut(..text.len())?.copy_from_slice(text);
    small_number_of(first, text.len())
}

/// [`small_number`] of a text within a body.
#[inline]
pub(crate) fn small_number_at(body: &[u8], start: usize, end: usize) -> Option<u32> {
    match window(body, start) {
        Some(first) => small_number_of(first, end - start),
        None => small_number(&body[start..end]),
    }
}

/// An IPv4 address in strict dotted decimal form (RFC 6943, section 3.1.1), as 32 bits. `None` for
/// other texts, and within 19 bytes of the body's end, where the window would not fit.
#[inline]
pub(crate) fn v4(body: &[u8], start: usize, end: usize) -> Option<u32> {
    let length = end - start;
    if !(7..=15).contains(&length) {
        return None;
    }
    // Four bytes are read from the start of each octet, which is among the first sixteen.
    let text: [u8; 19] = window(body, start)?;
    let window = Window::of(&text, 0);
    let within = (1 << length) - 1;
    let (digits, dots) = (window.digits() & within, window.positions(b'.') & within);
    // Some parsers read an octet with a leading zero as octal. A leading zero is at the start or
    // after a dot, and before another digit.
    let leading_zeros = window.positions(b'0') & (dots << 1 | 1) & digits >> 1;
    if digits | dots != within || leading_zeros != 0 || dots.count_ones() != 3 {
        return None;
    }
    // As if a dot followed the text, so that all four octets end with one.
    let (mut ends, mut begin, mut address, mut valid) = (dots | 1 << length, 0, 0, true);
    for _ in 0..4 {
        let end = ends.trailing_zeros();
        ends &= ends - 1;
        let count = end - begin;
        valid &= (1..=3).contains(&count);
        // The octet's digit values, right-aligned, with zeros before them.
        let first = begin as usize % 16;
        let octet =
            u32::from_le_bytes([text[first], text[first + 1], text[first + 2], text[first + 3]]);
        let digits = (octet ^ 0x3030_3030).wrapping_shl(32_u32.wrapping_sub(8 * count));
        let octet = (digits >> 8 & 0xff) * 100 + (digits >> 16 & 0xff) * 10 + (digits >> 24);
        valid &= octet <= 255;
        address = address << 8 | octet;
        begin = end + 1;
    }
    valid.then_some(address)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// Parses the text in the middle of a body, so that the window fits.
    fn parse_in_body<T>(text: &str, read: impl Fn(&[u8], usize, usize) -> Option<T>) -> Option<T> {
        let body = format!("\"{text}\",\"0123456789.123456789\"");
        read(body.as_bytes(), 1, 1 + text.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn addresses_are_read_as_the_standard_library_does(
            text in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9]{1,4}(\\.[0-9]{1,4}){2,4}|[0-9.]{0,16}|[0-9a-f.:/]{2,9}",
        ) {
            prop_assert_eq!(parse_in_body(&text, v4).map(Ipv4Addr::from_bits), text.parse().ok(), "{}", text);
        }

        #[test]
        fn a_small_number_is_the_same_wherever_it_stands(text in "[0-9]{0,10}|-?[0-9a:/]{1,5}") {
            let number: Option<u32> = text.parse().ok().filter(|number: &u32| number.to_string() == text);
            let number = number.filter(|number| *number < 100_000_000);
            prop_assert_eq!(parse_in_body(&text, small_number_at), number);
            prop_assert_eq!(small_number(text.as_bytes()), number);
            prop_assert_eq!(small_number_at(text.as_bytes(), 0, text.len()), number);
        }
    }
}
