//! `/openapi.json`: the description of the interface, and other content that is part of the binary.

use headers::{ETag, HeaderMapExt as _, IfNoneMatch};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::body::Body;

/// The `OpenAPI` 3.1 document. Tests hold it to the code.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) fn openapi(request: &HeaderMap) -> Response<Body> {
    fixed(DOCUMENT, "application/json", request)
}

/// An answer that changes only with the binary.
pub(super) fn fixed(
    content: &'static str,
    content_type: &'static str,
    request: &HeaderMap,
) -> Response<Body> {
    let tag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(content.as_bytes()));
    let etag: ETag = tag.parse().expect("hexadecimal digits in quotes make an entity tag");
    let unchanged =
        request.typed_get::<IfNoneMatch>().is_some_and(|tags| !tags.precondition_passes(&etag));
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::full(content) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if !unchanged {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.typed_insert(etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
