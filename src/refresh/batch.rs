//! The decoded data of a source.

use std::sync::Arc;

use bytes::Bytes;

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
    /// The answer's bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Identities(identities) => identities.body(),
            Self::Incidents(incidents) => incidents.body(),
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

    /// The number of records, or of addresses.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Identities(identities) => identities.len(),
            Self::Incidents(incidents) => incidents.records().len(),
        }
    }
}
