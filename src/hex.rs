//! Formats bytes as lower-case hexadecimal digits, and reads them.

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

/// The bytes that exactly twice as many lower-case digits spell.
pub(crate) fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_byte_has_two_digits() {
        for byte in 0..=u8::MAX {
            let text = format!("{byte:02x}");
            assert_eq!(super::digits([byte]).as_flattened(), text.as_bytes());
            assert_eq!(super::bytes(&text), Some([byte]));
        }
        for wrong in ["", "0", "000", "0G", "AA", "é", " 0", "+0"] {
            assert_eq!(super::bytes::<1>(wrong), None, "{wrong}");
        }
    }
}
