//! A record of an incident source: its span of the batch's body, and the values that the join
//! needs.

use std::net::Ipv4Addr;

pub use crate::mapping::MAX_ID_BYTES;
use crate::mapping::Priority;

/// Why a record cannot be attributed to an employee, apart from an address that is not in the
/// table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordFault {
    /// It is not a JSON object.
    NotAnObject,
    /// In a plain source none of the identity fields is present, or the first that is present is
    /// neither a number nor a string, or is longer than [`MAX_ID_BYTES`]. In a mapped source no
    /// identity path leads to anything.
    MissingIdentity,
    /// The priority is absent, or maps to none of the four.
    InvalidPriority,
    /// The timestamp is absent, or no time that the source's mapping can read.
    InvalidTimestamp,
}

/// A record: its position in the batch's body, and the values that the join needs.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Seconds since the epoch; NaN when invalid.
    pub(super) timestamp: f64,
    pub(super) start: u32,
    pub(super) length: u32,
    /// The number, the address, or an index of [`IdentityValue`]; `flags` say which.
    pub(super) identity: u32,
    /// 0–3, or [`NO_PRIORITY`].
    pub(super) priority: u8,
    pub(super) flags: u8,
    /// What [`super::unmapped::UnmappedValues::note`] returned for its priority value.
    pub(super) unmapped: u8,
}

pub(super) const NO_PRIORITY: u8 = u8::MAX;
pub(super) const NOT_AN_OBJECT: u8 = 1;
pub(super) const HAS_TYPE: u8 = 2;
pub(super) const HAS_EMPLOYEE_ID: u8 = 4;
pub(super) const IDENTITY: u8 = 8 | 16 | 32;
pub(super) const IDENTITY_NUMBER: u8 = 8;
pub(super) const IDENTITY_V4: u8 = 16;
pub(super) const IDENTITY_OTHER: u8 = 8 | 16;
pub(super) const IDENTITY_KEYS: u8 = 32;

/// A record's identity value. Nearly all are small numbers or IPv4 addresses, which need no text to
/// be compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityValue {
    /// A whole number of up to eight digits without leading zeros, as number or as string.
    Number(u32),
    /// A string that is an IPv4 address.
    V4(Ipv4Addr),
    /// Any other value, by its index in [`super::Incidents::other_identities`].
    Other(usize),
    /// The cleaned-up values of a mapped source's record, as an argument of
    /// [`super::Incidents::key_list`].
    Keys(usize),
}

impl Record {
    /// Seconds since the epoch, finite; NaN when the record's timestamp is invalid.
    #[must_use]
    pub fn timestamp(&self) -> f64 {
        self.timestamp
    }

    /// The record's priority, unless it is invalid.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        Priority::ALL.get(usize::from(self.priority)).copied()
    }

    /// Its identity value, unless it has none.
    #[must_use]
    #[inline]
    pub fn identity(&self) -> Option<IdentityValue> {
        match self.flags & IDENTITY {
            0 => None,
            IDENTITY_NUMBER => Some(IdentityValue::Number(self.identity)),
            IDENTITY_V4 => Some(IdentityValue::V4(Ipv4Addr::from_bits(self.identity))),
            IDENTITY_OTHER => Some(IdentityValue::Other(self.identity as usize)),
            _ => Some(IdentityValue::Keys(self.identity as usize)),
        }
    }

    /// Whether it has a member `type` of its own.
    #[must_use]
    pub fn has_type(&self) -> bool {
        self.flags & HAS_TYPE != 0
    }

    /// Whether it has a member `employee_id` of its own.
    #[must_use]
    pub fn has_employee_id(&self) -> bool {
        self.flags & HAS_EMPLOYEE_ID != 0
    }

    /// Why its identity cannot be looked up. This fault has precedence over [`Self::value_fault`].
    #[must_use]
    pub fn identity_fault(&self) -> Option<RecordFault> {
        if self.flags & NOT_AN_OBJECT != 0 {
            Some(RecordFault::NotAnObject)
        } else if self.flags & IDENTITY == 0 {
            Some(RecordFault::MissingIdentity)
        } else {
            None
        }
    }

    /// What is wrong with its priority or timestamp, by which incidents are grouped and ordered.
    #[must_use]
    pub fn value_fault(&self) -> Option<RecordFault> {
        if self.priority == NO_PRIORITY {
            Some(RecordFault::InvalidPriority)
        } else if self.timestamp.is_nan() {
            Some(RecordFault::InvalidTimestamp)
        } else {
            None
        }
    }

    /// Its position in the batch's body.
    #[must_use]
    #[inline]
    pub fn span(&self) -> Span {
        Span { start: self.start, length: self.length }
    }

    /// The position of its members in the batch's body: everything after the opening brace of the
    /// object, the closing brace included.
    #[must_use]
    #[inline]
    pub fn members_span(&self) -> Span {
        Span { start: self.start + 1, length: self.length - 1 }
    }
}

/// A part of a body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// The offset of its first byte.
    pub start: u32,
    /// How many bytes it has.
    pub length: u32,
}

impl Span {
    /// The bytes of `body` in this span.
    #[must_use]
    #[inline]
    pub fn of(self, body: &[u8]) -> &[u8] {
        &body[self.start as usize..][..self.length as usize]
    }
}
