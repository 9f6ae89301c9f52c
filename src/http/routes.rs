//! Which path is answered by what, and what every request has in common: id, trace, limits, log,
//! metrics, panics.

use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tracing::{Instrument as _, Span};

use super::Gateway;
use super::body::Body;
use super::connection::ConnectionHandle;
use super::context::{Context, REQUEST_ID};
use super::host;
use super::openapi::openapi;
use super::problem::Problem;
use crate::logging;
use crate::metrics::{self, OPENMETRICS};
use crate::trace_context::TRACEPARENT;

/// A resource; its label in metrics and logs is its path with parameters by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    Incidents,
    Employee(String),
    Unattributed,
    Summary,
    Sources,
    Events,
    OpenApi,
    Page,
    EmployeePage(String),
    Asset(String),
    Healthz,
    Readyz,
    Metrics,
    Unknown,
}

impl Route {
    pub(super) fn public(path: &str) -> Self {
        match path {
            "/incidents" => Self::Incidents,
            "/unattributed" => Self::Unattributed,
            "/summary" => Self::Summary,
            "/sources" => Self::Sources,
            "/events" => Self::Events,
            "/openapi.json" => Self::OpenApi,
            "/" => Self::Page,
            // The query names the employee.
            "/employees/" => Self::EmployeePage(String::new()),
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ => Self::named(path).unwrap_or(Self::Unknown),
        }
    }

    /// The routes with a parameter: one non-empty segment.
    fn named(path: &str) -> Option<Self> {
        let segment = |prefix: &str| {
            let segment =
                path.strip_prefix(prefix).filter(|name| !name.is_empty() && !name.contains('/'))?;
            Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
        };
        segment("/incidents/")
            .map(Self::Employee)
            .or_else(|| segment("/employees/").map(Self::EmployeePage))
            .or_else(|| segment("/assets/").map(Self::Asset))
    }

    fn admin(path: &str) -> Self {
        match path {
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ => Self::Unknown,
        }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::Incidents => "/incidents",
            Self::Employee(_) => "/incidents/{employee_id}",
            Self::Unattributed => "/unattributed",
            Self::Summary => "/summary",
            Self::Sources => "/sources",
            Self::Events => "/events",
            Self::OpenApi => "/openapi.json",
            Self::Page => "/",
            Self::EmployeePage(_) => "/employees/{employee_id}",
            Self::Asset(_) => "/assets/{name}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Unknown => "other",
        }
    }

    /// The labels of all that the public listener serves.
    #[cfg(test)]
    pub(super) fn public_labels() -> Vec<&'static str> {
        let name = String::new;
        let routes = [
            Self::Incidents,
            Self::Employee(name()),
            Self::Unattributed,
            Self::Summary,
            Self::Sources,
            Self::Events,
            Self::OpenApi,
            Self::Page,
            Self::EmployeePage(name()),
            Self::Asset(name()),
            Self::Healthz,
            Self::Readyz,
        ];
        for route in &routes {
            // Whoever adds a route comes by here, and adds it to the list above.
            match route {
                Self::Incidents
                | Self::Employee(_)
                | Self::Unattributed
                | Self::Summary
                | Self::Sources
                | Self::Events
                | Self::OpenApi
                | Self::Page
                | Self::EmployeePage(_)
                | Self::Asset(_)
                | Self::Healthz
                | Self::Readyz
                | Self::Metrics
                | Self::Unknown => {}
            }
        }
        routes.iter().map(Self::label).collect()
    }

    /// Probes are answered whatever the load, and without a line in the log each.
    const fn is_probe(&self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz | Self::Metrics)
    }
}

impl Gateway {
    /// Answers a request to the public listener: at once where nothing has to be waited for, as is
    /// nearly always so.
    pub fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
    ) -> Either<Ready<Response<Body>>, BoxFuture<'static, Response<Body>>> {
        let (request, _body) = request.into_parts();
        let context = Context::new(&request.headers);
        let route = Route::public(request.uri.path());
        let span = if logging::is_exporting() {
            let span =
                tracing::info_span!("request", route = route.label(), request_id = context.id());
            logging::join_trace(&span, context.trace.trace_id().as_u128(), context.span);
            span
        } else {
            Span::none()
        };
        let in_span = span.enter();
        if let Some(response) = self.without_place(&route, &request, &context) {
            return Either::Left(ready(self.send(response, &route, &request, context)));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let response = Problem::Overloaded.response(context.id(), &[]);
            return Either::Left(ready(self.send(response, &route, &request, context)));
        };
        // A panic ends its own request alone: what requests share is never left half-changed,
        // because snapshots are immutable and the cache's and the metrics' operations are whole.
        let at_once =
            catch_unwind(AssertUnwindSafe(|| self.cached_response(&route, &request, &context)));
        if let Some(response) =
            at_once.unwrap_or_else(|_| Some(Problem::Internal.response(context.id(), &[])))
        {
            let response = response.map(|body| body.holding(place));
            return Either::Left(ready(self.send(response, &route, &request, context)));
        }
        drop(in_span);
        let answering = async move {
            let response =
                AssertUnwindSafe(self.resource(&route, &request, &context)).catch_unwind().await;
            let response =
                response.unwrap_or_else(|_| Problem::Internal.response(context.id(), &[]));
            let response = response.map(|body| body.holding(place));
            self.send(response, &route, &request, context)
        };
        Either::Right(answering.instrument(span).boxed())
    }

    /// The answer to a request that takes no place among those in flight.
    fn without_place(
        &self,
        route: &Route,
        request: &http::request::Parts,
        context: &Context,
    ) -> Option<Response<Body>> {
        if !host::is_lawful(request.version, &request.headers) {
            Some(Problem::InvalidHost.response(context.id(), &[]))
        } else if request.method != Method::GET && request.method != Method::HEAD {
            let problem = if *route == Route::Unknown {
                Problem::NotFound
            } else {
                Problem::MethodNotAllowed
            };
            Some(problem.response(context.id(), &[]))
        } else if route.is_probe() {
            Some(self.probe(route, context))
        } else if is_beyond_limit(request) {
            Some(Problem::Overloaded.response(context.id(), &[]))
        } else if *route == Route::Events {
            // A stream lasts: it has places of its own, and takes none of those for requests.
            Some(self.events(request, context))
        } else {
            None
        }
    }

    /// An answer as it is sent, counted and logged.
    fn send(
        &self,
        mut response: Response<Body>,
        route: &Route,
        request: &http::request::Parts,
        context: Context,
    ) -> Response<Body> {
        self.observe(route, request, &response, &context);
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id);
        headers.insert(TRACEPARENT, context.traceparent);
        if is_beyond_limit(request) || self.is_draining() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn resource(
        &self,
        route: &Route,
        request: &http::request::Parts,
        context: &Context,
    ) -> Response<Body> {
        match route {
            Route::Incidents => self.incidents(request, context).await,
            Route::Employee(id) => self.employee(id, request, context).await,
            Route::Unattributed => self.unattributed(request, context).await,
            Route::Summary => self.summary(request, context).await,
            Route::Sources => self.sources(),
            Route::Events => self.events(request, context),
            Route::OpenApi => openapi(request, context),
            Route::Page => self.overview_page(request, context).await,
            Route::EmployeePage(id) => self.employee_page(id, request, context).await,
            Route::Asset(name) => Self::asset(name, request, context),
            Route::Healthz | Route::Readyz | Route::Metrics => self.probe(route, context),
            Route::Unknown => Problem::NotFound.response(context.id(), &[]),
        }
    }

    /// Answers a request to the admin listener.
    pub fn answer_admin<B>(&self, request: &Request<B>) -> Response<Body> {
        let context = Context::new(request.headers());
        let route = Route::admin(request.uri().path());
        let mut response = if !host::is_lawful(request.version(), request.headers()) {
            Problem::InvalidHost.response(context.id(), &[])
        } else if route == Route::Unknown {
            Problem::NotFound.response(context.id(), &[])
        } else if request.method() == Method::GET || request.method() == Method::HEAD {
            self.probe(&route, &context)
        } else {
            Problem::MethodNotAllowed.response(context.id(), &[])
        };
        response.headers_mut().insert(REQUEST_ID, context.request_id);
        response
    }

    /// What never waits and never looks at the upstream.
    fn probe(&self, route: &Route, context: &Context) -> Response<Body> {
        match route {
            Route::Healthz => text("text/plain; charset=utf-8", "ok"),
            Route::Readyz if self.is_draining() => Problem::Draining.response(context.id(), &[]),
            Route::Readyz if !self.snapshot().has_had_data() => {
                Problem::NotReady.response(context.id(), &[])
            }
            Route::Readyz => text("text/plain; charset=utf-8", "ready"),
            Route::Metrics => text(OPENMETRICS, metrics::encode(&self.registry)),
            _ => Problem::NotFound.response(context.id(), &[]),
        }
    }

    fn observe(
        &self,
        route: &Route,
        request: &http::request::Parts,
        response: &Response<Body>,
        context: &Context,
    ) {
        let took = context.started.elapsed();
        // Methods that nobody has defined share a label, lest callers make up series without end.
        let method = match request.method {
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
        };
        let status = response.status();
        self.metrics.record_request(route.label(), method, status.as_u16(), took);
        if route.is_probe() && status == StatusCode::OK {
            return;
        }
        tracing::info!(
            // As a field it is text that is there already, and not an argument to be formatted.
            message = "request",
            request_id = context.id(),
            trace_id = context.trace_id(),
            method = request.method.as_str(),
            route = route.label(),
            status = status.as_u16(),
            bytes = response.body().length(),
            duration_ms = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) as f64 / 1e6,
        );
    }
}

fn is_beyond_limit(request: &http::request::Parts) -> bool {
    request.extensions.get::<ConnectionHandle>().is_some_and(ConnectionHandle::is_beyond_limit)
}

fn text(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
