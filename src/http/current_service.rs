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
#[derive(Clone)]
struct CurrentService<F, S> {
    gateways: watch::Receiver<Arc<Gateway>>,
    make: F,
    service: S,
}

impl<F: Fn(&Arc<Gateway>) -> S, S> CurrentService<F, S> {
    fn new(mut gateways: watch::Receiver<Arc<Gateway>>, make: F) -> Self {
        let gateway = Arc::clone(&gateways.borrow_and_update());
        Self { service: make(&gateway), gateways, make }
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

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // An error means that the process is exiting.
        if self.gateways.has_changed().unwrap_or(false) {
            let gateway = Arc::clone(&self.gateways.borrow_and_update());
            self.service = (self.make)(&gateway);
        }
        self.service.call(request)
    }
}
