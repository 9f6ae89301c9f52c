//! Priorities, and how values of a source's records map to them.

use crate::mapping::Paths;

/// How urgent an incident is, in the order in which the document lists them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl Priority {
    /// Every priority, in order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in records and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The priority with this name; names are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name)
    }
}

/// How a record's priority is found (`priority` of a mapped source).
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityMapping {
    /// The paths to the value; none means that every record has the default.
    pub at: Paths,
    /// What the value means, beside the four names.
    pub rule: PriorityRule,
    /// The priority of records whose value is absent or maps to nothing.
    pub default: Option<Priority>,
}

/// What a value means, beside the four names of priorities, which always mean themselves.
#[derive(Clone, Debug, PartialEq)]
pub enum PriorityRule {
    /// Nothing.
    Names,
    /// These values (`values`), compared without regard to case; looked up before the four names.
    Values(Vec<(String, Priority)>),
    /// Numbers at least as great as these (`at_least`), ascending.
    AtLeast(Vec<(f64, Priority)>),
}
