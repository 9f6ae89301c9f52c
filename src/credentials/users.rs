//! Files of users: htpasswd lines with bcrypt hashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LineError;

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
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl Users {
    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// Every malformed line.
    pub fn parse(_text: &str) -> Result<Self, Vec<LineError>> {
        Ok(Self::default())
    }

    /// The hash of a user's password.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Arc<str>, &PasswordHash)> {
        self.0.get_key_value(name)
    }

    /// The users, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &PasswordHash)> {
        self.0.iter()
    }
}
