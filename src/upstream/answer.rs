//! An answer with a complete body whose content is not verified yet.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::UpstreamError;
use super::breaker::BreakerPermit;
use super::call::CallRecord;
use crate::outcome::Outcome;

/// A complete body whose content the caller has to verify.
///
/// Until it is accepted or rejected, the call counts neither for the breaker nor in the metrics. If
/// it is dropped, the call counts as `ok` in the metrics, and not for the breaker.
#[derive(Debug)]
#[must_use = "accept or reject it, so that the breaker and the metrics learn how the call ended"]
pub struct UnverifiedAnswer {
    pub(super) body: Bytes,
    pub(super) record: CallRecord,
    pub(super) permit: BreakerPermit,
}

impl UnverifiedAnswer {
    /// The body, decompressed.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// How long the last attempt took, body included. Excludes earlier attempts and the wait for a
    /// permit.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.record.duration()
    }

    /// How many attempts were made; at least 1.
    #[must_use]
    pub const fn attempts(&self) -> usize {
        self.record.attempts()
    }

    /// Records the call as successful, and returns the body.
    pub fn accept(self) -> Bytes {
        self.permit.succeed();
        self.record.succeed();
        self.body
    }

    /// Records the call as failed with [`Outcome::Decode`], and returns that error. `detail` is for
    /// people, and must quote nothing from the body.
    pub fn reject(self, detail: impl Into<String>) -> UpstreamError {
        self.permit.fail();
        self.record.fail(UpstreamError::new(Outcome::Decode, detail).with_status(StatusCode::OK))
    }
}
