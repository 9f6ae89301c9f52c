//! What somebody may see.

use std::sync::Arc;

/// What somebody may see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Everything.
    All,
    /// Everything but `/metrics` (`incidents:read`).
    Incidents,
    /// One employee's incidents alone; the text is the employee's id.
    Employee(Arc<str>),
    /// One employee's incidents, and `/metrics` (`incidents:self metrics:read`).
    EmployeeAndMetrics(Arc<str>),
    /// `/metrics` alone.
    Metrics,
    /// Nothing: the caller is known, but may see nothing here.
    Nothing,
}

impl Scope {
    /// The employee whose incidents alone may be seen; `None` if there is no such restriction.
    #[must_use]
    pub fn only_employee(&self) -> Option<&Arc<str>> {
        match self {
            Self::Employee(id) | Self::EmployeeAndMetrics(id) => Some(id),
            Self::All | Self::Incidents | Self::Metrics | Self::Nothing => None,
        }
    }
}
