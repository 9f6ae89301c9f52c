//! The outcome of a call to a source, as metrics, headers and `/sources` name it.

use std::fmt;

/// The outcome of a call to a source; the `outcome` label of
/// `incident_gateway_upstream_requests_total`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The whole body was received and decoded.
    Ok,
    /// The deadline passed while connecting, waiting for headers, or reading the body.
    Timeout,
    /// No connection could be made (refused, DNS, TLS).
    Connect,
    /// The status was not 200 (a redirect to another host included), nor one of the others here.
    Status,
    /// The connection broke while the answer was being read.
    Body,
    /// The body could not be decompressed, or is not of the expected shape.
    Decode,
    /// The body, or all pages or files together, are larger than `max_body` allows.
    TooLarge,
    /// The circuit breaker refused the call; the upstream did not see it.
    CircuitOpen,
    /// The answer reports a failure (`fail_if`), or has no list at the path `records`.
    Answer,
    /// The list has more pages than `max_pages`, or its next page may not be asked for.
    Pages,
    /// The upstream refused the call and named a wait (429 with `Retry-After` or the like), or the
    /// call was not made because of such a wait.
    RateLimited,
    /// No access token could be obtained.
    Auth,
    /// A file is missing, wrong, or cut off.
    File,
}

impl Outcome {
    /// Every outcome, in the order of the discriminants.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Timeout,
        Self::Connect,
        Self::Status,
        Self::Body,
        Self::Decode,
        Self::TooLarge,
        Self::CircuitOpen,
        Self::Answer,
        Self::Pages,
        Self::RateLimited,
        Self::Auth,
        Self::File,
    ];

    /// The name in metrics, `Incident-Sources` and `/sources`.
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
            Self::Answer => "answer",
            Self::Pages => "pages",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::File => "file",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn all_lists_every_outcome_at_its_discriminant() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
