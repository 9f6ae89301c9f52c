//! Shows what an upstream sent on a terminal: on one line, bounded, and without characters that
//! would control the terminal or hide themselves.

use std::fmt::{self, Write as _};

/// A text of an upstream, at most so many characters of it.
pub(super) struct Shown<'a> {
    text: &'a str,
    max_chars: usize,
}

/// The text, at most `max_chars` characters of it.
pub(super) fn shown(text: &str, max_chars: usize) -> Shown<'_> {
    Shown { text, max_chars }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, character) in self.text.chars().enumerate() {
            if count == self.max_chars {
                return f.write_str("…");
            }
            match character {
                '\n' | '\r' | '\t' => f.write_char(' ')?,
                character if is_unsafe(character) => {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                }
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Whether a character controls the terminal, changes the direction of text, or is invisible.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A number of things, such as `1 record` and `1,204 records`.
pub(super) fn count(number: usize, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", grouped(number))
}

/// A number with a comma between each three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Such as `512 B`, `2.5 kB` and `18 MB`.
pub(super) fn size(bytes: usize) -> String {
    let (unit, per_unit) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => ("kB", 1e3),
        _ => ("MB", 1e6),
    };
    let value = bytes as f64 / per_unit;
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$} {unit}")
}

/// Names in code marks, joined by commas; at most `max` of them, and how many more there are.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>, max: usize) -> String {
    /// The longest name that is shown whole.
    const MAX_NAME_CHARS: usize = 60;
    let mut text = String::new();
    let mut more = 0;
    for (index, name) in names.into_iter().enumerate() {
        if index >= max {
            more += 1;
            continue;
        }
        let comma = if index == 0 { "" } else { ", " };
        // Writing to memory does not fail.
        let _ = write!(text, "{comma}`{}`", shown(name, MAX_NAME_CHARS));
    }
    if more > 0 {
        let _ = write!(text, " and {} more", grouped(more));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_hidden_ones_are_spelled() {
        for (text, expected) in [
            ("plain é 漢", "plain é 漢"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\u{9b}2J\u{7f}", "a\\u{9b}2J\\u{7f}"),
            ("x\u{202e}txt\u{2066}\u{200b}", "x\\u{202e}txt\\u{2066}\\u{200b}"),
            ("two\r\nlines\tof", "two  lines of"),
            ("123456789", "12345678…"),
            ("12345678", "12345678"),
        ] {
            assert_eq!(
                shown(text, if text.starts_with('1') { 8 } else { 99 }).to_string(),
                expected
            );
        }
    }

    #[test]
    fn numbers_sizes_and_names_read_well() {
        assert_eq!(
            ["0", "12", "999", "1,000", "12,345,678"].map(ToOwned::to_owned),
            [0, 12, 999, 1000, 12_345_678].map(grouped)
        );
        assert_eq!((count(1, "record"), count(2, "page")), ("1 record".into(), "2 pages".into()));
        assert_eq!([5, 2_540, 18_000, 3_400_000].map(size), ["5 B", "2.5 kB", "18 kB", "3.4 MB"]);
        assert_eq!(names(["a", "b\u{1b}", "c", "d"], 2), "`a`, `b\\u{1b}` and 2 more");
    }
}
