//! A tower service that makes calls only while a circuit breaker admits them.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tower::{Service, ServiceExt as _};

use super::Breaker;
use crate::outcome::Outcome;
use crate::upstream::answer::UnverifiedAnswer;
use crate::upstream::call::{Attempt, RecordedAnswer};
use crate::upstream::error::UpstreamError;

/// Puts a breaker in front of a service.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct BreakerService<S> {
    pub(in crate::upstream) inner: S,
    pub(in crate::upstream) breaker: Arc<Breaker>,
}

impl<S> Service<Attempt> for BreakerService<S>
where
    S: Service<Attempt, Response = RecordedAnswer, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = UnverifiedAnswer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Self::Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let (inner, breaker) = (self.inner.clone(), Arc::clone(&self.breaker));
        Box::pin(async move {
            let permit = match breaker.admit() {
                Ok(permit) => permit,
                Err(wait) => {
                    breaker.metrics.record_not_made(Outcome::CircuitOpen);
                    let detail = "the circuit is open after repeated failures; the source is left \
                                  alone for now";
                    return Err(UpstreamError::new(Outcome::CircuitOpen, detail)
                        .with_retry_after(Some(wait)));
                }
            };
            attempt.is_probe = permit.is_probe;
            match inner.oneshot(attempt).await {
                Ok(RecordedAnswer { answer, record }) => {
                    Ok(UnverifiedAnswer { answer, record, permit })
                }
                // The upstream is well, or was not called.
                Err(error) if error.kind == Outcome::RateLimited => Err(error),
                Err(error) => {
                    permit.fail();
                    Err(error)
                }
            }
        })
    }
}
