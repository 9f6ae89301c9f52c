//! What is asked of a source: requests with time templates, and how its pages follow each other.
//!
//! The configuration builds these types, whose constructors refuse what cannot work. They are
//! pure; `upstream` makes the calls.

mod body;
mod cursor;
mod link;
mod pager;
mod pages;
mod pointer;
mod query;
mod template;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;

pub use body::{BodyTemplate, JsonTemplate};
pub use link::next_link;
pub use pager::{PageFacts, Pager, PagesError};
pub use pages::{NextPage, Target};
pub use pointer::{JsonPointer, PointerError};
pub(crate) use query::{append as append_pair, encoded as form_encoded};
pub use template::{RequestTimes, Template, TemplateError};

/// The request of a source, with templates for times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestTemplate {
    /// The path below the upstream's base URL; begins with `/`, and has no query.
    pub path: String,
    /// The members of the query, unencoded, in order; a list in the configuration repeats its key.
    pub query: Vec<(String, Template)>,
    /// The headers besides those of the upstream.
    pub headers: Vec<(HeaderName, Template)>,
    /// The body, which makes the request a POST.
    pub body: Option<BodyTemplate>,
}

/// A request of a source, without what the upstream adds to all of its requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// GET, or POST with a body.
    pub method: Method,
    /// The whole address.
    pub url: Url,
    /// The source's own headers, and the type of the body.
    pub headers: HeaderMap,
    /// The body of a POST.
    pub body: Option<Bytes>,
}

/// Why a template makes no request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestError {
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for RequestError {}

impl From<PointerError> for RequestError {
    fn from(error: PointerError) -> Self {
        Self { detail: error.detail }
    }
}

impl Request {
    /// A GET request without headers of its own.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }
}

impl RequestTemplate {
    /// Whether the request depends on `{since}`.
    #[must_use]
    pub fn uses_since(&self) -> bool {
        self.uses(Template::uses_since)
    }

    /// Whether the request depends on `{since}` or `{now}`.
    #[must_use]
    pub fn uses_times(&self) -> bool {
        self.uses(Template::uses_times)
    }

    fn uses(&self, is_used: fn(&Template) -> bool) -> bool {
        self.query.iter().any(|(_, value)| is_used(value))
            || self.headers.iter().any(|(_, value)| is_used(value))
            || self.body.as_ref().is_some_and(|body| body.uses(is_used))
    }

    /// The request with the times put in. `base` is the upstream's base URL, whose path comes
    /// before the request's.
    ///
    /// # Errors
    ///
    /// When the path gives no address below `base`, or a header has a value that none can have.
    pub fn render(&self, base: &Url, times: &RequestTimes) -> Result<Request, RequestError> {
        let mut url = self.address(base)?;
        if !self.query.is_empty() {
            let mut query = String::new();
            for (name, value) in &self.query {
                query::append(&mut query, name, &value.render(times));
            }
            url.set_query(Some(&query));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let rendered = HeaderValue::try_from(value.render(times)).map_err(|_| {
                let (name, value) = (name.as_str(), value.as_str());
                let detail = format!(
                    "header {name}: {value:?} has a character that no header may have; write ASCII"
                );
                RequestError { detail }
            })?;
            headers.append(name.clone(), rendered);
        }
        let (body, content_type) = match &self.body {
            None => return Ok(Request { method: Method::GET, url, headers, body: None }),
            Some(BodyTemplate::Json(json)) => {
                let mut text = String::new();
                json.render(times, &mut text);
                (text, "application/json")
            }
            Some(BodyTemplate::Form(fields)) => {
                let mut text = String::new();
                for (name, value) in fields {
                    query::append(&mut text, name, &value.render(times));
                }
                (text, "application/x-www-form-urlencoded")
            }
        };
        let content_type = HeaderValue::from_static(content_type);
        headers.entry(header::CONTENT_TYPE).or_insert(content_type);
        Ok(Request { method: Method::POST, url, headers, body: Some(Bytes::from(body)) })
    }

    fn address(&self, base: &Url) -> Result<Url, RequestError> {
        let path = &self.path;
        let joined = Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/')));
        let is_below = |url: &Url| path.starts_with('/') && url.origin() == base.origin();
        joined.ok().filter(is_below).ok_or_else(|| RequestError {
            detail: format!(
                "path {path:?} makes no address below the upstream's base_url; write it like \
                 /incidents/"
            ),
        })
    }
}

#[cfg(test)]
mod tests;
