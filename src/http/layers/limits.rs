//! Refuses requests beyond `limits.max_requests`, and requests on connections beyond
//! `limits.max_connections`. Probes are always served, so that an orchestrator does not restart a
//! process that is merely overloaded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::http::body::Body;
use crate::http::connection::ConnectionHandle;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::routes::Route;

#[derive(Clone)]
pub(in crate::http) struct LimitsLayer {
    permits: Arc<Semaphore>,
}

impl LimitsLayer {
    /// `permits` bounds how many requests are in flight at once. A request is in flight until its
    /// connection has taken the whole response; `limits.min_send_rate` bounds how long a client may
    /// take to read it after that.
    pub(in crate::http) fn new(permits: Arc<Semaphore>) -> Self {
        Self { permits }
    }
}

impl<S> Layer<S> for LimitsLayer {
    type Service = Limits<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limits { permits: Arc::clone(&self.permits), inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct Limits<S> {
    permits: Arc<Semaphore>,
    inner: S,
}

impl<S> Limits<S> {
    /// The permit that a request needs, if it needs one.
    fn permit<B>(&self, request: &Request<B>) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        let route = &Context::of(request).route;
        if route.is_probe() {
            return Ok(None);
        }
        let connection = request.extensions().get::<ConnectionHandle>();
        if connection.is_some_and(ConnectionHandle::is_beyond_limit) {
            return Err(Problem::Overloaded);
        }
        // Event streams are long-lived, so they have a limit of their own.
        if *route == Route::Events {
            return Ok(None);
        }
        Arc::clone(&self.permits).try_acquire_owned().map(Some).map_err(|_| Problem::Overloaded)
    }
}

impl<B, S> Service<Request<B>> for Limits<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = LimitsFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.permit(&request) {
            Ok(permit) => LimitsFuture::Admitted { inner: self.inner.call(request), permit },
            Err(problem) => {
                let response = problem.response(Context::of(&request).id(), &[]);
                LimitsFuture::Refused { response: Some(response) }
            }
        }
    }
}

pin_project! {
    #[project = LimitsFutureProjection]
    pub(in crate::http) enum LimitsFuture<F> {
        Admitted {
            #[pin]
            inner: F,
            permit: Option<OwnedSemaphorePermit>,
        },
        Refused {
            response: Option<Response<Body>>,
        },
    }
}

impl<F> Future for LimitsFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            LimitsFutureProjection::Admitted { inner, permit } => {
                let Ok(response) = ready!(inner.poll(context));
                Poll::Ready(Ok(match permit.take() {
                    Some(permit) => response.map(|body| body.holding(permit)),
                    None => response,
                }))
            }
            LimitsFutureProjection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("not polled after completion")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tower::util::BoxCloneSyncService;
    use tower::{ServiceExt as _, service_fn};

    use super::super::testing::get;
    use super::*;
    use crate::http::connection::Client;

    type TestService = BoxCloneSyncService<Request<()>, Response<Body>, Infallible>;

    fn limited(max_requests: usize) -> TestService {
        let layer = LimitsLayer::new(Arc::new(Semaphore::new(max_requests)));
        BoxCloneSyncService::new(
            layer.layer(service_fn(async |_: Request<()>| Ok(Response::new(Body::full("hello"))))),
        )
    }

    async fn ask(service: &TestService, request: Request<()>) -> Response<Body> {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    }

    #[tokio::test]
    async fn a_request_is_in_flight_until_its_response_is_dropped() {
        let service = limited(1);
        let response = ask(&service, get("/incidents")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let refused = ask(&service, get("/incidents")).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(response);
        assert_eq!(ask(&service, get("/incidents")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn probes_and_streams_need_no_permit() {
        let service = limited(0);
        for path in ["/healthz", "/readyz", "/events"] {
            assert_eq!(ask(&service, get(path)).await.status(), StatusCode::OK, "{path}");
        }
    }

    #[tokio::test]
    async fn only_probes_are_served_on_a_connection_beyond_the_limit() {
        let service = limited(9);
        let client = Arc::new(Client::new(([127, 0, 0, 1], 1).into(), true));
        for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/events", 503), ("/", 503)] {
            let mut request = get(path);
            request.extensions_mut().insert(ConnectionHandle::new(Arc::clone(&client)).0);
            assert_eq!(ask(&service, request).await.status(), status, "{path}");
        }
    }
}
