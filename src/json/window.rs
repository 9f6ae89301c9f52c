//! Classifies and compares sixteen bytes of a body at once (SIMD).
#![expect(clippy::inline_always, reason = "a few instructions each, needed for every record")]

use wide::u8x16;

/// The bytes of a window.
pub(crate) const WIDTH: usize = 16;

/// Sixteen bytes of a body. Those beyond the body's end are zero, which JSON text never contains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window(u8x16);

impl Window {
    #[inline(always)]
    pub(crate) fn of(body: &[u8], start: usize) -> Self {
        match body.get(start..start + WIDTH) {
            Some(bytes) => Self(u8x16::new(bytes.try_into().expect("as many as were asked for"))),
            None => Self(u8x16::new(Self::at_end(body, start).to_le_bytes())),
        }
    }

    /// Returns a number, which fits into registers; a window would be returned in memory.
    #[cold]
    fn at_end(body: &[u8], start: usize) -> u128 {
        let mut bytes = [0; WIDTH];
        let rest = body.get(start..).unwrap_or_default();
        bytes[..rest.len()].copy_from_slice(rest);
        u128::from_le_bytes(bytes)
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> u8x16 {
        self.0
    }

    /// A mask of the quotes, backslashes and control characters; the lowest bit is the first
    /// byte's.
    #[inline(always)]
    pub(crate) fn string_stops(self) -> u32 {
        let bytes = self.0;
        let controls = bytes.simd_eq(bytes.min(u8x16::splat(0x1f)));
        let stops =
            bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | controls;
        stops.to_bitmask()
    }

    /// The number of digits before the first other byte.
    #[inline(always)]
    pub(crate) fn digit_run(self) -> usize {
        (!self.digits()).trailing_zeros() as usize
    }

    /// A mask of the bytes that are digits; the lowest bit is the first byte's.
    #[inline(always)]
    pub(crate) fn digits(self) -> u32 {
        let values = self.0 - u8x16::splat(b'0');
        values.simd_eq(values.min(u8x16::splat(9))).to_bitmask()
    }

    /// A mask of the bytes that equal `byte`; the lowest bit is the first byte's.
    #[inline(always)]
    pub(crate) fn positions(self, byte: u8) -> u32 {
        self.0.simd_eq(u8x16::splat(byte)).to_bitmask()
    }
}

/// A text of at most 32 bytes, prepared so that a comparison takes a few instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefix {
    halves: [u8x16; 2],
    /// Masks of the bytes beyond the text's end.
    beyond: [u32; 2],
    length: usize,
}

impl Prefix {
    /// Prepares a text; `None` if it is too long.
    pub(crate) const fn new(text: &[u8]) -> Option<Self> {
        const ALL: u32 = (1 << WIDTH) - 1;
        let mut halves = [[0; WIDTH]; 2];
        let mut beyond = [ALL; 2];
        if text.len() > 2 * WIDTH {
            return None;
        }
        let mut index = 0;
        while index < text.len() {
            halves[index / WIDTH][index % WIDTH] = text[index];
            beyond[index / WIDTH] &= !(1 << (index % WIDTH));
            index += 1;
        }
        let [first, second] = halves;
        Some(Self { halves: [u8x16::new(first), u8x16::new(second)], beyond, length: text.len() })
    }

    /// The text's length, if the body has the text at `start`.
    #[inline(always)]
    pub(crate) fn matches(&self, body: &[u8], start: usize) -> Option<usize> {
        let half = |half: usize| {
            let window = Window::of(body, start + half * WIDTH);
            window.0.simd_eq(self.halves[half]).to_bitmask() | self.beyond[half] == (1 << WIDTH) - 1
        };
        (half(0) && (self.length <= WIDTH || half(1))).then_some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_those_of_the_single_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), b'0'..=b'9'], 0..20)) {
            let window = Window::of(&bytes, 0);
            let padded: Vec<u8> = bytes.iter().copied().chain(std::iter::repeat(0)).take(WIDTH).collect();
            let run = |of: fn(&u8) -> bool| padded.iter().take_while(|byte| of(byte)).count();
            prop_assert_eq!(window.digit_run(), run(u8::is_ascii_digit));
            for (index, byte) in padded.iter().enumerate() {
                prop_assert_eq!(window.digits() >> index & 1 == 1, byte.is_ascii_digit());
                let is_stop = matches!(byte, b'"' | b'\\' | 0..=0x1f);
                prop_assert_eq!(window.string_stops() >> index & 1 == 1, is_stop);
                prop_assert_eq!(window.positions(b'5') >> index & 1 == 1, *byte == b'5');
            }
        }

        #[test]
        fn a_prefix_matches_exactly_where_it_stands(text in "[a-c]{0,40}", before in "[a-c]{0,40}", after in "[a-c]{0,40}") {
            let body = format!("{before}{text}{after}");
            match Prefix::new(text.as_bytes()) {
                None => prop_assert!(text.len() > 32),
                Some(prefix) => for start in 0..body.len() {
                    let found = body.as_bytes()[start..].starts_with(text.as_bytes());
                    prop_assert_eq!(prefix.matches(body.as_bytes(), start), found.then_some(text.len()));
                },
            }
        }
    }
}
