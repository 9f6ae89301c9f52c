//! The order of employees in the document.

use std::cmp::Ordering;

use super::GROUPS_PER_EMPLOYEE;
use crate::identity::EmployeeId;

/// An employee id as a sort key. Numeric ids (an optional minus sign and digits) come first, by
/// value, and by text if their values are equal (`7`, `007`). The others follow, by code point.
#[derive(Debug, Eq, PartialEq)]
pub struct OrderKey<'a> {
    text: &'a str,
    /// The value, clamped to 128 bits, which decides nearly every comparison; `None` for ids that
    /// are not numeric.
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

/// The indices of the employees with at least one incident, in the order of the document. `ids` are
/// in the order of the indices; `group_sizes` has the sizes of each employee's groups.
pub(super) fn document_order<'a>(
    ids: impl Iterator<Item = &'a EmployeeId>,
    group_sizes: &[u32],
) -> Vec<u32> {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for ((id, employee), sizes) in ids.zip(0..).zip(group_sizes.chunks_exact(GROUPS_PER_EMPLOYEE)) {
        match id {
            _ if sizes == [0; GROUPS_PER_EMPLOYEE] => {}
            EmployeeId::Number(number) => numbers.push((*number, employee)),
            EmployeeId::Text(text) => texts.push((OrderKey::new(text), employee)),
        }
    }
    numbers.sort_unstable();
    texts.sort_unstable();
    let mut ranked = Vec::with_capacity(numbers.len() + texts.len());
    let mut texts = texts.into_iter().peekable();
    for (number, employee) in numbers {
        // Without ids left that are no small numbers, the numbers need not be formatted.
        if texts.peek().is_some() {
            let mut buffer = itoa::Buffer::new();
            let number = OrderKey::new(buffer.format(number));
            while let Some((_, employee)) = texts.next_if(|(text, _)| *text < number) {
                ranked.push(employee);
            }
        }
        ranked.push(employee);
    }
    ranked.extend(texts.map(|(_, employee)| employee));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::EmployeeIds;

    #[test]
    fn numbers_stand_among_the_other_ids_by_their_value() {
        let ids = ["x", "8", "0100000000", "10", "-3", "008", "7", "123456789", "", "0", "00"];
        let mut interned = EmployeeIds::default();
        let mut sizes = vec![1; 4 * ids.len()];
        for id in ids {
            let employee = interned.intern(id) as usize;
            if id == "10" {
                sizes[employee * 4..][..4].fill(0);
            }
        }
        let ranked: Vec<String> = document_order(interned.list().iter(), &sizes)
            .into_iter()
            .map(|employee| interned.list()[employee as usize].to_string())
            .collect();
        let mut sorted: Vec<_> = ids.into_iter().filter(|id| *id != "10").collect();
        sorted.sort_by_key(|id| OrderKey::new(id));
        assert_eq!(ranked, sorted, "without the one who has no incidents");
    }

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
