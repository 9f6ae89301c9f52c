//! The services behind both listeners: routing, with the [layers](super::layers) around it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::layers::{
    AccessLayer, CatchPanicLayer, ContextLayer, HostLayer, LimitsLayer, RequestLogLayer,
};
use super::openapi::openapi;
use super::problem::Problem;
use super::routes::Route;
use crate::metrics::{self, OPENMETRICS_CONTENT_TYPE};

/// An HTTP service that never fails: errors are responses. Its clones share all state.
pub trait HttpService<B>:
    Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<B, S> HttpService<B> for S
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
}

impl Gateway {
    /// The service of the public listener.
    pub fn public_service<B: Send + 'static>(self: &Arc<Self>) -> impl HttpService<B> + use<B> {
        let gateway = Arc::clone(self);
        ServiceBuilder::new()
            .layer(ContextLayer::new(Route::public))
            .layer(RequestLogLayer::new(Arc::clone(&self.metrics)))
            .layer(CatchPanicLayer)
            .layer(HostLayer::new(self.allowed_hosts.clone()))
            .layer(AccessLayer::new(Arc::clone(&self.access)))
            .layer(LimitsLayer::new(Arc::clone(&self.request_permits)))
            .service(service_fn(move |request| Arc::clone(&gateway).respond(request)))
    }

    /// The service of the admin listener. It has no limits, so that monitoring works under
    /// overload, and neither logs nor counts requests, which come every few seconds.
    pub fn admin_service<B: Send + 'static>(self: &Arc<Self>) -> impl HttpService<B> + use<B> {
        let gateway = Arc::clone(self);
        ServiceBuilder::new()
            .layer(ContextLayer::new(Route::admin))
            .layer(CatchPanicLayer)
            .layer(HostLayer::new(None))
            .layer(AccessLayer::new(self.access.of_admin_listener(self.admin)))
            .service(service_fn(move |request| Arc::clone(&gateway).respond(request)))
    }

    /// The response of [`Self::public_service`] to one request.
    pub async fn answer<B: Send + 'static>(self: Arc<Self>, request: Request<B>) -> Response<Body> {
        let Ok(response) = self.public_service().oneshot(request).await;
        response
    }

    /// Routes a request to its resource.
    fn respond<B>(
        self: Arc<Self>,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        let context = Context::of(&request);
        let (request, _body) = request.into_parts();
        async move {
            if let Some(response) = self.immediate_response(&request, &context) {
                return Ok(response);
            }
            // Boxed, because the future is large and each layer moves it.
            Ok(Box::pin(self.resource_response(&request, &context)).await)
        }
    }

    /// The response, if it needs no waiting or rendering: an error or a cached response.
    fn immediate_response(&self, request: &Parts, context: &Context) -> Option<Response<Body>> {
        let route = &context.route;
        if *route == Route::Unknown {
            Some(Problem::NotFound.response(context.id(), &[]))
        } else if request.method != Method::GET && request.method != Method::HEAD {
            Some(Problem::MethodNotAllowed.response(context.id(), &[]))
        } else {
            self.cached_response(route, request, context)
        }
    }

    async fn resource_response(&self, request: &Parts, context: &Context) -> Response<Body> {
        match &context.route {
            Route::Incidents => self.incidents(request, context).await,
            Route::Employee(id) => self.employee(id, request, context).await,
            Route::Unattributed => self.unattributed(request, context).await,
            Route::Summary => self.summary(request, context).await,
            Route::History => self.history(request, context).await,
            Route::HistorySummary => self.history_summary(request, context).await,
            Route::Sources => self.sources(context),
            Route::Events => self.events(request, context),
            Route::OpenApi => openapi(request, context),
            Route::Page => self.overview_page(request, context).await,
            Route::EmployeePage(id) => self.employee_page(id, request, context).await,
            Route::Asset(name) => Self::asset(name, request, context),
            Route::Healthz => text("text/plain; charset=utf-8", "ok"),
            Route::Readyz => self.readiness(context),
            Route::Metrics => text(OPENMETRICS_CONTENT_TYPE, metrics::encode(&self.registry)),
            Route::Unknown => Problem::NotFound.response(context.id(), &[]),
        }
    }

    /// `GET /readyz`
    fn readiness(&self, context: &Context) -> Response<Body> {
        if self.is_draining() {
            Problem::Draining.response(context.id(), &[])
        } else if self.snapshot().has_had_data() {
            text("text/plain; charset=utf-8", "ready")
        } else {
            Problem::NotReady.response(context.id(), &[])
        }
    }
}

fn text(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
