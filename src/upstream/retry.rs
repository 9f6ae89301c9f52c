//! Decides whether and when a failed call is retried.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, Sleep, sleep};
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::UpstreamError;
use super::breaker::{Breaker, BreakerState};
use super::call::Attempt;
use super::metrics::SourceMetrics;
use crate::outcome::Outcome;

/// The longest first backoff; each further one may be twice as long.
const FIRST_MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The longest backoff, unless the upstream asks for more.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How many retries each first attempt deposits in the budget: two for the eight calls of a
/// refresh.
const RETRIES_PER_CALL: f32 = 0.25;

/// Whether the same call is likely to succeed when it is made again soon.
#[expect(clippy::match_same_arms, reason = "each kind has a reason of its own")]
fn is_retryable(error: &UpstreamError) -> bool {
    match error.kind {
        // A restart or a full accept queue refuses connections; both are soon over.
        Outcome::Connect => true,
        // The next connection may well hold.
        Outcome::Body => true,
        // The upstream hangs at times; the next call is often answered.
        Outcome::Timeout => true,
        Outcome::Status => error.status.is_some_and(|status| {
            matches!(
                status,
                // Temporary overload; `Retry-After` or the backoff gives the upstream time.
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                // A proxy in front of an upstream that restarts or hangs.
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT
                // This upstream fails at random. A second call would only repeat any other status.
                | StatusCode::INTERNAL_SERVER_ERROR
            )
        }),
        // Temporary, unless the call was not made: it would be refused again.
        Outcome::RateLimited => error.status.is_some(),
        // The token endpoint is unavailable for a while, or has refused the credentials for good.
        Outcome::Auth => error.status.is_none_or(|status| {
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
        }),
        // A retry would transfer the same body again.
        Outcome::Answer | Outcome::Decode | Outcome::Pages | Outcome::TooLarge => false,
        // The breaker refused the call in order to spare the upstream.
        Outcome::CircuitOpen => false,
        Outcome::File | Outcome::Ok => false,
    }
}

/// Bounds the retries of all sources of an upstream together: a share of the calls of the last
/// minute, without a reserve.
#[derive(Debug)]
pub(super) struct RetryBudget(TpsBudget);

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self(TpsBudget::new(Duration::from_mins(1), 0, RETRIES_PER_CALL))
    }

    /// Deposits a share of a retry, for a first attempt that is about to be made.
    pub(super) fn deposit(&self) {
        self.0.deposit();
    }

    /// Takes a retry out of the budget, if there is one.
    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

/// The retry policy of one source: exponential backoff with full jitter, `Retry-After` obeyed,
/// within the budget.
#[derive(Clone, Debug)]
pub(super) struct RetryPolicy {
    pub(super) source: Arc<str>,
    pub(super) retries: usize,
    pub(super) budget: Arc<RetryBudget>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) jitter: Arc<Mutex<fastrand::Rng>>,
    pub(super) metrics: SourceMetrics,
}

impl RetryPolicy {
    fn backoff(&self, attempt: usize, retry_after: Option<Duration>) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let max_backoff =
            FIRST_MAX_BACKOFF.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_BACKOFF);
        let jitter = max_backoff.mul_f64(super::lock(&self.jitter).f64());
        // The jitter is added to `Retry-After`, so that clients that were given the same one do not
        // return at the same time.
        retry_after.unwrap_or_default() + jitter
    }
}

impl<T> Policy<Attempt, T, UpstreamError> for RetryPolicy {
    type Future = Sleep;

    fn retry(
        &mut self,
        attempt: &mut Attempt,
        result: &mut Result<T, UpstreamError>,
    ) -> Option<Sleep> {
        let Err(error) = result else { return None };
        // The caller decides when to call again.
        let must_wait_longer =
            error.retry_after.is_some_and(|wait| wait > attempt.context.max_wait);
        if !is_retryable(error) || must_wait_longer || attempt.number > self.retries {
            return None;
        }
        // An open circuit would refuse the retry, and its error would replace this one.
        if self.breaker.state() != BreakerState::Closed {
            return None;
        }
        // If a page fails, all earlier pages of the list are asked for again, so a retry at the
        // time that the upstream has named costs it less.
        let is_asked_for = error.retry_after.is_some() && attempt.context.page > 1;
        if !is_asked_for && !self.budget.withdraw() {
            return None;
        }
        let backoff = self.backoff(attempt.number, error.retry_after);
        attempt.context.on_retry.notify(error, Instant::now() + backoff);
        attempt.number += 1;
        self.metrics.record_retry();
        tracing::debug!(
            source = &*self.source,
            attempt = attempt.number,
            backoff_seconds = backoff.as_secs_f64(),
            "upstream call will be made again"
        );
        Some(sleep(backoff))
    }

    fn clone_request(&mut self, attempt: &Attempt) -> Option<Attempt> {
        Some(attempt.clone())
    }
}

#[cfg(test)]
mod tests;
