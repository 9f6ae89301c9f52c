//! The numbers that stand for priorities and reasons in every database. They never change, because
//! they are stored.

use crate::decode::Priority;
use crate::join::Reason;

/// The number that stands for a priority.
pub(super) const fn priority_code(priority: Priority) -> i16 {
    priority as i16
}

/// The number that stands for a reason.
pub(super) const fn reason_code(reason: Reason) -> i16 {
    match reason {
        Reason::UnknownIp => 0,
        Reason::UnknownIdentity => 1,
        Reason::IdentitiesUnavailable => 2,
        Reason::MissingIdentity => 3,
        Reason::InvalidPriority => 4,
        Reason::InvalidTimestamp => 5,
        Reason::NotAnObject => 6,
    }
}

/// The priority that a number stands for.
pub(super) fn priority_of(code: i64) -> Option<Priority> {
    Priority::ALL.into_iter().find(|known| i64::from(priority_code(*known)) == code)
}

/// The reason that a number stands for.
pub(super) fn reason_of(code: i64) -> Option<Reason> {
    Reason::ALL.into_iter().find(|known| i64::from(reason_code(*known)) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_never_change_and_are_read_as_they_were_written() {
        assert_eq!(Priority::ALL.map(priority_code), [0, 1, 2, 3]);
        assert_eq!(Reason::ALL.map(reason_code), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!([0, 1, 2, 3].map(priority_of), Priority::ALL.map(Some));
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(reason_of), Reason::ALL.map(Some));
        assert_eq!([-1, 4, i64::MAX].map(priority_of), [None; 3]);
        assert_eq!([-1, 7, i64::MIN].map(reason_of), [None; 3]);
    }
}
