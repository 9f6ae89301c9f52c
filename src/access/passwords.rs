//! The passwords of users, by their bcrypt hashes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::authorization::UserPass;
use super::grant::Credential;
use super::keyed_hash::{HASH_BYTES, KeyedHash};
use super::{Grant, Scope};
use crate::credentials::{PasswordHash, Users};

/// The longest password that bcrypt takes whole. It would cut a longer one.
const MAX_PASSWORD_BYTES: usize = 72;

/// The users of one configuration.
#[derive(Debug)]
pub(super) struct Passwords {
    users: HashMap<Arc<str>, User>,
    /// The hashes of all users, from which [`Self::work`] picks one for somebody unknown.
    hashes: Vec<PasswordHash>,
    /// Hashes passwords, to recognise verified ones.
    memory: KeyedHash,
    /// Hashes unknown names.
    pick: KeyedHash,
}

#[derive(Debug)]
struct User {
    hash: PasswordHash,
    grant: Arc<Grant>,
    /// The keyed hash of the password, once it was verified.
    verified: OnceLock<[u8; HASH_BYTES]>,
}

/// The hash that a password is compared with.
#[derive(Debug)]
pub(super) struct Work {
    password: SecretString,
    hash: PasswordHash,
    /// Whether the password of this hash would be the right one.
    can_succeed: bool,
}

impl Passwords {
    /// `pick` decides which hash somebody unknown is compared with. It should outlive a reload,
    /// because a user whose comparison takes another time then would be an unknown one.
    pub(super) fn new(users: &Users, pick: KeyedHash) -> Self {
        let user = |(name, hash): (&Arc<str>, &PasswordHash)| {
            let credential = Credential::Password(hash.clone());
            let grant = Arc::new(Grant::new(Arc::clone(name), Scope::All, credential));
            (Arc::clone(name), User { hash: hash.clone(), grant, verified: OnceLock::new() })
        };
        Self {
            users: users.iter().map(user).collect(),
            hashes: users.iter().map(|(_, hash)| hash.clone()).collect(),
            memory: KeyedHash::new(),
            pick,
        }
    }

    /// The grant of a user whose password is one that was verified before. Takes the same time for
    /// users who are unknown.
    pub(super) fn remembered(&self, credentials: &UserPass) -> Option<&Arc<Grant>> {
        let hash = self.hash(&credentials.password);
        let user = self.users.get(credentials.user.as_str())?;
        let verified = user.verified.get()?;
        bool::from(verified.ct_eq(&hash)).then_some(&user.grant)
    }

    /// Remembers that the password of a user is right, and returns the grant.
    pub(super) fn remember(&self, credentials: &UserPass) -> Option<&Arc<Grant>> {
        let user = self.users.get(credentials.user.as_str())?;
        user.verified.get_or_init(|| self.hash(&credentials.password));
        Some(&user.grant)
    }

    /// What is to be done to check a password: as much for an unknown user, and for a password that
    /// cannot be right, as for others. `None` if there are no users.
    pub(super) fn work(&self, credentials: &UserPass) -> Option<Work> {
        let user = self.users.get(credentials.user.as_str());
        let hash = match user {
            Some(user) => &user.hash,
            None => self.pick(&credentials.user)?,
        };
        let is_too_long = credentials.password.expose_secret().len() > MAX_PASSWORD_BYTES;
        Some(Work {
            password: if is_too_long {
                SecretString::default()
            } else {
                credentials.password.clone()
            },
            hash: hash.clone(),
            can_succeed: user.is_some() && !is_too_long,
        })
    }

    /// Whether a user has this hash.
    pub(super) fn has(&self, name: &str, hash: &PasswordHash) -> bool {
        self.users.get(name).is_some_and(|user| user.hash == *hash)
    }

    /// The hash that an unknown name is compared with: always the same for the same name, as if the
    /// name had one of its own.
    fn pick(&self, name: &str) -> Option<&PasswordHash> {
        let hash = self.pick.of(name.as_bytes());
        let number = hash.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        let count = u64::try_from(self.hashes.len()).ok()?;
        let index = number.checked_rem(count)?;
        self.hashes.get(usize::try_from(index).ok()?)
    }

    fn hash(&self, password: &SecretString) -> [u8; HASH_BYTES] {
        self.memory.of(password.expose_secret().as_bytes())
    }
}

impl Work {
    /// Compares the password, which takes between a millisecond and seconds of processor time.
    pub(super) fn run(self) -> bool {
        let is_equal = bcrypt::verify(self.password.expose_secret(), self.hash.as_str());
        is_equal.unwrap_or(false) && self.can_succeed
    }
}

#[cfg(test)]
mod tests;
