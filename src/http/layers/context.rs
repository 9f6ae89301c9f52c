//! Gives each request its [`Context`], and adds `X-Request-Id` and `traceparent` to the response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};

use crate::http::context::{Context, REQUEST_ID};
use crate::http::routes::Route;
use crate::logging;
use crate::trace_context::TRACEPARENT;

/// The outermost layer.
#[derive(Clone, Copy)]
pub(in crate::http) struct ContextLayer {
    route: fn(&str) -> Route,
}

impl ContextLayer {
    /// `route` maps a path to its route.
    pub(in crate::http) fn new(route: fn(&str) -> Route) -> Self {
        Self { route }
    }
}

impl<S> Layer<S> for ContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService { route: self.route, inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct ContextService<S> {
    route: fn(&str) -> Route,
    inner: S,
}

impl<B, R, S> Service<Request<B>> for ContextService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = ContextFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let route = (self.route)(request.uri().path());
        let context = Arc::new(Context::new(request.headers(), route));
        let span = span(&context);
        request.extensions_mut().insert(Arc::clone(&context));
        let future = span.in_scope(|| self.inner.call(request));
        ContextFuture { inner: future.instrument(span), context }
    }
}

/// The request's span; a disabled one if spans are not exported.
fn span(context: &Context) -> Span {
    if !logging::is_exporting() {
        return Span::none();
    }
    let span =
        tracing::info_span!("request", route = context.route.label(), request_id = context.id());
    logging::join_trace(&span, context.trace.trace_id().as_u128(), context.span);
    span
}

pin_project! {
    pub(in crate::http) struct ContextFuture<F> {
        #[pin]
        inner: Instrumented<F>,
        context: Arc<Context>,
    }
}

impl<F, R> Future for ContextFuture<F>
where
    F: Future<Output = Result<Response<R>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(context));
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, this.context.request_id.clone());
        headers.insert(TRACEPARENT, this.context.traceparent.clone());
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tower::ServiceExt as _;

    use super::*;

    /// The response's headers, and the context that the inner service saw.
    async fn ask(headers: &[(&'static str, &'static str)]) -> (HeaderMap, Arc<Context>) {
        let inner = tower::service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(Response::new(Context::of(&request)))
        });
        let mut request = Request::get("/incidents/7").body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let service = ContextLayer::new(Route::public).layer(inner);
        let Ok(response) = service.oneshot(request).await;
        let (parts, context) = response.into_parts();
        (parts.headers, context)
    }

    #[tokio::test]
    async fn a_request_without_ids_gets_new_ones() {
        let (first, context) = ask(&[]).await;
        assert_eq!(first[REQUEST_ID], context.id());
        assert_eq!(first[TRACEPARENT], context.traceparent);
        assert_eq!(context.route, Route::Employee("7".to_owned()));
        let (second, _) = ask(&[]).await;
        assert_ne!(first[REQUEST_ID], second[REQUEST_ID]);
        assert_ne!(first[TRACEPARENT], second[TRACEPARENT]);
    }

    #[tokio::test]
    async fn the_callers_ids_are_adopted() {
        const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (headers, context) = ask(&[("x-request-id", "the-one"), ("traceparent", TRACE)]).await;
        assert_eq!((context.id(), &headers[REQUEST_ID]), ("the-one", &"the-one".parse().unwrap()));
        assert_eq!(context.trace_id(), &TRACE[3..35]);
        let traceparent = headers[TRACEPARENT].to_str().unwrap();
        assert_eq!(traceparent[..36], TRACE[..36]);
        assert_ne!(traceparent[36..52], TRACE[36..52], "the span is the gateway's own");
    }

    #[tokio::test]
    async fn a_request_id_that_may_not_stand_in_logs_is_replaced() {
        for id in ["", "a b", "a\tb", &"x".repeat(129)] {
            let (headers, _) = ask(&[("x-request-id", id.to_owned().leak())]).await;
            assert_eq!(headers[REQUEST_ID].len(), 32, "{id:?}");
        }
    }
}
