//! Records that no employee could be found for, and why.

use crate::decode::RecordFault;
use crate::identity::UnresolvedIdentity;

/// Why a record is unattributed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// Its address is in no identity table.
    UnknownIp,
    /// Its identities are in no identity table.
    UnknownIdentity,
    /// It may be in an identity table that is missing.
    IdentitiesUnavailable,
    /// It has no identity.
    MissingIdentity,
    /// Its priority is absent, or maps to none of the four.
    InvalidPriority,
    /// Its timestamp is absent, or no time that the source's mapping can read.
    InvalidTimestamp,
    /// It is not a JSON object.
    NotAnObject,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::UnknownIp,
        Self::UnknownIdentity,
        Self::IdentitiesUnavailable,
        Self::MissingIdentity,
        Self::InvalidPriority,
        Self::InvalidTimestamp,
        Self::NotAnObject,
    ];

    /// Its name in `/unattributed` and the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIp => "unknown_ip",
            Self::UnknownIdentity => "unknown_identity",
            Self::IdentitiesUnavailable => "identities_unavailable",
            Self::MissingIdentity => "missing_identity",
            Self::InvalidPriority => "invalid_priority",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::NotAnObject => "not_an_object",
        }
    }
}

impl From<RecordFault> for Reason {
    fn from(fault: RecordFault) -> Self {
        match fault {
            RecordFault::NotAnObject => Self::NotAnObject,
            RecordFault::MissingIdentity => Self::MissingIdentity,
            RecordFault::InvalidPriority => Self::InvalidPriority,
            RecordFault::InvalidTimestamp => Self::InvalidTimestamp,
        }
    }
}

impl From<UnresolvedIdentity> for Reason {
    fn from(error: UnresolvedIdentity) -> Self {
        match error {
            UnresolvedIdentity::UnknownIp => Self::UnknownIp,
            UnresolvedIdentity::UnknownIdentity => Self::UnknownIdentity,
            UnresolvedIdentity::TableUnavailable => Self::IdentitiesUnavailable,
            UnresolvedIdentity::NotAnIdentity => Self::MissingIdentity,
        }
    }
}

/// A record without an employee.
#[derive(Clone, Copy, Debug)]
pub struct Unattributed {
    pub(super) record: u32,
    pub(super) source: u16,
    /// Why it has none.
    pub reason: Reason,
}

impl Unattributed {
    /// The index of its source, in the configured order.
    #[must_use]
    pub fn source(&self) -> usize {
        self.source.into()
    }

    /// Its index among the source's records.
    #[must_use]
    pub fn record(&self) -> usize {
        self.record as usize
    }
}
