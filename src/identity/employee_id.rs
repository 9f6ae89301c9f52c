//! Interned employee ids: each is stored once and referred to by its index.

use std::fmt;
use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable, hash_map};

use crate::decode::{offset, small_number};

/// An employee's id. Nearly all are small numbers, which need no text to be compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmployeeId {
    /// A whole number of up to eight digits without leading zeros, as number or as string.
    Number(u32),
    /// Any other id.
    Text(Box<str>),
}

impl fmt::Display for EmployeeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Distinct employee ids, in the order of their first occurrence.
#[derive(Debug, Default)]
pub struct EmployeeIds {
    list: Vec<EmployeeId>,
    numbers: HashMap<u32, u32>,
    /// Indices in `list`, by the hash of the text.
    texts: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl EmployeeIds {
    /// The number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All ids; their position is their index.
    #[must_use]
    pub fn list(&self) -> &[EmployeeId] {
        &self.list
    }

    /// The index of an id that is a small number.
    #[must_use]
    #[inline]
    pub fn find_number(&self, number: u32) -> Option<u32> {
        self.numbers.get(&number).copied()
    }

    /// The index of any id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<u32> {
        if let Some(number) = small_number(id.as_bytes()) {
            return self.find_number(number);
        }
        self.texts.find(self.hasher.hash_one(id), |&known| is_text(&self.list, known, id)).copied()
    }

    /// The index of an id that is a small number; adds the id if it is new.
    #[inline]
    pub fn intern_number(&mut self, number: u32) -> u32 {
        match self.numbers.entry(number) {
            hash_map::Entry::Occupied(known) => *known.get(),
            hash_map::Entry::Vacant(vacant) => {
                self.list.push(EmployeeId::Number(number));
                *vacant.insert(offset(self.list.len() - 1))
            }
        }
    }

    /// The index of any id; adds the id if it is new.
    pub fn intern(&mut self, id: &str) -> u32 {
        if let Some(number) = small_number(id.as_bytes()) {
            return self.intern_number(number);
        }
        let Self { list, texts, hasher, .. } = self;
        let rehash = |&known: &u32| match &list[known as usize] {
            EmployeeId::Text(text) => hasher.hash_one(&**text),
            EmployeeId::Number(_) => unreachable!("numbers are not among the texts"),
        };
        match texts.entry(hasher.hash_one(id), |&known| is_text(list, known, id), rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let index = offset(list.len());
                vacant.insert(index);
                list.push(EmployeeId::Text(id.into()));
                index
            }
        }
    }
}

fn is_text(list: &[EmployeeId], index: u32, id: &str) -> bool {
    matches!(&list[index as usize], EmployeeId::Text(text) if **text == *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_index_as_number_and_as_text() {
        let mut ids = EmployeeIds::default();
        assert_eq!(
            [ids.intern_number(7), ids.intern("007"), ids.intern("7"), ids.intern("x")],
            [0, 1, 0, 2]
        );
        assert_eq!(
            [ids.intern("12345678"), ids.intern_number(12_345_678), ids.intern("123456789")],
            [3, 3, 4]
        );
        assert_eq!(
            [
                ids.intern("+7"),
                ids.intern("-7"),
                ids.intern(""),
                ids.intern("0"),
                ids.intern_number(0)
            ],
            [5, 6, 7, 8, 8]
        );
        assert_eq!(
            (ids.find("7"), ids.find_number(8), ids.find("x"), ids.find("y")),
            (Some(0), None, Some(2), None)
        );
        let spelled: Vec<_> = ids.list().iter().map(ToString::to_string).collect();
        assert_eq!(spelled, ["7", "007", "x", "12345678", "123456789", "+7", "-7", "", "0"]);
        let many: Vec<_> = (0..100).map(|text| ids.intern(&format!("id {text}"))).collect();
        assert!((0..100).all(|text| ids.find(&format!("id {text}")) == Some(many[text])));
    }
}
