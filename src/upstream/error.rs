//! Why a call to a source failed, in the terms that retries, breakers, metrics and people need.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::retry;

/// How a call to a source ended; the `outcome` label of `incident_gateway_upstream_requests_total`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The whole body came.
    Ok,
    /// The deadline passed while connecting, waiting for headers, or reading the body.
    Timeout,
    /// No connection could be made (refused, DNS, TLS).
    Connect,
    /// The status was not 200 (a redirect to another host included).
    Status,
    /// The connection broke while the answer was being read.
    Body,
    /// The body could not be decompressed, or is not of the expected shape.
    Decode,
    /// The body is larger than `upstream.max_body`.
    TooLarge,
    /// The circuit breaker refused the call; the upstream did not see it.
    CircuitOpen,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Timeout,
        Self::Connect,
        Self::Status,
        Self::Body,
        Self::Decode,
        Self::TooLarge,
        Self::CircuitOpen,
    ];

    /// The word that metrics, `Incident-Sources` and `/sources` use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Status => "status",
            Self::Body => "body",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed call. Its text names no secret and quotes nothing that the upstream sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamError {
    /// What kind of failure; never [`Outcome::Ok`].
    pub kind: Outcome,
    /// The status of the answer, where its headers came.
    pub status: Option<StatusCode>,
    /// One sentence for people: what happened and, where there is one, the mend.
    pub detail: String,
    /// Whether the same call may well succeed when made again at once.
    pub retryable: bool,
    /// How long the upstream (`Retry-After`) or the open circuit asks to wait.
    pub retry_after: Option<Duration>,
}

impl UpstreamError {
    /// A failure of this kind; whether it is worth a retry follows from the kind.
    #[must_use]
    pub fn new(kind: Outcome, detail: impl Into<String>) -> Self {
        let retryable = retry::worth_it(kind, None);
        Self { kind, status: None, detail: detail.into(), retryable, retry_after: None }
    }

    /// The same failure, of an answer with this status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), retryable: retry::worth_it(self.kind, Some(status)), ..self }
    }

    /// The same failure, with a wish to be left alone for so long.
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
