//! A reference to an incident: a record that has an employee.

use std::cmp::Ordering;

use crate::decode::{Record, Span};

/// An incident in an employee's group: a reference to a record in a source's body. Nearly every
/// record has one, so it is kept to 24 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct IncidentRef {
    /// Seconds since the epoch, finite.
    pub timestamp: f64,
    members: Span,
    record: u32,
    source: u16,
    has_type: bool,
    has_employee_id: bool,
}

const _: () = assert!(size_of::<IncidentRef>() == 24);

impl IncidentRef {
    #[inline]
    pub(super) fn new(record: &Record, index: u32, source: u16) -> Self {
        Self {
            timestamp: record.timestamp(),
            members: record.members_span(),
            record: index,
            source,
            has_type: record.has_type(),
            has_employee_id: record.has_employee_id(),
        }
    }

    /// The order within a group: by time, ties in the order of the sources, then upstream order.
    #[inline]
    pub(super) fn cmp_in_group(&self, other: &Self) -> Ordering {
        let position = |incident: &Self| (incident.source, incident.members.start);
        self.timestamp
            .total_cmp(&other.timestamp)
            .then_with(|| position(self).cmp(&position(other)))
    }

    /// The position of the record's members in its source's body ([`Record::members_span`]).
    #[must_use]
    #[inline]
    pub fn members_span(&self) -> Span {
        self.members
    }

    /// The index of its source, in the configured order.
    #[must_use]
    #[inline]
    pub fn source(&self) -> usize {
        self.source.into()
    }

    /// The index of the record among its source's records.
    #[must_use]
    #[inline]
    pub fn record(&self) -> usize {
        self.record as usize
    }

    /// Whether the record has a member `type` of its own.
    #[must_use]
    #[inline]
    pub fn has_type(&self) -> bool {
        self.has_type
    }

    /// Whether the record has a member `employee_id` of its own.
    #[must_use]
    #[inline]
    pub fn has_employee_id(&self) -> bool {
        self.has_employee_id
    }
}
