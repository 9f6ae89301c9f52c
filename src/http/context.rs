//! What goes with a request from its headers to its answer: its id, its trace, its clock.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::hex;
use crate::trace_context::{TRACE_ID, TraceContext};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a caller.
const LONGEST_ID: usize = 128;

/// A request's identity.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The caller's `X-Request-Id`, or a new one.
    pub request_id: HeaderValue,
    /// The caller's trace, or a new one.
    pub trace: TraceContext,
    /// This request's span in the trace.
    pub span: u64,
    /// Both, as they are passed on.
    pub traceparent: HeaderValue,
    /// When the headers had been read.
    pub started: Instant,
}

impl Context {
    /// Reads what the caller brings. An id that is too long, or has more than visible ASCII, is
    /// replaced: it goes into logs and headers.
    #[must_use]
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| {
            (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        let trace = TraceContext::from_headers(headers)
            .unwrap_or_else(|| TraceContext::new(fastrand::u128(..)));
        // Zero is no span.
        let span = fastrand::u64(..).max(1);
        Self {
            request_id: given.cloned().unwrap_or_else(generate_id),
            traceparent: trace.traceparent(span),
            trace,
            span,
            started: Instant::now(),
        }
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
