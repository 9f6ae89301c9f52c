//! Files of users: htpasswd lines with bcrypt hashes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{LineError, lines};

const FORM: &str = "write NAME:HASH with a bcrypt hash, as `htpasswd -nB NAME` prints it";

/// The accepted costs: a lower one is no protection, and each step doubles the time of a check.
const COSTS: RangeInclusive<u32> = 4..=14;

/// The versions of bcrypt hashes that name one algorithm. `2x` marks those of a faulty program.
const VERSIONS: [&str; 3] = ["$2a$", "$2b$", "$2y$"];

/// What other hashes begin with, and the names of their kinds.
const OTHER_KINDS: [(&str, &str); 16] = [
    ("$apr1$", "an MD5 hash (apr1)"),
    ("$1$", "an MD5 crypt hash"),
    ("$2$", "a bcrypt hash of the outdated version 2"),
    ("$2x$", "a bcrypt hash of a faulty program (version 2x)"),
    ("$5$", "a SHA-256 crypt hash"),
    ("$6$", "a SHA-512 crypt hash"),
    ("$7$", "an scrypt hash"),
    ("$y$", "a yescrypt hash"),
    ("$gy$", "a yescrypt hash"),
    ("$argon2", "an Argon2 hash"),
    ("$pbkdf2", "a PBKDF2 hash"),
    ("$scrypt", "an scrypt hash"),
    ("{SHA}", "a SHA-1 hash"),
    ("{SSHA}", "a salted SHA-1 hash"),
    ("{", "a hash of another kind"),
    ("$", "a hash of another kind"),
];

/// The users of a file. They see everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users(BTreeMap<Arc<str>, PasswordHash>);

/// A bcrypt hash (`$2y$12$…`); never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// The hash as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks that `text` is a bcrypt hash, so that comparing a password with it cannot fail.
    fn parse(text: &str) -> Result<Self, String> {
        const LENGTH: usize = 60;
        let versions = || {
            let versions = VERSIONS.map(|version| format!("`{version}`"));
            format!("only bcrypt is accepted ({}): {FORM}", versions.join(", "))
        };
        if text.is_empty() {
            return Err(format!("there is no hash after the `:`; {FORM}"));
        }
        if !VERSIONS.iter().any(|version| text.starts_with(version)) {
            let kind = OTHER_KINDS.iter().find(|(prefix, _)| text.starts_with(prefix));
            let kind = kind.map_or("no hash, or one of the outdated `crypt`", |(_, kind)| kind);
            return Err(format!("what follows the name is {kind}; {}", versions()));
        }
        let malformed = || format!("the bcrypt hash is malformed, or not whole; {FORM}");
        let is_of_hash = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/');
        if text.len() != LENGTH || text.as_bytes().get(6) != Some(&b'$') {
            return Err(malformed());
        }
        let (Some(cost), Some(rest)) = (text.get(4..6), text.get(7..)) else {
            return Err(malformed());
        };
        if !cost.bytes().all(|byte| byte.is_ascii_digit()) || !rest.chars().all(is_of_hash) {
            return Err(malformed());
        }
        if !cost.parse().is_ok_and(|cost| COSTS.contains(&cost)) {
            let (least, most) = (COSTS.start(), COSTS.end());
            return Err(format!(
                "the cost of the bcrypt hash is not within {least} to {most}; make it again with \
                 `htpasswd -nB -C 10 NAME`"
            ));
        }
        Ok(Self(with_clear_padding(text).into()))
    }
}

/// The hash with zeros for the bits that stand for nothing: the salt's 22 characters have 4 bits
/// more than its 16 bytes, the digest's 31 have 2 more than its 23. Some programs have set them at
/// random; the `bcrypt` crate refuses such hashes, others ignore these bits.
fn with_clear_padding(hash: &str) -> String {
    const DIGITS: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    /// The index of the last character of the salt and of the digest, and its bits of padding.
    const LAST: [(usize, u32); 2] = [(28, 4), (59, 2)];
    let clear = |(index, digit): (usize, char)| {
        let padding = LAST.iter().find(|(last, _)| *last == index).map_or(0, |(_, bits)| *bits);
        let value = DIGITS.find(digit).map(|value| value >> padding << padding);
        value.and_then(|value| DIGITS[value..].chars().next()).unwrap_or(digit)
    };
    hash.chars().enumerate().map(clear).collect()
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl Users {
    /// Parses the text of a file. One without any entry is valid: nobody can sign in by it.
    ///
    /// # Errors
    ///
    /// Every malformed line, up to a bound.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut users = BTreeMap::new();
        lines::read(text, FORM, |_, name, hash| {
            users.insert(name.into(), PasswordHash::parse(hash)?);
            Ok(())
        })?;
        Ok(Self(users))
    }

    /// The hash of a user's password.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Arc<str>, &PasswordHash)> {
        self.0.get_key_value(name)
    }

    /// The users, by name.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &PasswordHash)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
