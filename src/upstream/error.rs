//! Why a call to a source failed.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::outcome::Outcome;

/// A failed call. Its text names no secret and quotes nothing that the upstream sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamError {
    /// The kind of failure; never [`Outcome::Ok`].
    pub kind: Outcome,
    /// The status of the answer, if its head was received.
    pub status: Option<StatusCode>,
    /// One sentence for people: what happened and, if there is one, the remedy.
    pub detail: String,
    /// How long to wait, as asked by the upstream or the open circuit.
    pub retry_after: Option<Duration>,
}

impl UpstreamError {
    /// A failure of this kind.
    #[must_use]
    pub fn new(kind: Outcome, detail: impl Into<String>) -> Self {
        Self { kind, status: None, detail: detail.into(), retry_after: None }
    }

    /// Whether the call was not made at all, in order to spare the upstream.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self.kind {
            Outcome::CircuitOpen => true,
            Outcome::RateLimited => self.status.is_none(),
            _ => false,
        }
    }

    /// Sets the status of the answer.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Sets how long to wait before the next call.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for UpstreamError {}
