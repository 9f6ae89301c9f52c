//! The context of a request: its id, trace, route and start.

use std::sync::{Arc, OnceLock};

use http::Request;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::problem::Problem;
use super::routes::Route;
use super::visibility::Visibility;
use crate::access::{Grant, Scope};
use crate::hex;
use crate::trace_context::{TRACE_ID, TraceContext};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `X-Request-Id` that is accepted from a caller.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// A request's context. [`ContextLayer`](super::layers::ContextLayer) puts it into the request's
/// extensions.
#[derive(Debug)]
pub(super) struct Context {
    /// The route that the path leads to.
    pub route: Route,
    /// The caller's `X-Request-Id`, or a new one.
    pub request_id: HeaderValue,
    /// The caller's trace, or a new one.
    pub trace: TraceContext,
    /// This request's span in the trace.
    pub span: u64,
    /// The value of `traceparent` for the response.
    pub traceparent: HeaderValue,
    /// When the headers were read.
    pub started: Instant,
    grant: OnceLock<Arc<Grant>>,
}

impl Context {
    /// Adopts the caller's id and trace. An id that is too long or has characters other than
    /// visible ASCII is replaced, since it goes into logs and headers.
    pub(super) fn new(headers: &HeaderMap, route: Route) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| {
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        let trace = TraceContext::from_headers(headers)
            .unwrap_or_else(|| TraceContext::new(fastrand::u128(..)));
        // The standard forbids a span of zero.
        let span = fastrand::u64(..).max(1);
        Self {
            route,
            request_id: given.cloned().unwrap_or_else(generate_id),
            traceparent: trace.traceparent(span),
            trace,
            span,
            started: Instant::now(),
            grant: OnceLock::new(),
        }
    }

    /// Sets who the caller is and what they may see, once.
    pub(super) fn set_grant(&self, grant: Arc<Grant>) {
        let is_first = self.grant.set(grant).is_ok();
        debug_assert!(is_first, "only the access layer decides");
    }

    /// Who the caller is; `None` before the access layer has decided, and for probes.
    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.get()
    }

    /// What the caller may see: nothing, before the access layer has decided.
    pub(super) fn scope(&self) -> &Scope {
        self.grant.get().map_or(&Scope::Nothing, |grant| &grant.scope)
    }

    /// What of the incident data the caller may see.
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`] if it is none, or not decided yet.
    pub(super) fn visibility(&self) -> Result<Visibility, Problem> {
        Visibility::of(self.scope())
    }

    /// The context of a request.
    pub(super) fn of<B>(request: &Request<B>) -> Arc<Self> {
        let context = request.extensions().get::<Arc<Self>>();
        Arc::clone(context.expect("the context layer is the outermost one"))
    }

    /// The id as text.
    #[must_use]
    pub(super) fn id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The trace's id as text.
    #[must_use]
    pub(super) fn trace_id(&self) -> &str {
        self.traceparent.to_str().ok().and_then(|text| text.get(TRACE_ID)).unwrap_or_default()
    }
}

fn generate_id() -> HeaderValue {
    let digits = hex::digits(fastrand::u128(..).to_be_bytes());
    HeaderValue::from_bytes(digits.as_flattened()).expect("hexadecimal digits make a header value")
}
