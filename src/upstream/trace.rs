//! W3C trace context: the part of `traceparent` that is carried from a caller to the upstream.

use std::fmt;
use std::sync::{Arc, Mutex};

use http::HeaderValue;

use crate::hex;

/// Where the trace's id stands in a `traceparent`.
pub const TRACE_ID: std::ops::Range<usize> = 3..35;

/// A trace that a call belongs to (W3C Trace Context, level 1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    trace_id: u128,
    flags: u8,
}

impl TraceContext {
    /// A trace of its own. `trace_id` must not be zero, which the standard forbids; zero is taken
    /// as one.
    #[must_use]
    pub const fn new(trace_id: u128, flags: u8) -> Self {
        Self { trace_id: if trace_id == 0 { 1 } else { trace_id }, flags }
    }

    /// Reads a `traceparent` value. A later version than `00` is read by what it shares with it, as
    /// the standard says.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.trim().splitn(5, '-');
        let (version, trace_id, parent, flags, rest) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next());
        let version = lower_hex(version, 2)?;
        if version == 0xff || (version == 0 && rest.is_some()) || lower_hex(parent, 16)? == 0 {
            return None;
        }
        match (lower_hex(trace_id, 32)?, lower_hex(flags, 2)?) {
            (0, _) => None,
            (trace_id, flags) => Some(Self { trace_id, flags: u8::try_from(flags).ok()? }),
        }
    }

    /// Makes a span of ours a part of this trace, below the span `parent` of it.
    pub fn join(&self, span: &tracing::Span, parent: u64) {
        crate::logging::join_trace(span, self.trace_id, parent);
    }

    /// The trace's id, which every part of it shares; shown as 32 hex digits.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// The `traceparent` that a span sends on; `span` must not be zero.
    #[must_use]
    pub fn traceparent(&self, span: u64) -> HeaderValue {
        let mut text = *b"00-tttttttttttttttttttttttttttttttt-ssssssssssssssss-ff";
        text[TRACE_ID].copy_from_slice(hex::digits(self.trace_id.to_be_bytes()).as_flattened());
        text[36..52].copy_from_slice(hex::digits(span.to_be_bytes()).as_flattened());
        text[53..].copy_from_slice(hex::digits([self.flags]).as_flattened());
        HeaderValue::from_bytes(&text).expect("hexadecimal digits make a header value")
    }
}

/// The trace of the last caller that brought one. A refresh is nobody's request; the calls it makes
/// carry the trace of the caller who last read what it makes anew.
#[derive(Clone, Debug, Default)]
pub struct LastCaller(Arc<Mutex<Option<TraceContext>>>);

impl LastCaller {
    /// Notes a caller's trace.
    pub fn set(&self, trace: TraceContext) {
        *super::lock(&self.0) = Some(trace);
    }

    /// The last trace noted.
    #[must_use]
    pub fn get(&self) -> Option<TraceContext> {
        *super::lock(&self.0)
    }
}

/// The id of a trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Exactly `digits` lower-case hex digits; the standard allows no others.
fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let valid =
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn carries_the_trace_and_its_flags_but_not_the_callers_span() {
        let trace = TraceContext::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(trace.trace_id().to_string(), TRACE);
        assert_eq!(trace.traceparent(0xab), format!("00-{TRACE}-00000000000000ab-01"));
    }

    #[test]
    fn reads_a_later_version_by_what_it_shares_with_the_first() {
        let later = TraceContext::parse(&format!("01-{TRACE}-00f067aa0ba902b7-00-more-of-it"));
        assert_eq!(later, TraceContext::parse(&format!("00-{TRACE}-00f067aa0ba902b7-00")));
        assert!(later.is_some());
    }

    #[test]
    fn refuses_what_the_standard_refuses() {
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!("0-{TRACE}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad:?}");
        }
    }
}
