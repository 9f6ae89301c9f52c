//! The begin of an answer as text for people.

use crate::upstream::Mask;

/// The most bytes of an excerpt.
const MAX_EXCERPT_BYTES: usize = 200;

/// The begin of an answer: printable text on one line, without secrets of the request.
pub(super) fn excerpt(answer: &[u8], mask: &Mask) -> String {
    let text = String::from_utf8_lossy(answer);
    let text = mask.begin(text.trim_start(), MAX_EXCERPT_BYTES);
    let mut excerpt = String::with_capacity(MAX_EXCERPT_BYTES);
    for character in text.trim_end().chars() {
        let character = match character {
            '\n' | '\r' | '\t' => ' ',
            _ if is_hidden(character) => char::REPLACEMENT_CHARACTER,
            _ => character,
        };
        if excerpt.len() + character.len_utf8() > MAX_EXCERPT_BYTES {
            break;
        }
        excerpt.push(character);
    }
    excerpt
}

/// Whether a character does not show, or changes the direction or the place of others.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Auth;

    #[test]
    fn an_excerpt_is_printable_and_short_and_has_no_secret() {
        let mask = Mask::of_auth(Some(&Auth::Bearer { token: "s3cret".into() }), &["t0ken".into()]);
        for (answer, expected) in [
            (&b" \r\n bad\r\n\tfield\n"[..], "bad   field"),
            (b"a\x00\x1b[31m\xff\xe2\x80\xae", "a\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}"),
            (b"Bearer s3cret, t0ken", "Bearer ***, ***"),
            (b"", ""),
        ] {
            assert_eq!(excerpt(answer, &mask), expected);
        }
        assert_eq!(excerpt("x".repeat(201).as_bytes(), &mask).len(), 200);
        assert_eq!(excerpt("é".repeat(101).as_bytes(), &mask), "é".repeat(100));
        assert_eq!(excerpt(format!("x{}", "é".repeat(101)).as_bytes(), &mask).len(), 199);
    }
}
