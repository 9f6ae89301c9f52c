//! Signs callers in: each request gets a [`Grant`], or a refusal. Probes are always open.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::sync::Arc;
use std::task::{self, Poll};

use futures::future::Either;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::access::{Access, Grant};
use crate::http::body::Body;
use crate::http::context::Context;

#[derive(Clone)]
pub(in crate::http) struct AccessLayer {
    access: Arc<Access>,
}

impl AccessLayer {
    /// Signs in by `access`.
    pub(in crate::http) fn new(access: Arc<Access>) -> Self {
        Self { access }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = SignIn<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SignIn { access: Arc::clone(&self.access), inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct SignIn<S> {
    access: Arc<Access>,
    inner: S,
}

impl<B, S> Service<Request<B>> for SignIn<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = Context::of(&request);
        debug_assert!(self.access.is_open());
        context.set_grant(Arc::new(Grant::open()));
        Either::Right(self.inner.call(request))
    }
}
