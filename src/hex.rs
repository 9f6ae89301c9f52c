//! Bytes as lower-case hexadecimal digits, as ids are written.

/// The two digits of each byte.
#[must_use]
pub(crate) fn digits<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    bytes.map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_two_a_byte() {
        for byte in 0..=u8::MAX {
            assert_eq!(super::digits([byte]).as_flattened(), format!("{byte:02x}").as_bytes());
        }
    }
}
