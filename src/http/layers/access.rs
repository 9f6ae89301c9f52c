//! Signs callers in, and refuses what they may not see. Probes are always open.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::access::{Access, ClientCertificate, Decision, Grant, Refusal, TokenError};
use crate::http::body::Body;
use crate::http::connection::ConnectionHandle;
use crate::http::context::Context;
use crate::http::permission::is_permitted;
use crate::http::problem::Problem;
use crate::http::routes::Route;

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
    B: Send + 'static,
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = SignInFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = Context::of(&request);
        let is_open = self.access.is_open();
        if matches!(context.route, Route::Healthz | Route::Readyz) {
            return SignInFuture::Admitted { inner: self.inner.call(request), is_open: true };
        }
        let connection = request.extensions().get::<ConnectionHandle>();
        let peer = connection.map(ConnectionHandle::peer_ip);
        let certificate =
            connection.and_then(|connection| trusted_certificate(&self.access, connection));
        match self.access.authenticate(request.headers(), peer, certificate) {
            Decision::Ready(decision) => {
                match refusal(&self.access, decision, &request, &context) {
                    None => SignInFuture::Admitted { inner: self.inner.call(request), is_open },
                    response => SignInFuture::Refused { response },
                }
            }
            Decision::Pending(decision) => {
                let access = Arc::clone(&self.access);
                let mut inner = self.inner.clone();
                let future = async move {
                    match refusal(&access, decision.await, &request, &context) {
                        None => inner.call(request).await,
                        Some(response) => Ok(response),
                    }
                };
                SignInFuture::Pending { future: future.boxed() }
            }
        }
    }
}

/// The client's certificate, if this access control trusts it. A reload verifies it again, against
/// the new authorities, a moment before the new access control serves.
fn trusted_certificate<'c>(
    access: &Access,
    connection: &'c ConnectionHandle,
) -> Option<&'c ClientCertificate> {
    let both = [connection.certificate(), connection.certificate_of_handshake()];
    both.into_iter().flatten().find(|certificate| access.trusts(certificate))
}

/// Gives the request its grant, and returns the response if it is refused.
fn refusal<B>(
    access: &Access,
    decision: Result<Arc<Grant>, Refusal>,
    request: &Request<B>,
    context: &Context,
) -> Option<Response<Body>> {
    let (problem, challenges) = match decision {
        Ok(grant) => {
            let is_permitted = is_permitted(&grant.scope, &context.route, request.uri().query());
            context.set_grant(grant);
            if is_permitted {
                return None;
            }
            (Problem::Forbidden, access.challenges(Some(TokenError::InsufficientScope)))
        }
        Err(Refusal::Unauthorized { has_token }) => {
            let error = has_token.then_some(TokenError::InvalidToken);
            (Problem::Unauthorized, access.challenges(error))
        }
        Err(Refusal::RepeatedAuthorization) => (Problem::RepeatedAuthorization, Vec::new()),
        Err(Refusal::TooManyAttempts { retry_after }) => {
            (Problem::TooManyAttempts { retry_after }, Vec::new())
        }
        Err(Refusal::Overloaded) => (Problem::Overloaded, Vec::new()),
    };
    let mut response = problem.response(context.id(), &[]);
    for challenge in challenges {
        response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
    Some(response)
}

/// Keeps shared caches from giving one caller's answer to another.
fn restrict_caching(headers: &mut HeaderMap) {
    const AUTHORIZATION: &str = "Authorization";
    let names: Vec<&[u8]> =
        headers.get_all(header::VARY).iter().map(HeaderValue::as_bytes).collect();
    let vary = if names.is_empty() {
        HeaderValue::from_static(AUTHORIZATION)
    } else {
        let merged = [&names[..], &[AUTHORIZATION.as_bytes()]].concat().join(&b", "[..]);
        HeaderValue::from_bytes(&merged).expect("joined values make a value")
    };
    headers.insert(header::VARY, vary);
    let public = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    if let Some(rest) = public.and_then(|value| value.strip_prefix("public")) {
        let private = HeaderValue::try_from(format!("private{rest}"));
        headers.insert(header::CACHE_CONTROL, private.expect("it differs in a word"));
    }
}

pin_project! {
    #[project = SignInFutureProjection]
    pub(in crate::http) enum SignInFuture<F> {
        Admitted {
            #[pin]
            inner: F,
            // Whether the answer is for everybody.
            is_open: bool,
        },
        Pending {
            future: BoxFuture<'static, Result<Response<Body>, Infallible>>,
        },
        Refused {
            response: Option<Response<Body>>,
        },
    }
}

impl<F> Future for SignInFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (Ok(mut response), is_open) = match self.project() {
            SignInFutureProjection::Admitted { inner, is_open } => {
                (ready!(inner.poll(context)), *is_open)
            }
            SignInFutureProjection::Pending { future } => {
                (ready!(future.as_mut().poll(context)), false)
            }
            SignInFutureProjection::Refused { response } => {
                (Ok(response.take().expect("not polled after completion")), false)
            }
        };
        if !is_open {
            restrict_caching(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests;
