//! The decoded data of a source.

use std::sync::Arc;

use crate::decode::Incidents;
use crate::identity::IdentityTable;

/// A source's whole answer, decoded. Clones share it.
#[derive(Clone, Debug)]
pub enum Batch {
    /// The identity table.
    Identities(Arc<IdentityTable>),
    /// The records of an incident source.
    Incidents(Arc<Incidents>),
}

impl Batch {
    /// The size in bytes of what it was decoded from.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Identities(identities) => identities.size_bytes(),
            Self::Incidents(incidents) => incidents.body().len(),
        }
    }

    /// Whether both have the same content, byte for byte.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Identities(one), Self::Identities(other)) => one.is_same_as(other),
            (Self::Incidents(one), Self::Incidents(other)) => {
                Arc::ptr_eq(one, other) || one.body() == other.body()
            }
            _ => false,
        }
    }

    /// Whether the source said that there are more records than it sent.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        match self {
            Self::Identities(_) => false,
            Self::Incidents(incidents) => incidents.is_truncated(),
        }
    }

    /// How many records a later copy with the same id replaced.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        match self {
            Self::Identities(_) => 0,
            Self::Incidents(incidents) => incidents.duplicates(),
        }
    }

    /// The priority values that map to nothing, and how many records have each.
    #[must_use]
    pub fn unmapped(&self) -> &[(String, usize)] {
        match self {
            Self::Identities(_) => &[],
            Self::Incidents(incidents) => incidents.unmapped(),
        }
    }

    /// The number of keys that name two employees.
    #[must_use]
    pub fn conflicts(&self) -> usize {
        match self {
            Self::Identities(identities) => identities.conflicts(),
            Self::Incidents(_) => 0,
        }
    }

    /// The number of records: of addresses or rows, for a table.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Identities(identities) => identities.records(),
            Self::Incidents(incidents) => incidents.records().len(),
        }
    }
}
