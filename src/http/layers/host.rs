//! Refuses requests without a valid `Host`, or for a host that is not served.
//!
//! No resource depends on the host, but HTTP requires the check (RFC 9112, section 3.2): a proxy
//! and a server that interpret `Host` differently make request smuggling possible. Probes are
//! exempt, since load balancers send arbitrary hosts, or none.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::task::{self, Poll};

use futures::future::Either;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Request, Response, Version};
use tower::{Layer, Service};

use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::problem::Problem;

#[derive(Clone)]
pub(in crate::http) struct HostLayer {
    allowed_hosts: Option<Arc<[String]>>,
}

impl HostLayer {
    /// Only `allowed_hosts` are served, which are in lower case; without them all are.
    pub(in crate::http) fn new(allowed_hosts: Option<Arc<[String]>>) -> Self {
        Self { allowed_hosts }
    }
}

impl<S> Layer<S> for HostLayer {
    type Service = CheckHost<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckHost { allowed_hosts: self.allowed_hosts.clone(), inner }
    }
}

#[derive(Clone)]
pub(in crate::http) struct CheckHost<S> {
    allowed_hosts: Option<Arc<[String]>>,
    inner: S,
}

impl<B, S> Service<Request<B>> for CheckHost<S>
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
        let is_allowed =
            || self.allowed_hosts.as_deref().is_none_or(|allowed| is_allowed(allowed, &request));
        let problem = if context.route.is_probe() {
            None
        } else if !is_valid(request.version(), request.headers()) {
            Some(Problem::InvalidHost)
        } else if !is_allowed() {
            Some(Problem::Misdirected)
        } else {
            None
        };
        match problem {
            None => Either::Right(self.inner.call(request)),
            Some(problem) => Either::Left(ready(Ok(problem.response(context.id(), &[])))),
        }
    }
}

/// Whether a request is for one of these hosts: the authority of its target (`:authority` in
/// HTTP/2) or, if it has none, its `Host` (RFC 9112, section 3.3).
fn is_allowed<B>(allowed_hosts: &[String], request: &Request<B>) -> bool {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    host.is_some_and(|host| allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)))
}

/// Whether `Host` is valid and present as often as the version requires: exactly once in HTTP/1.1,
/// at most once in HTTP/1.0 and in HTTP/2, which has `:authority`.
fn is_valid(version: Version, headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => version != Version::HTTP_11,
        (Some(host), None) => is_host(host),
        (Some(_), Some(_)) => false,
    }
}

/// Whether the value is a name or an address, with or without a port. An empty value is a host too
/// (RFC 3986, section 3.2.2).
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let after_host = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok();
            if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
                return false;
            }
            &rest[end + 1..]
        }
        _ => &value[value.iter().take_while(|byte| is_name_byte(**byte)).count()..],
    };
    match after_host {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a byte may stand in a registered name or an IPv4 address (RFC 3986, section 3.2.2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests;
