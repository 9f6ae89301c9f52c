//! Turns a panic into a 500 `internal` response, so that it affects no other request.
//!
//! Catching panics is sound because shared state stays consistent: snapshots are immutable, and no
//! operation of the cache or the metrics can be interrupted half-way by a panic.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::problem::Problem;

#[derive(Clone, Copy)]
pub(in crate::http) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct CatchPanic<S> {
    inner: S,
}

impl<B, S> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = Context::of(&request);
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok();
        CatchPanicFuture { inner, context }
    }
}

pin_project! {
    pub(in crate::http) struct CatchPanicFuture<F> {
        // `None` once the inner service has panicked.
        #[pin]
        inner: Option<F>,
        context: Arc<Context>,
    }
}

impl<F> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this
            .inner
            .as_pin_mut()
            .and_then(|inner| catch_unwind(AssertUnwindSafe(|| inner.poll(context))).ok());
        polled
            .unwrap_or_else(|| Poll::Ready(Ok(Problem::Internal.response(this.context.id(), &[]))))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tower::{ServiceExt as _, service_fn};

    use super::super::testing::get;
    use super::*;

    #[tokio::test]
    async fn a_panic_while_a_response_is_awaited_is_answered_500() {
        let panics = service_fn(async |_: Request<()>| -> Result<Response<Body>, Infallible> {
            tokio::task::yield_now().await;
            panic!("in poll")
        });
        let Ok(response) = CatchPanicLayer.layer(panics).oneshot(get("/")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn a_panic_in_the_call_itself_is_answered_500() {
        let panics = service_fn(|request: Request<()>| {
            assert_ne!(request.uri(), "/", "in call");
            std::future::ready(Ok(Response::new(Body::empty())))
        });
        let Ok(response) = CatchPanicLayer.layer(panics).oneshot(get("/")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let Ok(response) = CatchPanicLayer.layer(panics).oneshot(get("/incidents")).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}
