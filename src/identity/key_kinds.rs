//! The kinds of keys by which identity tables are looked up.

use crate::config;
use crate::mapping::IdentityKind;

/// A set of identity kinds: those by which a table can be looked up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyKinds(u8);

impl KeyKinds {
    /// The kinds of a table that is one object of addresses.
    pub const ADDRESSES: Self = Self(1 << IdentityKind::Ip as u8);

    /// The kinds of a configured table. They are known before the table has data.
    #[must_use]
    pub fn of(table: &config::Table) -> Self {
        match &table.rows {
            Some(rows) => rows.keys.iter().map(|(kind, _)| *kind).collect(),
            None => Self::ADDRESSES,
        }
    }

    /// Whether a kind is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, kind: IdentityKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<IdentityKind> for KeyKinds {
    fn from_iter<I: IntoIterator<Item = IdentityKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}
