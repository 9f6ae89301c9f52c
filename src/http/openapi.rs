//! `/openapi.json`: the description of the API.

use http::Response;
use http::request::Parts;

use super::body::Body;
use super::context::Context;
use super::static_content;

/// The `OpenAPI` 3.1 document. Tests compare it with the code.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) fn openapi(request: &Parts, context: &Context) -> Response<Body> {
    static_content::response(DOCUMENT, "application/json", request, context)
}

#[cfg(test)]
mod tests;
