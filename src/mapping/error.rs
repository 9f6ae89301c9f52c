//! Why a mapping cannot work.

use std::fmt;

/// Why a mapping cannot work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MappingError {
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl MappingError {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for MappingError {}
