//! Responses with content that is embedded in the binary.

use http::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;

use super::body::Body;
use super::conditions;
use super::context::Context;

const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The response to a request for such content.
pub(super) fn response(
    text: &'static str,
    content_type: &'static str,
    request: &Parts,
    context: &Context,
) -> Response<Body> {
    let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(text.as_bytes()));
    let etag = HeaderValue::try_from(etag).expect("hexadecimal digits make a header value");
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    conditions::apply(response, request, context)
}
