//! The keys of a table that are texts.

use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::mapping::IdentityKind;

/// Employees by cleaned e-mail address, user name and host name. All keys are in one text, since a
/// table has hundreds of thousands of them.
#[derive(Debug, Default)]
pub(super) struct TextKeys {
    text: String,
    entries: HashTable<KeyEntry>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct KeyEntry {
    /// The position of the key in the text.
    start: u32,
    length: u16,
    kind: IdentityKind,
    employee: u32,
}

impl KeyEntry {
    fn key(self, text: &str) -> (IdentityKind, &str) {
        (self.kind, &text[self.start as usize..][..self.length.into()])
    }
}

impl TextKeys {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of keys of a kind.
    pub(super) fn count(&self, kind: IdentityKind) -> usize {
        self.entries.iter().filter(|entry| entry.kind == kind).count()
    }

    /// The employee of a key.
    pub(super) fn get(&self, kind: IdentityKind, key: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((kind, key));
        let entry = self.entries.find(hash, |entry| entry.key(&self.text) == (kind, key))?;
        Some(entry.employee)
    }

    /// All keys with their employees, in order.
    pub(super) fn sorted(&self) -> Vec<(IdentityKind, &str, u32)> {
        let mut keys: Vec<_> = self
            .entries
            .iter()
            .map(|entry| {
                let (kind, key) = entry.key(&self.text);
                (kind, key, entry.employee)
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Gives a key to an employee unless another has it; returns who has it then. `None` if the key
    /// does not fit: a text has less than 4 GiB, and a key less than 64 KiB.
    pub(super) fn get_or_insert(
        &mut self,
        kind: IdentityKind,
        key: &str,
        employee: u32,
    ) -> Option<u32> {
        let Self { text, entries, hasher } = self;
        let entry = entries.entry(
            hasher.hash_one((kind, key)),
            |entry| entry.key(text) == (kind, key),
            |entry| hasher.hash_one(entry.key(text)),
        );
        match entry {
            Entry::Occupied(known) => Some(known.get().employee),
            Entry::Vacant(vacant) => {
                let start = u32::try_from(text.len()).ok()?;
                let length = u16::try_from(key.len()).ok()?;
                vacant.insert(KeyEntry { start, length, kind, employee });
                text.push_str(key);
                Some(employee)
            }
        }
    }

    /// Gives back memory that was reserved for more keys.
    pub(super) fn shrink_to_fit(&mut self) {
        let Self { text, entries, hasher } = self;
        text.shrink_to_fit();
        entries.shrink_to_fit(|entry| hasher.hash_one(entry.key(text)));
    }
}
