//! The errors that callers see: problem details (RFC 9457). Only this file maps errors to statuses.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::body::Body;
use crate::cache::RenderError;
use crate::store::StoreError;

/// After how long to ask again for what needs the store. Its connection is tried every few seconds.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request cannot be served.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// `Host` is missing, repeated or not a valid host.
    InvalidHost,
    /// There are several `Authorization` headers.
    RepeatedAuthorization,
    /// The request names a host that `allowed_hosts` does not have.
    Misdirected,
    /// There are no valid credentials.
    Unauthorized,
    /// The caller may not see this.
    Forbidden,
    /// The caller's address has failed to sign in too often.
    TooManyAttempts {
        /// After how long its next attempt is checked.
        retry_after: Duration,
    },
    /// There is no resource at the path.
    NotFound,
    /// The method is neither GET nor HEAD.
    MethodNotAllowed,
    /// The query has an unknown key or an invalid value. The text names it and says what is valid.
    InvalidQuery(String),
    /// The caller excludes every supported format or content coding.
    NotAcceptable,
    /// `If-Match` does not contain the entity tag of the response.
    PreconditionFailed,
    /// The caller's address has as many event streams open as one address may.
    TooManyStreams,
    /// No incident of the employee is known.
    UnknownEmployee,
    /// No source has answered yet.
    NoData {
        /// After how long to retry.
        retry_after: Duration,
    },
    /// The caller requires a complete answer, but not every source is fresh.
    Incomplete {
        /// After how long to retry.
        retry_after: Duration,
    },
    /// No store is configured, so that there is no history.
    NoStore,
    /// The store cannot be reached, or has not answered within the budget.
    StoreUnavailable,
    /// There are more requests, connections, streams or queries of the history than the limits
    /// allow, or the body could not be rendered within the budget.
    Overloaded,
    /// The process has had no data yet.
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

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable(_)
            | StoreError::Unusable(_)
            | StoreError::LeaseLost
            | StoreError::Forgotten
            | StoreError::Outdated => Self::StoreUnavailable,
        }
    }
}

impl Problem {
    /// The last part of the problem's type URN.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidHost => "invalid-host",
            Self::RepeatedAuthorization => "repeated-authorization",
            Self::Misdirected => "misdirected",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooManyAttempts { .. } => "too-many-attempts",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::InvalidQuery(_) => "invalid-query",
            Self::NotAcceptable => "not-acceptable",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooManyStreams => "too-many-streams",
            Self::UnknownEmployee => "unknown-employee",
            Self::NoData { .. } => "no-data",
            Self::Incomplete { .. } => "incomplete",
            Self::NoStore => "no-store",
            Self::StoreUnavailable => "store-unavailable",
            Self::Overloaded => "overloaded",
            Self::NotReady => "not-ready",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::UnknownEmployee | Self::NoStore => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManyStreams | Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::InvalidHost | Self::RepeatedAuthorization | Self::InvalidQuery(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NoData { .. }
            | Self::Incomplete { .. }
            | Self::StoreUnavailable
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
            Self::RepeatedAuthorization => "Several Authorization headers",
            Self::Misdirected => "Host not served here",
            Self::Unauthorized => "Sign-in needed",
            Self::Forbidden => "Not permitted",
            Self::TooManyAttempts { .. } => "Too many failed attempts",
            Self::NotFound => "No such resource",
            Self::MethodNotAllowed => "Method not allowed",
            Self::InvalidQuery(_) => "Invalid query",
            Self::NotAcceptable => "Not acceptable",
            Self::PreconditionFailed => "Precondition failed",
            Self::TooManyStreams => "Too many event streams",
            Self::UnknownEmployee => "Unknown employee",
            Self::NoData { .. } => "No data yet",
            Self::Incomplete { .. } => "Not every source is fresh",
            Self::NoStore => "No history",
            Self::StoreUnavailable => "History not available",
            Self::Overloaded => "Too many requests at once",
            Self::NotReady => "Not ready",
            Self::Draining => "Stopping",
            Self::Internal => "Internal error",
        }
    }

    /// What happened, and what the caller can do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::InvalidHost => {
                "send `Host` once, with a name or an address and an optional port; HTTP/1.1 requires it (RFC 9112, section 3.2)"
            }
            Self::RepeatedAuthorization => "send one `Authorization` header",
            Self::Misdirected => {
                "the host of this request is not among those that this server answers for; see \
                 `allowed_hosts`"
            }
            Self::Unauthorized => {
                "send valid credentials, of the schemes that `WWW-Authenticate` names, and a client \
                 certificate where the server asks for one"
            }
            Self::Forbidden => "these credentials do not permit this",
            Self::TooManyAttempts { .. } => {
                "sign-ins from this address have failed too often; retry after a while"
            }
            Self::NotFound => {
                "there is no resource at this path; /openapi.json lists those there are"
            }
            Self::MethodNotAllowed => "resources support only GET and HEAD",
            Self::InvalidQuery(detail) => detail,
            Self::NotAcceptable => {
                "`Accept` or `Accept-Encoding` excludes every supported value; the formats are application/json, application/x-ndjson and text/csv, the codings gzip, zstd and identity"
            }
            Self::PreconditionFailed => "`If-Match` does not contain the current entity tag",
            Self::TooManyStreams => {
                "this address has as many event streams open as one address may; close one, or raise limits.max_events"
            }
            Self::UnknownEmployee => "the current data has no incident of this employee",
            Self::NoData { .. } => "no source has answered yet; see /sources for why",
            Self::Incomplete { .. } => {
                "a complete answer is required, but not every source is fresh; see `sources`"
            }
            Self::NoStore => {
                "no history is kept, because no store is configured; set `store.url` to a database"
            }
            Self::StoreUnavailable => {
                "the store cannot be reached, or has not answered in time; `store` in /sources says \
                 why, and everything but the history answers without it"
            }
            Self::Overloaded => "the server is at one of its limits; retry shortly",
            Self::NotReady => "no source has answered yet",
            Self::Draining => "the process has been asked to stop",
            Self::Internal => "the gateway failed; search its log for the request id",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoData { retry_after }
            | Self::Incomplete { retry_after }
            | Self::TooManyAttempts { retry_after } => Some(*retry_after),
            Self::Overloaded | Self::TooManyStreams | Self::NotReady => {
                Some(Duration::from_secs(1))
            }
            Self::StoreUnavailable => Some(STORE_RETRY_AFTER),
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
            // Rounded up to whole seconds, so that clients do not retry too early.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
