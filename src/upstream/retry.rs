//! Whether a failed call is made again, and after how long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Sleep, sleep};
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::UpstreamError;
use super::breaker::{Breaker, BreakerState};
use super::call::Attempt;
use super::metrics::SourceMetrics;
use crate::outcome::Outcome;

/// The first backoff is drawn from zero to this, the next from zero to twice as much, and so on.
const FIRST_MAX_BACKOFF: Duration = Duration::from_millis(500);

/// No backoff is longer. If the upstream asks for a longer one, the call fails and the caller
/// decides when to call again.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Retries per first attempt, over the last minute and over all sources. The eight calls of a
/// refresh deposit two retries.
const RETRIES_PER_CALL: f32 = 0.25;

/// Whether the same call may well succeed when it is made again soon.
#[expect(clippy::match_same_arms, reason = "each kind has a reason of its own")]
fn is_retryable(error: &UpstreamError) -> bool {
    match error.kind {
        // A refused connection is how a restart or a full accept queue looks from outside; both
        // pass.
        Outcome::Connect => true,
        // A broken connection says nothing about the next one.
        Outcome::Body => true,
        // The upstream hangs at times; the next call is often answered.
        Outcome::Timeout => true,
        Outcome::Status => error.status.is_some_and(|status| {
            matches!(
                status,
                // Pushed back for now; `Retry-After` or the backoff gives it the time it asks for.
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                // A proxy in front of an upstream that restarts or hangs.
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT
                // This upstream fails at random. Any other status is a statement that a second call
                // would only repeat.
                | StatusCode::INTERNAL_SERVER_ERROR
            )
        }),
        // The same bytes would come again, at full price.
        Outcome::Decode | Outcome::TooLarge => false,
        // Refused so that the upstream is left alone.
        Outcome::CircuitOpen => false,
        Outcome::Ok => false,
    }
}

/// The retries that all sources of an upstream may make together: a share of the calls of the last
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
        let most =
            FIRST_MAX_BACKOFF.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_BACKOFF);
        let jitter = most.mul_f64(super::lock(&self.jitter).f64());
        // The jitter comes on top of `Retry-After`, so that callers who were given the same one do
        // not return at once.
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
        let must_wait_longer = error.retry_after.is_some_and(|wait| wait > MAX_BACKOFF);
        if !is_retryable(error) || must_wait_longer || attempt.number > self.retries {
            return None;
        }
        // An open circuit would refuse the retry, and hide the present error from the caller.
        if self.breaker.state() != BreakerState::Closed || !self.budget.withdraw() {
            return None;
        }
        let backoff = self.backoff(attempt.number, error.retry_after);
        attempt.context.on_retry.notify(error);
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
