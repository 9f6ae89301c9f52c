//! Which source: the identity table, or one of the incident sources.

use std::ops::{Index, IndexMut};

/// A source that is fetched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SourceId {
    /// The identity table.
    Identities,
    /// An incident source, by its place in the configured order.
    Incidents(usize),
}

impl SourceId {
    /// The place in a list that holds the identities first, then the incident sources.
    #[must_use]
    pub const fn position(self) -> usize {
        match self {
            Self::Identities => 0,
            Self::Incidents(index) => index + 1,
        }
    }

    const fn at(position: usize) -> Self {
        match position {
            0 => Self::Identities,
            _ => Self::Incidents(position - 1),
        }
    }
}

/// A value for each source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PerSource<T> {
    /// At each source's [`SourceId::position`].
    values: Vec<T>,
}

impl<T> PerSource<T> {
    /// The value of the identities, and those of the incident sources in the configured order.
    pub fn new(identities: T, incidents: impl IntoIterator<Item = T>) -> Self {
        Self { values: std::iter::once(identities).chain(incidents).collect() }
    }

    /// The values, that of the identities first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The values of the incident sources, in the configured order.
    #[must_use]
    pub fn incidents(&self) -> &[T] {
        &self.values[1..]
    }

    /// The values, that of the identities first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }

    /// All sources, the identities first.
    pub fn ids(&self) -> impl Iterator<Item = SourceId> + use<T> {
        (0..self.values.len()).map(SourceId::at)
    }

    /// Each source with its value, the identities first.
    pub fn entries(&self) -> impl Iterator<Item = (SourceId, &T)> {
        self.ids().zip(&self.values)
    }

    /// Another value for each source.
    #[must_use]
    pub fn map<U>(&self, mut value: impl FnMut(SourceId, &T) -> U) -> PerSource<U> {
        PerSource { values: self.entries().map(|(id, old)| value(id, old)).collect() }
    }

    /// How many sources there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there are always identities")]
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
