//! Formats bytes as lower-case hexadecimal digits.

/// The two digits of each byte.
#[must_use]
pub(crate) fn digits<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    // Computed rather than looked up, so that the compiler can vectorize it.
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    let mut digits = [[0; 2]; N];
    for (digits, byte) in digits.iter_mut().zip(bytes) {
        *digits = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_byte_has_two_digits() {
        for byte in 0..=u8::MAX {
            assert_eq!(super::digits([byte]).as_flattened(), format!("{byte:02x}").as_bytes());
        }
    }
}
