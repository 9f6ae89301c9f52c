//! Interning of identity values that are neither small numbers nor IPv4 addresses.

use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::offset;
use super::record::Span;
use crate::json::ValueKind;

/// A distinct value: the span of its first occurrence.
#[derive(Clone, Copy, Debug)]
pub(super) struct InternedValue {
    pub(super) span: Span,
    pub(super) kind: ValueKind,
}

/// The distinct values so far. Values are the same if their bytes are.
#[derive(Default)]
pub(super) struct InternedValues {
    list: Vec<InternedValue>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl InternedValues {
    /// The index of the value between `start` and `end` of the body; adds the value if it is new.
    #[inline]
    pub(super) fn intern(&mut self, body: &[u8], kind: ValueKind, start: usize, end: usize) -> u32 {
        let Self { list, index, hasher } = self;
        let bytes_of = |known: u32| list[known as usize].span.of(body);
        let bytes = &body[start..end];
        let hash = hasher.hash_one(bytes);
        let entry = index.entry(
            hash,
            |&known| bytes_of(known) == bytes,
            |&known| hasher.hash_one(bytes_of(known)),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let new = offset(list.len());
                vacant.insert(new);
                list.push(InternedValue {
                    span: Span { start: offset(start), length: offset(end - start) },
                    kind,
                });
                new
            }
        }
    }

    /// The values, by index.
    pub(super) fn into_list(self) -> Vec<InternedValue> {
        self.list
    }
}
