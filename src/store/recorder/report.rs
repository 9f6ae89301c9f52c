//! What is stored of the status of a source.

use std::time::{Duration, SystemTime};

use crate::snapshot::SourceStatus;
use crate::store::SourceReport;

/// How much two times of one event may differ: they are stored as text, in seconds.
const TIME_TOLERANCE_SECONDS: f64 = 0.001;

impl From<&SourceStatus> for SourceReport {
    fn from(status: &SourceStatus) -> Self {
        Self {
            records: status.records,
            bytes: status.bytes,
            pages: status.pages,
            duplicates: status.duplicates,
            truncated: status.truncated,
            resume: status.resume,
            ..Self::default()
        }
        .with_attempts_of(status)
    }
}

impl SourceReport {
    /// The same report of the data, with the attempts to renew it that the status tells of.
    pub(super) fn with_attempts_of(self, status: &SourceStatus) -> Self {
        let error = status.last_error.as_ref();
        Self {
            consecutive_failures: status.consecutive_failures,
            last_error: error.map(|error| (error.kind.as_str().to_owned(), error.detail.clone())),
            last_attempt: status.last_attempt.map(seconds),
            last_duration: status.last_duration.as_ref().map(Duration::as_secs_f64),
            ..self
        }
    }

    /// Whether it tells something new. The begin of an attempt alone is not worth a write: its end
    /// is written.
    pub(super) fn differs_from(&self, stored: &Self, is_attempt_under_way: bool) -> bool {
        let is_same_time = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() < TIME_TOLERANCE_SECONDS,
            (one, other) => one.is_none() && other.is_none(),
        };
        let are_same_times = is_attempt_under_way
            || is_same_time(self.last_attempt, stored.last_attempt)
                && is_same_time(self.last_duration, stored.last_duration);
        let with_stored_times = Self {
            last_attempt: stored.last_attempt,
            last_duration: stored.last_duration,
            ..self.clone()
        };
        !are_same_times || with_stored_times != *stored
    }
}

/// Seconds since the epoch.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
