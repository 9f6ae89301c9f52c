//! The service of the newest configuration: a reload replaces the whole [`Gateway`], so that each
//! request is served by one configuration from its first check to its last byte.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{self, Poll};

use http::{Request, Response};
use tokio::sync::watch;
use tower::Service;

use super::Gateway;
use super::body::Body;
use super::routes::EVENTS_PATH;
use super::service::HttpService;

/// The service of the public listener, by the newest gateway that `gateways` holds.
#[must_use]
pub fn public_service<B: Send + 'static>(
    gateways: watch::Receiver<Arc<Gateway>>,
) -> impl HttpService<B> {
    CurrentService::new(gateways, |gateway: &Arc<Gateway>| gateway.public_service())
}

/// The service of the admin listener, by the newest gateway that `gateways` holds.
#[must_use]
pub fn admin_service<B: Send + 'static>(
    gateways: watch::Receiver<Arc<Gateway>>,
) -> impl HttpService<B> {
    CurrentService::new(gateways, |gateway: &Arc<Gateway>| gateway.admin_service())
}

/// A service that is made anew when the gateway is replaced. Each connection has a clone, which
/// looks for a newer gateway before each request.
///
/// A replaced gateway must not live on for long, because it keeps its upstreams' connections, its
/// users and the task that fetches its issuer's keys. So nothing that may go without a request for
/// long keeps a service: neither the listener, nor a connection with an event stream.
#[derive(Clone)]
struct CurrentService<F, S> {
    gateways: watch::Receiver<Arc<Gateway>>,
    make: F,
    /// The service of the last request's gateway.
    service: Option<S>,
    /// Whether an event stream was requested on this connection.
    has_event_stream: bool,
}

impl<F, S> CurrentService<F, S> {
    fn new(gateways: watch::Receiver<Arc<Gateway>>, make: F) -> Self {
        Self { gateways, make, service: None, has_event_stream: false }
    }
}

impl<B, F, S> Service<Request<B>> for CurrentService<F, S>
where
    F: Fn(&Arc<Gateway>) -> S,
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    /// A gateway's service is always ready, and refuses excess requests with a response.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // An error means that the process is exiting.
        if self.gateways.has_changed().unwrap_or(false) {
            self.service = None;
        }
        self.has_event_stream |= request.uri().path() == EVENTS_PATH;
        let Self { gateways, make, service, has_event_stream } = self;
        let current = service.get_or_insert_with(|| make(&gateways.borrow_and_update()));
        let response = current.call(request);
        if *has_event_stream {
            *service = None;
        }
        response
    }
}
