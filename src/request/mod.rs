//! What is asked of a source: requests with time templates, and how its pages follow each other.
//!
//! The configuration builds these types, whose constructors refuse what cannot work. They are
//! pure; `upstream` makes the calls.

mod body;
mod pages;
mod template;

pub use body::{BodyTemplate, JsonPointer, JsonTemplate};
pub use pages::{NextPage, Target};
pub use template::{RequestTimes, Template, TemplateError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use reqwest::Url;

/// The request of a source, with templates for times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestTemplate {
    /// The path below the upstream's base URL; begins with `/`.
    pub path: String,
    /// The members of the query, unencoded, in order; a list in the configuration repeats its key.
    pub query: Vec<(String, Template)>,
    /// The headers besides those of the upstream.
    pub headers: Vec<(HeaderName, Template)>,
    /// The body, which makes the request a POST.
    pub body: Option<BodyTemplate>,
}

/// A request, without the headers that the upstream's settings add to each.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, or `POST` where there is a body.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// The source's own headers, and `Content-Type` where there is a body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
}

impl Request {
    /// A GET request without headers.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }
}
