//! Logs each response and counts it in the metrics.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use http::{Method, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::access;
use crate::http::body::Body;
use crate::http::connection::ConnectionHandle;
use crate::http::context::Context;
use crate::http::metrics::HttpMetrics;

#[derive(Clone)]
pub(in crate::http) struct RequestLogLayer {
    metrics: Arc<HttpMetrics>,
}

impl RequestLogLayer {
    pub(in crate::http) fn new(metrics: Arc<HttpMetrics>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for RequestLogLayer {
    type Service = RequestLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestLog { metrics: Arc::clone(&self.metrics), inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct RequestLog<S> {
    metrics: Arc<HttpMetrics>,
    inner: S,
}

impl<B, S> Service<Request<B>> for RequestLog<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RequestLogFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RequestLogFuture {
            metrics: Arc::clone(&self.metrics),
            context: Context::of(&request),
            client: request.extensions().get::<ConnectionHandle>().map(ConnectionHandle::peer_ip),
            method: request.method().clone(),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    pub(in crate::http) struct RequestLogFuture<F> {
        metrics: Arc<HttpMetrics>,
        context: Arc<Context>,
        client: Option<IpAddr>,
        method: Method,
        #[pin]
        inner: F,
    }
}

impl<F> Future for RequestLogFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(context));
        let context = this.context;
        let (route, status, took) = (&context.route, response.status(), context.started.elapsed());
        let method = method_label(this.method);
        this.metrics.record_request(route.label(), method, status.as_u16(), took);
        // Probes come every few seconds; while they succeed, their lines would only be noise.
        if !(route.is_probe() && status == StatusCode::OK) {
            let grant = context.grant();
            // Who signs in is told by name. Whose sign-in fails can only be found by address.
            let has_failed =
                matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
            let client = this.client.filter(|_| has_failed);
            tracing::info!(
                // A field costs less than a message, which is formatted.
                message = "request",
                request_id = context.id(),
                trace_id = context.trace_id(),
                method = this.method.as_str(),
                route = route.label(),
                status = status.as_u16(),
                bytes = response.body().length(),
                client = client.map(tracing::field::display),
                principal = grant.and_then(|grant| grant.principal.as_deref()),
                auth = grant.and_then(|grant| grant.method()).map(access::Method::as_str),
                duration_ms = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) as f64 / 1e6,
            );
        }
        Poll::Ready(Ok(response))
    }
}

/// A method's label in the metrics. Non-standard methods share one, so that callers cannot create
/// an unbounded number of series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt as _, service_fn};

    use super::super::testing::get;
    use super::*;
    use crate::metrics;

    #[tokio::test]
    async fn each_response_counts_by_route_method_and_status() {
        let mut registry = metrics::registry();
        let layer = RequestLogLayer::new(Arc::new(HttpMetrics::register(&mut registry)));
        let service = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Body::full("hello")))
        }));
        let mut request = get("/incidents/7");
        *request.method_mut() = Method::from_bytes(b"BREW").unwrap();
        for request in [get("/incidents/7"), get("/healthz"), request] {
            let Ok(response) = service.clone().oneshot(request).await;
            assert_eq!(response.status(), StatusCode::OK);
        }
        let page = metrics::encode(&registry);
        for labels in [
            r#"route="/incidents/{employee_id}",method="GET",status="200""#,
            r#"route="/incidents/{employee_id}",method="other",status="200""#,
            r#"route="/healthz",method="GET",status="200""#,
        ] {
            let series = format!("incident_gateway_http_requests_total{{{labels}}} 1\n");
            assert!(page.contains(&series), "{series} in {page}");
        }
    }
}
