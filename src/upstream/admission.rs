//! Admits the calls to an upstream: after the wait that it asked for, at its rate, and no more at
//! once than its limit.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};

use super::call::{Attempt, RecordedAnswer};
use super::limit::{Limiter, Permit};
use super::metrics::SourceMetrics;
use super::rate::{RateLimiter, Turn};
use super::wait::RateLimitWait;
use super::{UpstreamError, call};
use crate::outcome::Outcome;

/// What admits the calls of all sources of an upstream.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) wait: RateLimitWait,
    pub(super) rate: Option<Arc<RateLimiter>>,
    pub(super) limiter: Arc<Limiter>,
}

impl Admission {
    /// Waits until a call may be sent, which must then happen at once.
    ///
    /// A call waits for its turn before it waits for a permit, so that no call holds a permit while
    /// it waits for its turn. It uses the turn only once it has the permit, so that calls that
    /// waited for permits are not sent in a burst.
    async fn admit(&self, attempt: &Attempt) -> Result<Permit, UpstreamError> {
        loop {
            self.wait.end(Instant::now() + attempt.context.max_wait).await?;
            let turn = match &self.rate {
                Some(rate) => Some(rate.turn().await),
                None => None,
            };
            let permit = self.limiter.acquire(attempt.source).await;
            // Another call may have been told to wait meanwhile.
            if self.wait.until().is_none() && turn.is_none_or(Turn::take) {
                return Ok(permit);
            }
        }
    }
}

/// Makes calls when they are admitted. A call waits inside `call`, not in `poll_ready`, so that a
/// retry holds no permit while it backs off.
#[derive(Clone, Debug)]
pub(super) struct AdmissionService<S> {
    pub(super) inner: S,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: SourceMetrics,
}

impl<S> Service<Attempt> for AdmissionService<S>
where
    S: Service<Attempt, Response = RecordedAnswer, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = RecordedAnswer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, call::Result>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let Self { inner, admission, metrics } = self.clone();
        Box::pin(async move {
            let mut permit = admission
                .admit(&attempt)
                .await
                .inspect_err(|_| metrics.record_not_made(Outcome::RateLimited))?;
            let is_probe = attempt.is_probe;
            let result = inner.oneshot(attempt).await;
            // Before the permit is released, so that no other call slips through.
            if let Err(error) = &result {
                admission.wait.note(error);
            }
            permit.observe(&result, is_probe);
            result
        })
    }
}
