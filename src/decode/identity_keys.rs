//! The identity values of mapped records, cleaned up and each kept once.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::offset;
use crate::json::Found;
use crate::mapping::{IdentityKind, MAX_ID_BYTES, parse_address};

/// The longest spelling of a value of at most [`MAX_ID_BYTES`]: the longest escape of a one-byte
/// character, such as `\u0061`, has six bytes.
const MAX_SPELLED_BYTES: usize = 6 * MAX_ID_BYTES + 2;

/// An identity value by which an employee is looked up, cleaned up as [`IdentityKind::clean`] does.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum IdentityKey {
    /// The employee id itself.
    EmployeeId(Box<str>),
    /// An IP address in its canonical form.
    Ip(IpAddr),
    /// An e-mail address.
    Email(Box<str>),
    /// A user name.
    Username(Box<str>),
    /// A host name.
    Hostname(Box<str>),
}

impl IdentityKey {
    /// The key of a value; `None` if the value holds nothing or is not of this kind.
    #[must_use]
    pub fn new(kind: IdentityKind, value: &str) -> Option<Self> {
        let cleaned = kind.clean(value)?;
        Some(match kind {
            IdentityKind::Auto | IdentityKind::Ip => match parse_address(&cleaned) {
                Some(address) => Self::Ip(address),
                None => Self::EmployeeId(cleaned.into()),
            },
            IdentityKind::EmployeeId => Self::EmployeeId(cleaned.into()),
            IdentityKind::Email => Self::Email(cleaned.into()),
            IdentityKind::Username => Self::Username(cleaned.into()),
            IdentityKind::Hostname => Self::Hostname(cleaned.into()),
        })
    }

    /// Its kind, which is never [`IdentityKind::Auto`].
    #[must_use]
    pub fn kind(&self) -> IdentityKind {
        match self {
            Self::EmployeeId(_) => IdentityKind::EmployeeId,
            Self::Ip(_) => IdentityKind::Ip,
            Self::Email(_) => IdentityKind::Email,
            Self::Username(_) => IdentityKind::Username,
            Self::Hostname(_) => IdentityKind::Hostname,
        }
    }
}

/// Distinct keys, and distinct lists of them.
#[derive(Debug, Default)]
pub(super) struct IdentityKeys {
    pub(super) keys: Vec<IdentityKey>,
    lists: KeyLists,
    key_index: HashTable<u32>,
    list_index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// What was made of values as spelled, so that each is cleaned up once.
    cleaned: [HashMap<Box<str>, CleanedValue>; IdentityKind::ALL.len()],
}

/// What an identity value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CleanedValue {
    /// It holds nothing.
    Nothing,
    /// It is there, but names nobody: it is not of its kind, or is too long.
    Unusable,
    /// The key with this index.
    Key(u32),
}

/// Lists of keys' indices, one after the other.
#[derive(Debug, Default)]
pub(super) struct KeyLists {
    items: Vec<u32>,
    /// Where each list ends in `items`.
    ends: Vec<u32>,
}

impl KeyLists {
    pub(super) fn get(&self, list: usize) -> &[u32] {
        let start = list.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start as usize..self.ends[list] as usize]
    }
}

impl IdentityKeys {
    /// Cleans up a value that is not null, `""` or an array.
    pub(super) fn clean(&mut self, kind: IdentityKind, value: Found<'_>) -> CleanedValue {
        if value.raw.len() > MAX_SPELLED_BYTES {
            return CleanedValue::Unusable;
        }
        if let Some(known) = self.cleaned[kind as usize].get(value.raw) {
            return *known;
        }
        let text = value.text();
        let cleaned = match text.as_deref() {
            Some(text) if crate::mapping::holds_nothing(text) => CleanedValue::Nothing,
            Some(text) => IdentityKey::new(kind, text)
                .map_or(CleanedValue::Unusable, |key| CleanedValue::Key(self.key(key))),
            None => CleanedValue::Unusable,
        };
        self.cleaned[kind as usize].insert(value.raw.into(), cleaned);
        cleaned
    }

    /// The index of a key; adds the key if it is new.
    pub(super) fn key(&mut self, key: IdentityKey) -> u32 {
        let Self { keys, key_index, hasher, .. } = self;
        let entry = key_index.entry(
            hasher.hash_one(&key),
            |&known| keys[known as usize] == key,
            |&known| hasher.hash_one(&keys[known as usize]),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let index = offset(keys.len());
                vacant.insert(index);
                keys.push(key);
                index
            }
        }
    }

    /// The index of a list of keys; adds the list if it is new.
    pub(super) fn list(&mut self, list: &[u32]) -> u32 {
        let Self { lists, list_index, hasher, .. } = self;
        let entry = list_index.entry(
            hasher.hash_one(list),
            |&known| lists.get(known as usize) == list,
            |&known| hasher.hash_one(lists.get(known as usize)),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let index = offset(lists.ends.len());
                vacant.insert(index);
                lists.items.extend_from_slice(list);
                lists.ends.push(offset(lists.items.len()));
                index
            }
        }
    }

    /// The keys and lists, by index.
    pub(super) fn into_lists(self) -> (Vec<IdentityKey>, KeyLists) {
        (self.keys, self.lists)
    }
}
