//! When a failed call is made again, and after how long.

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

/// The first wait is drawn from zero to this, the next from twice as much, and so on.
const BASE: Duration = Duration::from_millis(500);

/// No backoff is longer. An upstream that asks for more is left alone: the caller is told, and
/// decides.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Retries per first call, over the last minute and over all sources: one in four. Eight calls a
/// refresh earn two.
const SHARE: f32 = 0.25;

/// Whether the same call may well succeed when made again at once.
#[expect(clippy::match_same_arms, reason = "each kind has a reason of its own")]
fn is_retryable(error: &UpstreamError) -> bool {
    match error.kind {
        // A refused connection is how a restart or a full accept queue looks from outside; both
        // pass.
        Outcome::Connect => true,
        // A broken connection says nothing of the next one, least of all a pooled one that had
        // grown stale.
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

/// What all sources of one upstream may spend on retries together: a share of the calls of the last
/// minute, no reserve.
#[derive(Debug)]
pub(super) struct RetryBudget(TpsBudget);

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self(TpsBudget::new(Duration::from_mins(1), 0, SHARE))
    }

    /// A first call is about to be made; it earns its share of a retry.
    pub(super) fn deposit(&self) {
        self.0.deposit();
    }

    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

/// One source's retries: exponential backoff with full jitter, `Retry-After` obeyed, as far as the
/// budget goes.
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
    fn wait(&self, attempt: usize, asked: Option<Duration>) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = BASE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST);
        let jitter = most.mul_f64(super::lock(&self.jitter).f64());
        // The jitter comes on top of what was asked for, lest all the callers who were told the
        // same return as one.
        asked.unwrap_or_default() + jitter
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
        let asked_too_much = error.retry_after.is_some_and(|asked| asked > LONGEST);
        if !is_retryable(error) || asked_too_much || attempt.number > self.retries {
            return None;
        }
        // The breaker would refuse it, and the caller would learn less than what it knows now.
        if self.breaker.state() != BreakerState::Closed || !self.budget.withdraw() {
            return None;
        }
        let wait = self.wait(attempt.number, error.retry_after);
        attempt.context.on_retry.notify(error);
        attempt.number += 1;
        self.metrics.record_retry();
        tracing::debug!(
            source = &*self.source,
            attempt = attempt.number,
            wait_seconds = wait.as_secs_f64(),
            "upstream call will be made again"
        );
        Some(sleep(wait))
    }

    fn clone_request(&mut self, attempt: &Attempt) -> Option<Attempt> {
        Some(attempt.clone())
    }
}

#[cfg(test)]
mod tests;
