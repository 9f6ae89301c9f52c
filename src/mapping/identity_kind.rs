//! What an identity value is, and how it is cleaned up before it is looked up.

use std::borrow::Cow;

use super::parse_address;

/// The longest identity value and the longest employee id, in bytes (UTF-8, unescaped). A longer
/// value names nobody, because answers repeat the id with every record of the employee.
pub const MAX_ID_BYTES: usize = 256;

/// Whether an identity value stands for the lack of one: it is blank, `-`, `unknown`, `none` or
/// `n/a`, in any case.
#[must_use]
pub fn holds_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || text == "-"
        || ["unknown", "none", "n/a"].iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
}

/// How an identity value is looked up (`as` in the configuration).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum IdentityKind {
    /// Decided by the value: an IP address is looked up, anything else is the employee id itself.
    Auto,
    /// The employee id itself.
    EmployeeId,
    /// An IP address.
    Ip,
    /// An e-mail address, without regard to case.
    Email,
    /// A user name, without regard to case, without a domain before or after it.
    Username,
    /// A host name: its first label, without regard to case.
    Hostname,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Auto, Self::EmployeeId, Self::Ip, Self::Email, Self::Username, Self::Hostname];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::EmployeeId => "employee_id",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Username => "username",
            Self::Hostname => "hostname",
        }
    }

    /// The value as it is looked up, so that values that mean the same are equal. `None` if the
    /// value holds nothing, is longer than [`MAX_ID_BYTES`], or is not of this kind.
    ///
    /// With [`Self::Auto`] an IP address is cleaned up like one, and any other value is the
    /// employee id itself.
    #[must_use]
    pub fn clean(self, value: &str) -> Option<Cow<'_, str>> {
        if value.len() > MAX_ID_BYTES || holds_nothing(value) {
            return None;
        }
        let cleaned = match self {
            Self::Auto => match parse_address(value) {
                Some(address) => Cow::Owned(address.to_string()),
                None => Cow::Borrowed(value),
            },
            Self::EmployeeId => Cow::Borrowed(value),
            Self::Ip => Cow::Owned(parse_address(value)?.to_string()),
            Self::Email => lowercase(value.trim()),
            Self::Username => lowercase(without_domain(value.trim())),
            Self::Hostname => lowercase(first_label(value)?),
        };
        (!cleaned.is_empty()).then_some(cleaned)
    }
}

fn lowercase(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// A user name without `DOMAIN\` before it and `@domain` after it.
fn without_domain(text: &str) -> &str {
    let name = text.rsplit_once('\\').map_or(text, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name).trim()
}

/// The first label of a host name; `None` for an IP address.
fn first_label(text: &str) -> Option<&str> {
    if parse_address(text).is_some() {
        return None;
    }
    text.split([':', '.']).next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cleaned_up_by_their_kind() {
        use IdentityKind::{Auto, Email, EmployeeId, Hostname, Ip, Username};
        for (kind, value, cleaned) in [
            (Auto, "4711", Some("4711")),
            (Auto, "[17.1.2.3]:443", Some("17.1.2.3")),
            (Auto, "E-17", Some("E-17")),
            (EmployeeId, "17.1.2.3:80", Some("17.1.2.3:80")),
            (EmployeeId, " x ", Some(" x ")),
            (Ip, " ::ffff:17.1.2.3 ", Some("17.1.2.3")),
            (Ip, "2001:DB8:0::1%eth0", Some("2001:db8::1")),
            (Ip, "host", None),
            (Email, " Ada.Lovelace@Example.ORG ", Some("ada.lovelace@example.org")),
            (Email, "ÄRA@example.org", Some("ära@example.org")),
            (Username, "CORP\\Ada", Some("ada")),
            (Username, "ada@corp.example", Some("ada")),
            (Username, "CORP\\Ada@corp.example", Some("ada")),
            (Username, "Ada", Some("ada")),
            (Username, "CORP\\", None),
            (Username, "@corp.example", None),
            (Hostname, "WS-17.corp.example:8080", Some("ws-17")),
            (Hostname, "ws-17:8080", Some("ws-17")),
            (Hostname, "ws-17", Some("ws-17")),
            (Hostname, "17.1.2.3", None),
            (Hostname, "17.1.2.3:80", None),
            (Hostname, "[2001:db8::1]", None),
            (Hostname, ".corp.example", None),
            (Email, "", None),
            (Email, " - ", None),
            (Username, "Unknown", None),
            (Hostname, "NONE", None),
            (Auto, "N/A", None),
            (EmployeeId, "none", None),
        ] {
            assert_eq!(kind.clean(value).as_deref(), cleaned, "{kind:?} {value:?}");
        }
    }

    #[test]
    fn a_value_of_more_than_256_bytes_names_nobody() {
        for kind in IdentityKind::ALL {
            assert_eq!(kind.clean(&"x".repeat(257)), None, "{kind:?}");
        }
        let longest = "x".repeat(256);
        assert_eq!(IdentityKind::Email.clean(&longest).as_deref(), Some(&*longest));
    }
}
