//! What goes with a request from its headers to its answer: its id, its trace, its clock.

use http::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::upstream::TraceContext;

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
    /// Whether the caller brought the trace.
    pub traced: bool,
    /// When the headers had been read.
    pub started: Instant,
}

impl Context {
    /// Reads what the caller brings. An id that is too long, or has more than visible ASCII, is replaced: it goes into
    /// logs and headers.
    #[must_use]
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let given = headers
            .get("x-request-id")
            .filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic));
        let trace = headers.get("traceparent").and_then(|value| TraceContext::parse(value.to_str().ok()?));
        Self {
            request_id: given.cloned().unwrap_or_else(generate_id),
            trace: trace.unwrap_or_else(|| TraceContext::new(fastrand::u128(1..), 0)),
            span: fastrand::u64(1..),
            traced: trace.is_some(),
            started: Instant::now(),
        }
    }

    /// The id as text.
    #[must_use]
    pub(super) fn id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

fn generate_id() -> HeaderValue {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let random = fastrand::u128(..).to_be_bytes();
    let digits = random.map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    HeaderValue::from_bytes(digits.as_flattened()).expect("hexadecimal digits make a header value")
}
