//! Errors as callers see them: problem details (RFC 9457). Only this file maps errors to statuses.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::body::Body;
use crate::cache::RenderError;

/// Why a request cannot be answered as asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// `Host` is missing, repeated or not a valid host.
    InvalidHost,
    /// Nothing is served at the path.
    NotFound,
    /// The method is neither GET nor HEAD.
    MethodNotAllowed,
    /// The query has an unknown key or a bad value; the text names it and says what would be right.
    InvalidQuery(String),
    /// The caller excludes every format or content coding that there is.
    NotAcceptable,
    /// `If-Match` names no entity tag that the answer has.
    PreconditionFailed,
    /// The caller's address has its share of the event streams open.
    TooManyStreams,
    /// No incident is known of that employee.
    UnknownEmployee,
    /// No source has answered yet.
    NoData {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A complete answer was asked for, and not every source is fresh.
    Incomplete {
        /// When to ask again.
        retry_after: Duration,
    },
    /// There are more requests, connections or streams than the limits allow, or the answer could not
    /// be rendered within the budget.
    Overloaded,
    /// The process has no data to serve yet.
    NotReady,
    /// The process is stopping.
    Draining,
    /// The gateway itself failed.
    Internal,
}

/// A source that is not fresh, in a problem's `sources`.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemSource {
    /// Its name.
    pub name: String,
    /// `stale` or `missing`.
    pub state: &'static str,
    /// The kind of its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    sources: &'a [ProblemSource],
}

impl From<RenderError> for Problem {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Panicked => Self::Internal,
            RenderError::Overloaded => Self::Overloaded,
        }
    }
}

impl Problem {
    /// The last part of the problem's type URN.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidHost => "invalid-host",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::InvalidQuery(_) => "invalid-query",
            Self::NotAcceptable => "not-acceptable",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooManyStreams => "too-many-streams",
            Self::UnknownEmployee => "unknown-employee",
            Self::NoData { .. } => "no-data",
            Self::Incomplete { .. } => "incomplete",
            Self::Overloaded => "overloaded",
            Self::NotReady => "not-ready",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::UnknownEmployee => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::InvalidHost | Self::InvalidQuery(_) => StatusCode::BAD_REQUEST,
            Self::NoData { .. }
            | Self::Incomplete { .. }
            | Self::Overloaded
            | Self::NotReady
            | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A short summary of the kind of problem.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::InvalidHost => "Invalid Host header",
            Self::NotFound => "No such resource",
            Self::MethodNotAllowed => "Method not allowed",
            Self::InvalidQuery(_) => "Invalid query",
            Self::NotAcceptable => "Not acceptable",
            Self::PreconditionFailed => "Precondition failed",
            Self::TooManyStreams => "Too many event streams",
            Self::UnknownEmployee => "Unknown employee",
            Self::NoData { .. } => "No data yet",
            Self::Incomplete { .. } => "Not every source is fresh",
            Self::Overloaded => "Too many requests at once",
            Self::NotReady => "Not ready",
            Self::Draining => "Stopping",
            Self::Internal => "Internal error",
        }
    }

    /// What happened, and what to do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::InvalidHost => {
                "send `Host` once, with a name or an address and perhaps a port; HTTP/1.1 demands it (RFC 9112, section 3.2)"
            }
            Self::NotFound => "nothing is served at this path; see /openapi.json for what is",
            Self::MethodNotAllowed => "every resource here is read with GET or HEAD",
            Self::InvalidQuery(detail) => detail,
            Self::NotAcceptable => {
                "`Accept` or `Accept-Encoding` excludes everything there is; formats are application/json, application/x-ndjson and text/csv, codings gzip, zstd and identity"
            }
            Self::PreconditionFailed => "the answer has another entity tag than `If-Match` names",
            Self::TooManyStreams => {
                "this address has its share of the event streams open; close one, or raise limits.max_events"
            }
            Self::UnknownEmployee => "no incident in the present data names this employee",
            Self::NoData { .. } => "no source has answered yet; see /sources for why",
            Self::Incomplete { .. } => {
                "a complete answer was asked for, and not every source is fresh; see `sources`"
            }
            Self::Overloaded => "the server has more to do than it can at once; try again shortly",
            Self::NotReady => "no source has answered yet",
            Self::Draining => "the process has been asked to stop",
            Self::Internal => "the gateway failed to answer; its log has the request id",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoData { retry_after } | Self::Incomplete { retry_after } => Some(*retry_after),
            Self::Overloaded | Self::TooManyStreams | Self::NotReady => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// The problem as a response.
    #[must_use]
    pub fn response(&self, request_id: &str, sources: &[ProblemSource]) -> Response<Body> {
        let status = self.status();
        let document = Document {
            r#type: format!("urn:incident-gateway:problem:{}", self.name()),
            title: self.title(),
            status: status.as_u16(),
            detail: self.detail(),
            request_id,
            sources,
        };
        let body = serde_json::to_vec(&document).expect("a problem has no keys that JSON lacks");
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *self == Self::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(retry_after) = self.retry_after() {
            // Rounded up to whole seconds, so that clients do not come back too early.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
