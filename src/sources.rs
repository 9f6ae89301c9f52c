//! The sources: the identity table and the incident sources.

use std::ops::{Index, IndexMut};

/// Identifies a source.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SourceId {
    /// The identity table.
    Identities,
    /// An incident source, by its index in the configured order.
    Incidents(usize),
}

impl SourceId {
    /// The index in a list that has the identities first, then the incident sources.
    #[must_use]
    pub const fn position(self) -> usize {
        match self {
            Self::Identities => 0,
            Self::Incidents(index) => index + 1,
        }
    }

    const fn from_position(position: usize) -> Self {
        match position {
            0 => Self::Identities,
            _ => Self::Incidents(position - 1),
        }
    }
}

/// A value for each source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PerSource<T> {
    /// Indexed by [`SourceId::position`].
    values: Vec<T>,
}

impl<T> PerSource<T> {
    /// Takes the value of the identities, and those of the incident sources in the configured
    /// order.
    pub fn new(identities: T, incidents: impl IntoIterator<Item = T>) -> Self {
        Self { values: std::iter::once(identities).chain(incidents).collect() }
    }

    /// The values, the identities' first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The values of the incident sources, in the configured order.
    #[must_use]
    pub fn incidents(&self) -> &[T] {
        &self.values[1..]
    }

    /// The values, the identities' first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The values, mutably.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }

    /// All sources, the identities first.
    pub fn ids(&self) -> impl Iterator<Item = SourceId> + use<T> {
        (0..self.values.len()).map(SourceId::from_position)
    }

    /// Each source with its value, the identities first.
    pub fn entries(&self) -> impl Iterator<Item = (SourceId, &T)> {
        self.ids().zip(&self.values)
    }

    /// Applies `value` to each source and its value.
    #[must_use]
    pub fn map<U>(&self, mut value: impl FnMut(SourceId, &T) -> U) -> PerSource<U> {
        PerSource { values: self.entries().map(|(id, old)| value(id, old)).collect() }
    }

    /// How many sources there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the identities are always there")]
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

impl<T> Index<SourceId> for PerSource<T> {
    type Output = T;

    fn index(&self, source: SourceId) -> &T {
        &self.values[source.position()]
    }
}

impl<T> IndexMut<SourceId> for PerSource<T> {
    fn index_mut(&mut self, source: SourceId) -> &mut T {
        &mut self.values[source.position()]
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
        let names = PerSource::new("identities", ["denial", "probing"]);
        assert_eq!(names[SourceId::Identities], "identities");
        assert_eq!(names[SourceId::Incidents(1)], "probing");
        assert_eq!(names.incidents(), ["denial", "probing"]);
        let lengths = names.map(|id, name| (id.position(), name.len()));
        assert_eq!(lengths.as_slice(), [(0, 10), (1, 6), (2, 7)]);
        for (id, name) in names.entries() {
            assert_eq!(names[id], *name);
        }
    }
}
