//! A key of the issuer.

/// A key of the issuer, which verifies signatures.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Key {}
