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

/// The text of a table's keys would not fit into 4 GiB, or a key into 64 KiB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TextTooLarge;

impl TextKeys {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The employee of a key.
    pub(super) fn get(&self, kind: IdentityKind, key: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((kind, key));
        let entry = self.entries.find(hash, |entry| entry.key(&self.text) == (kind, key))?;
        Some(entry.employee)
    }

    #[expect(dead_code, reason = "tables of rows use it")]
    /// Gives a key to an employee unless another has it; returns who has it then.
    pub(super) fn insert(
        &mut self,
        kind: IdentityKind,
        key: &str,
        employee: u32,
    ) -> Result<u32, TextTooLarge> {
        let Self { text, entries, hasher } = self;
        let entry = entries.entry(
            hasher.hash_one((kind, key)),
            |entry| entry.key(text) == (kind, key),
            |entry| hasher.hash_one(entry.key(text)),
        );
        match entry {
            Entry::Occupied(known) => Ok(known.get().employee),
            Entry::Vacant(vacant) => {
                let start = u32::try_from(text.len()).map_err(|_| TextTooLarge)?;
                let length = u16::try_from(key.len()).map_err(|_| TextTooLarge)?;
                vacant.insert(KeyEntry { start, length, kind, employee });
                text.push_str(key);
                Ok(employee)
            }
        }
    }

    #[expect(dead_code, reason = "tables of rows use it")]
    /// Gives back memory that was reserved for more keys.
    pub(super) fn shrink_to_fit(&mut self) {
        let Self { text, entries, hasher } = self;
        text.shrink_to_fit();
        entries.shrink_to_fit(|entry| hasher.hash_one(entry.key(text)));
    }
}
