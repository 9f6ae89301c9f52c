//! The members of an incident record that have a meaning for the gateway.

/// The fields of a source's records that may name the employee, in order of precedence.
#[derive(Clone, Debug)]
pub struct SourceFields {
    identity: Box<[String]>,
}

impl SourceFields {
    /// `identity` are the configured field names, which are compared with unescaped member names.
    #[must_use]
    pub fn new(identity: &[String]) -> Self {
        Self { identity: identity.into() }
    }

    /// What a member of this name (unescaped) is to the gateway.
    pub(super) fn role(&self, name: &str) -> MemberRole {
        let rank = self.identity.iter().position(|field| field == name);
        MemberRole { fixed: Member::from_name(name), identity_rank: rank }
    }
}

/// A member of a record that the gateway reads or writes itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Member {
    /// `priority`
    Priority,
    /// `timestamp`
    Timestamp,
    /// `type`, which the gateway puts first in every record
    Type,
    /// `employee_id`, which the gateway puts second in NDJSON
    EmployeeId,
}

impl Member {
    /// The member with this (unescaped) name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "priority" => Some(Self::Priority),
            "timestamp" => Some(Self::Timestamp),
            "type" => Some(Self::Type),
            "employee_id" => Some(Self::EmployeeId),
            _ => None,
        }
    }
}

/// What a member of a record is to the gateway. One name may have both roles.
#[derive(Clone, Copy, Default)]
pub(super) struct MemberRole {
    pub(super) fixed: Option<Member>,
    /// Its precedence among the source's identity fields; 0 is the highest.
    pub(super) identity_rank: Option<usize>,
}
