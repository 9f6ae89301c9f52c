//! The sources: identity tables and incident sources.

mod definition;

use std::ops::{Index, IndexMut};
use std::sync::Arc;

pub use definition::{Definition, Fingerprint, definitions, upstream_settings};

use crate::config::{Config, table_name};

/// Identifies a source.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SourceId {
    /// An identity table, by its index in the order in which tables are looked up.
    Table(usize),
    /// An incident source, by its index in the configured order.
    Incidents(usize),
}

/// The names of all sources, as logs, metrics and `/sources` show them.
#[must_use]
pub fn names(config: &Config) -> PerSource<Arc<str>> {
    let tables = (0..config.identities.len()).map(|index| table_name(index).into());
    PerSource::new(tables, config.sources.iter().map(|source| source.name.as_str().into()))
}

/// A value for each source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PerSource<T> {
    /// Those of the tables, then those of the incident sources.
    values: Vec<T>,
    tables: usize,
}

impl<T> PerSource<T> {
    /// Takes the values of the identity tables, and those of the incident sources, each in the
    /// configured order.
    pub fn new(
        tables: impl IntoIterator<Item = T>,
        incidents: impl IntoIterator<Item = T>,
    ) -> Self {
        let mut values: Vec<T> = tables.into_iter().collect();
        let tables = values.len();
        values.extend(incidents);
        Self { values, tables }
    }

    /// The values, the tables' first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The values of the identity tables, in the configured order.
    #[must_use]
    pub fn tables(&self) -> &[T] {
        &self.values[..self.tables]
    }

    /// The values of the incident sources, in the configured order.
    #[must_use]
    pub fn incidents(&self) -> &[T] {
        &self.values[self.tables..]
    }

    /// The index of a source in a list that has the tables first, then the incident sources.
    #[must_use]
    pub const fn position(&self, source: SourceId) -> usize {
        match source {
            SourceId::Table(index) => index,
            SourceId::Incidents(index) => self.tables + index,
        }
    }

    /// The values, the tables' first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The values, mutably.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }

    /// All sources, the tables first.
    pub fn ids(&self) -> impl Iterator<Item = SourceId> + use<T> {
        let incidents = self.values.len() - self.tables;
        (0..self.tables).map(SourceId::Table).chain((0..incidents).map(SourceId::Incidents))
    }

    /// Each source with its value, the tables first.
    pub fn entries(&self) -> impl Iterator<Item = (SourceId, &T)> {
        self.ids().zip(&self.values)
    }

    /// Applies `value` to each source and its value.
    #[must_use]
    pub fn map<U>(&self, mut value: impl FnMut(SourceId, &T) -> U) -> PerSource<U> {
        let values = self.entries().map(|(id, old)| value(id, old)).collect();
        PerSource { values, tables: self.tables }
    }

    /// Applies `value` to each value.
    pub fn map_into<U>(self, value: impl FnMut(T) -> U) -> PerSource<U> {
        PerSource { values: self.values.into_iter().map(value).collect(), tables: self.tables }
    }

    /// How many sources there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the configuration has at least one source")]
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

impl<T> Index<SourceId> for PerSource<T> {
    type Output = T;

    fn index(&self, source: SourceId) -> &T {
        &self.values[self.position(source)]
    }
}

impl<T> IndexMut<SourceId> for PerSource<T> {
    fn index_mut(&mut self, source: SourceId) -> &mut T {
        let position = self.position(source);
        &mut self.values[position]
    }
}

impl<T> IntoIterator for PerSource<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a PerSource<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut PerSource<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::{PerSource, SourceId};

    #[test]
    fn every_source_finds_its_value() {
        let names = PerSource::new(["identities"], ["denial", "probing"]);
        assert_eq!(names[SourceId::Table(0)], "identities");
        assert_eq!(names[SourceId::Incidents(1)], "probing");
        assert_eq!(
            (names.tables(), names.incidents()),
            (&names.as_slice()[..1], &names.as_slice()[1..])
        );
        let lengths = names.map(|id, name| (names.position(id), name.len()));
        assert_eq!(lengths.as_slice(), [(0, 10), (1, 6), (2, 7)]);
        for (id, name) in names.entries() {
            assert_eq!(names[id], *name);
        }
    }
}
