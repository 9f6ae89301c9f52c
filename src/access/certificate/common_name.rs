//! Reads the common name of a certificate's subject.

use std::sync::Arc;

/// The most bytes of a common name.
const MAX_COMMON_NAME_BYTES: usize = 256;

/// The attribute type of common names, 2.5.4.3 in DER (RFC 5280, appendix A).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

// The tags of DER values (X.690).
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The last common name of a subject: a DER `RDNSequence` without its own tag and length.
pub(super) fn common_name(subject: &[u8]) -> Option<Arc<str>> {
    let mut names = Der(subject);
    let mut last = None;
    while !names.is_empty() {
        let mut attributes = names.read(SET)?;
        while !attributes.is_empty() {
            let mut attribute = attributes.read(SEQUENCE)?;
            let kind = attribute.read(OBJECT_IDENTIFIER)?;
            let value = attribute.read_any()?;
            if kind.0 == COMMON_NAME {
                last = Some(value);
            }
        }
    }
    let (tag, value) = last?;
    principal(&text(tag, value.0)?)
}

/// The text of a DER string of one of the types that stand in names.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => String::from_utf8(value.to_vec()).ok(),
        // In T.61 the other bytes have meanings that programs disagree on.
        PRINTABLE_STRING | IA5_STRING | T61_STRING if value.is_ascii() => {
            String::from_utf8(value.to_vec()).ok()
        }
        BMP_STRING => {
            let (units, rest) = value.as_chunks();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

/// The name, if it can name a principal. A NUL or another control character could make it look like
/// another name.
fn principal(name: &str) -> Option<Arc<str>> {
    let is_usable = !name.is_empty()
        && name.len() <= MAX_COMMON_NAME_BYTES
        && !name.chars().any(char::is_control);
    is_usable.then(|| name.into())
}

/// DER values in a row.
struct Der<'a>(&'a [u8]);

impl Der<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of the next value, which must have this tag.
    fn read(&mut self, expected: u8) -> Option<Self> {
        let (tag, content) = self.read_any()?;
        (tag == expected).then_some(content)
    }

    /// The tag and the content of the next value.
    fn read_any(&mut self) -> Option<(u8, Self)> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            length @ 0..=0x7f => (usize::from(*length), rest),
            // A subject is far shorter than lengths of three bytes allow.
            0x81 => {
                let (length, rest) = rest.split_first()?;
                (usize::from(*length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, Self(content)))
    }
}

#[cfg(test)]
mod tests;
