//! What an identity value means, and in which order employees stand.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use crate::decode::{self, EmployeeId, Identities};

/// Whom an identity value names.
#[derive(Debug, Eq, PartialEq)]
pub enum Meaning<'a> {
    /// The employee of that id.
    Employee(EmployeeId<'a>),
    /// An address that the identities do not know.
    UnknownAddress,
    /// An address, while there are no identities to look it up in.
    IdentitiesUnavailable,
}

/// Decides by the value alone: an IPv4 or IPv6 address is looked up, anything else is the employee's id itself.
#[must_use]
pub fn resolve<'a>(value: Cow<'a, str>, identities: Option<&'a Identities>) -> Meaning<'a> {
    match decode::address(&value) {
        None => Meaning::Employee(EmployeeId::Text(value)),
        Some(address) => resolve_address(address, identities),
    }
}

/// Looks a canonical address up.
#[must_use]
pub(super) fn resolve_address(address: IpAddr, identities: Option<&Identities>) -> Meaning<'_> {
    match identities {
        None => Meaning::IdentitiesUnavailable,
        Some(identities) => identities.employee(address).map_or(Meaning::UnknownAddress, Meaning::Employee),
    }
}

/// An employee id's place in the document: numeric ids (an optional minus sign and digits) first and by value, then the
/// others by code point; equal values (`7`, `007`) by their text.
#[derive(Debug, Eq, PartialEq)]
pub struct OrderKey<'a> {
    text: &'a str,
    /// Clamped to 128 bits, which settles nearly every comparison; `None` for ids that are no number.
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
                let by_value = if clamped { compare_numerals(self.text, other.text) } else { left.cmp(&right) };
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
    use bytes::Bytes;

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

    #[test]
    fn addresses_are_compared_as_addresses() {
        let identities = Identities::decode(Bytes::from_static(
            br#"{"17.1.2.3": 7, "2001:DB8:0::1": "eight", "::ffff:17.9.9.9": "009", "17.0.0.1": null, "17.0.0.2": "17.1.2.3", "host": 5}"#,
        ))
        .unwrap();
        let resolve = |value: &'static str| resolve(Cow::Borrowed(value), Some(&identities));
        let employee = |id: &'static str| Meaning::Employee(EmployeeId::Text(Cow::Borrowed(id)));
        for seven in ["17.1.2.3", "::ffff:17.1.2.3", "::FFFF:1101:203"] {
            assert_eq!(resolve(seven), Meaning::Employee(EmployeeId::Number(7)), "{seven}");
        }
        assert_eq!(resolve("2001:db8::1"), employee("eight"));
        assert_eq!(resolve("2001:0db8:0000:0000:0000:0000:0000:0001"), employee("eight"));
        assert_eq!(resolve("17.9.9.9"), employee("009"));
        for unknown in ["17.0.0.1", "17.0.0.2", "17.255.255.255", "::1"] {
            assert_eq!(resolve(unknown), Meaning::UnknownAddress, "{unknown}");
        }
        for id in ["1234", "host", "17.1.2", "017.1.2.3", " 17.1.2.3", "17.1.2.3:80", "fe80::1%eth0", "::ffff:17.1.2"] {
            assert_eq!(resolve(id), employee(id), "{id}");
        }
        assert_eq!(super::resolve(Cow::Borrowed("::1"), None), Meaning::IdentitiesUnavailable);
        assert_eq!(super::resolve(Cow::Borrowed("1234"), None), employee("1234"));
    }
}
