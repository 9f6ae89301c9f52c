//! In which order employees stand.

use std::cmp::Ordering;

/// An employee id's place in the document: numeric ids (an optional minus sign and digits) first
/// and by value, then the others by code point; equal values (`7`, `007`) by their text.
#[derive(Debug, Eq, PartialEq)]
pub struct OrderKey<'a> {
    text: &'a str,
    /// Clamped to 128 bits, which settles nearly every comparison; `None` for ids that are no
    /// number.
    value: Option<i128>,
}

impl<'a> OrderKey<'a> {
    /// The key of an employee id.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let (negative, digits) = split_sign(text);
        let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let clamped = if negative { i128::MIN } else { i128::MAX };
        Self { text, value: numeric.then(|| text.parse().unwrap_or(clamped)) }
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    text.strip_prefix('-').map_or((false, text), |digits| (true, digits))
}

/// Compares two numerals of the same sign by value, however long they are.
fn compare_numerals(left: &str, right: &str) -> Ordering {
    let (negative, left) = split_sign(left);
    let (left, right) = (left.trim_start_matches('0'), split_sign(right).1.trim_start_matches('0'));
    let magnitude = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
    if negative { magnitude.reverse() } else { magnitude }
}

impl Ord for OrderKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.value, other.value) {
            (Some(left), Some(right)) => {
                let clamped = left == right && (left == i128::MAX || left == i128::MIN);
                let by_value = if clamped {
                    compare_numerals(self.text, other.text)
                } else {
                    left.cmp(&right)
                };
                by_value.then_with(|| self.text.cmp(other.text))
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.text.cmp(other.text),
        }
    }
}

impl PartialOrd for OrderKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn employees_ascend_by_value_then_by_text() {
        let ordered = [
            "-170141183460469231731687303715884105729",
            "-170141183460469231731687303715884105728",
            "-12",
            "0",
            "007",
            "7",
            "10",
            "170141183460469231731687303715884105727",
            "170141183460469231731687303715884105728",
            "9999999999999999999999999999999999999999",
            "",
            "+1",
            "-",
            "1.5",
            "1e3",
            "alice",
            "é",
            "\u{ffff}",
            "😀",
        ];
        let mut shuffled = ordered;
        shuffled.reverse();
        shuffled.sort_by_key(|text| OrderKey::new(text));
        assert_eq!(shuffled, ordered);
    }
}
