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

use http::HeaderName;

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
