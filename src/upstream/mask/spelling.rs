//! Recognises a text in the spellings that an answer and the report of `check` give it.

/// Shorter secrets stand in texts by chance, and masking them would tell them.
pub(super) const MIN_SECRET_CHARS: usize = 4;

/// What the report puts in place of the rest of a text that is too long.
const CUT: char = '…';
/// What the report puts behind a key, which may be the first part of the value that was looked up.
const KEY_END: char = '`';
/// Fewer characters before [`KEY_END`] may be the whole of another text.
const MIN_KEY_CHARS: usize = 8;
/// The longest escape of one character, such as `\u{10ffff}`, cut before its end.
const MAX_CUT_ESCAPE_BYTES: usize = 12;

/// The length of `secret` at the beginning of `text`, if it stands there: as it is, in another
/// case, escaped as in JSON (also in JSON within JSON), percent-encoded, or cut by the report.
pub(super) fn spelled_len(text: &str, secret: &str) -> Option<usize> {
    let lengths = [Encoding::Escaped, Encoding::Percent].map(|encoding| {
        let mut rest = text;
        let mut previous = None;
        for (index, character) in secret.chars().enumerate() {
            // A run of backslashes is matched whole, because escapes double them.
            if character == '\\' && previous == Some('\\') && encoding == Encoding::Escaped {
                continue;
            }
            previous = Some(character);
            match encoding.after(rest, character) {
                Some(after) => rest = after,
                None if index >= MIN_KEY_CHARS && rest.starts_with(KEY_END) => break,
                None if index >= MIN_SECRET_CHARS => {
                    rest = cut(rest)?;
                    break;
                }
                None => return None,
            }
        }
        Some(text.len() - rest.len())
    });
    lengths.into_iter().flatten().max()
}

/// The text from where the report has cut it, if it is cut within the next character.
fn cut(rest: &str) -> Option<&str> {
    let at = rest.find(CUT)?;
    let is_of_escape = |c: char| c.is_ascii_alphanumeric() || matches!(c, '\\' | '%' | '{');
    let is_in_escape = rest.starts_with(['\\', '%'])
        && at <= MAX_CUT_ESCAPE_BYTES
        && rest[..at].chars().all(is_of_escape);
    (at == 0 || is_in_escape).then(|| &rest[at..])
}

/// How characters may be spelled.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Encoding {
    /// As they are, or by escapes that begin with a backslash.
    Escaped,
    /// As they are, except for `%` and `+`, or by percent signs.
    Percent,
}

impl Encoding {
    /// The text after this character, if it begins with that.
    fn after(self, text: &str, character: char) -> Option<&str> {
        match self {
            Self::Escaped => after_escaped(text, character),
            Self::Percent => after_percent(text, character),
        }
    }
}

fn after_escaped(text: &str, character: char) -> Option<&str> {
    let bare = text.trim_start_matches('\\');
    let is_escape = bare.len() < text.len();
    if character == '\\' {
        return if is_escape { after_code(bare, character).or(Some(bare)) } else { None };
    }
    let literal = bare.strip_prefix(|c: char| c.eq_ignore_ascii_case(&character));
    if literal.is_some() || !is_escape {
        // The report has blanks in place of line breaks and tabs.
        let is_blank = matches!(character, '\n' | '\r' | '\t');
        return literal.or_else(|| bare.strip_prefix(' ').filter(|_| is_blank));
    }
    let short = match character {
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        _ => None,
    };
    short.and_then(|short| bare.strip_prefix(short)).or_else(|| after_code(bare, character))
}

/// The text after `uXXXX`, twice for a surrogate pair, or `u{X…}`.
fn after_code(bare: &str, character: char) -> Option<&str> {
    let code = bare.strip_prefix('u')?;
    if let Some((digits, after)) = code.strip_prefix('{').and_then(|code| code.split_once('}')) {
        return (u32::from_str_radix(digits, 16) == Ok(character.into())).then_some(after);
    }
    let mut units = [0; 2];
    let mut rest = bare;
    for unit in character.encode_utf16(&mut units) {
        let code = rest.trim_start_matches('\\').strip_prefix('u')?;
        let (digits, after) = code.split_at_checked(4)?;
        if u16::from_str_radix(digits, 16) != Ok(*unit) {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

fn after_percent(text: &str, character: char) -> Option<&str> {
    if !text.starts_with('%') {
        return match character {
            ' ' => text.strip_prefix([' ', '+']),
            '%' => None,
            _ => text.strip_prefix(|c: char| c.eq_ignore_ascii_case(&character)),
        };
    }
    let mut bytes = [0; 4];
    let mut rest = text;
    for byte in character.encode_utf8(&mut bytes).bytes() {
        rest = rest.strip_prefix('%')?;
        let (digits, after) = rest.split_at_checked(2)?;
        let encoded = u8::from_str_radix(digits, 16).ok()?;
        if !encoded.eq_ignore_ascii_case(&byte) {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_secret_are_recognised() {
        for (secret, spellings) in [
            ("s3cret", &["s3cret", "S3CRET", "\\u00733cret", "%733cret", "s3cr%65t"][..]),
            ("a/b+c=d", &["a/b+c=d", "a\\/b+c=d", "a%2Fb%2bc%3Dd", "a\\u002fb\\u002Bc\\u003dd"]),
            ("q\"w\\e", &["q\"w\\e", "q\\\"w\\\\e", "q\\\\\\\"w\\\\\\\\e", "q%22w%5Ce"]),
            ("a\\\\b c", &["a\\\\b c", "a\\\\\\\\b c", "a%5C%5Cb+c", "a%5C%5Cb%20c"]),
            ("50%25x", &["50%25x", "50%2525x", "50\\u002525x"]),
            ("pässwört", &["pässwört", "p\\u00e4ssw\\u00F6rt", "p%C3%A4ssw%c3%b6rt"]),
            ("key😀x", &["key😀x", "key\\ud83d\\ude00x", "key%F0%9F%98%80x"]),
            ("a\tb\u{202e}c", &["a\\tb\u{202e}c", "a b\\u{202e}c", "a\\u0009b\\u202Ec"]),
        ] {
            for spelling in spellings {
                let text = format!("{spelling}\" and more");
                assert_eq!(spelled_len(&text, secret), Some(spelling.len()), "{spelling}");
            }
        }
    }

    #[test]
    fn what_the_report_has_cut_is_recognised() {
        for (text, expected) in [
            ("s3cr… more", Some(4)),
            ("s3cre…", Some(5)),
            ("s3cr\\u00…", Some(8)),
            ("s3c…", None),
            ("s3crxt", None),
            ("s3cr", None),
            ("s3cr\\ and later…", None),
            ("", None),
        ] {
            assert_eq!(spelled_len(text, "s3cret"), expected, "{text}");
        }
        // A host name is looked up without its domain.
        assert_eq!(spelled_len("ab.cd`", "ab.cdefgh"), None);
        assert_eq!(spelled_len("eyjhbgci`", "eyJhbGci.eyJzdWIi"), Some(8));
    }
}
