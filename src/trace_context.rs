//! W3C Trace Context: parses and writes `traceparent`.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

/// The header that carries a trace from one process to the next.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The position of the trace id in a `traceparent` of version `00`.
pub const TRACE_ID: std::ops::Range<usize> = 3..35;

/// The flags that the standard defines: `sampled` (level 1) and `random-trace-id` (level 2).
/// Section 4.3 forbids passing on any other.
const KNOWN_FLAGS: u8 = 0b11;

/// The longest accepted `traceparent`. Version `00` has 55 bytes; later versions may append fields.
const MAX_TRACEPARENT_BYTES: usize = 256;

/// A trace that a request or call belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    trace_id: TraceId,
    flags: u8,
}

impl TraceContext {
    /// The start of a new trace that is not sampled. A `trace_id` of zero, which the standard
    /// forbids, becomes one.
    #[must_use]
    pub const fn new(trace_id: u128) -> Self {
        Self { trace_id: TraceId(if trace_id == 0 { 1 } else { trace_id }), flags: 0 }
    }

    /// Reads the `traceparent` of these headers. Returns `None` if it is missing, repeated or
    /// malformed; the receiver then starts a new trace.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// Parses a `traceparent` value. As the standard requires, fields that versions after `00`
    /// append are ignored, and unknown flags are cleared.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let text = traceparent.trim_matches([' ', '\t']);
        if text.len() > MAX_TRACEPARENT_BYTES {
            return None;
        }
        let mut fields = text.splitn(5, '-');
        let version = lower_hex(fields.next()?, 2)?;
        let trace_id = lower_hex(fields.next()?, 32)?;
        let parent_id = lower_hex(fields.next()?, 16)?;
        let flags = u8::try_from(lower_hex(fields.next()?, 2)?).ok()?;
        let has_more_fields = fields.next().is_some();
        if version == 0xff || (version == 0 && has_more_fields) || trace_id == 0 || parent_id == 0 {
            return None;
        }
        Some(Self { trace_id: TraceId(trace_id), flags: flags & KNOWN_FLAGS })
    }

    /// The id that every part of the trace shares.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The `traceparent` to send from the span `parent_id`, which must not be zero.
    #[must_use]
    pub fn traceparent(&self, parent_id: u64) -> HeaderValue {
        let mut text = *b"00-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
        text[TRACE_ID].copy_from_slice(hex::digits(self.trace_id.0.to_be_bytes()).as_flattened());
        text[36..52].copy_from_slice(hex::digits(parent_id.to_be_bytes()).as_flattened());
        text[53..].copy_from_slice(hex::digits([self.flags]).as_flattened());
        HeaderValue::from_bytes(&text).expect("hexadecimal digits make a header value")
    }
}

/// The id of a trace; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceId(u128);

impl TraceId {
    /// The id as a number; never zero.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Exactly `digits` lower-case hexadecimal digits; the standard allows no others.
fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let is_valid =
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_valid { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{TRACEPARENT, TraceContext};

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn passes_on_the_trace_and_its_flags_but_not_the_callers_span() {
        let trace = TraceContext::parse(&format!("00-{TRACE_ID}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(trace.trace_id().to_string(), TRACE_ID);
        assert_eq!(trace.traceparent(0xab), format!("00-{TRACE_ID}-00000000000000ab-01"));
    }

    #[test]
    fn clears_flags_that_the_standard_does_not_define() {
        for (received, sent) in
            [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("04", "00"), ("ff", "03")]
        {
            for version in ["00", "01", "cc"] {
                let text = format!("{version}-{TRACE_ID}-00f067aa0ba902b7-{received}");
                let trace = TraceContext::parse(&text).unwrap();
                let expected = format!("00-{TRACE_ID}-00000000000000ab-{sent}");
                assert_eq!(trace.traceparent(0xab), expected, "{text}");
            }
        }
    }

    #[test]
    fn ignores_the_fields_that_a_later_version_appends() {
        let later = TraceContext::parse(&format!("01-{TRACE_ID}-00f067aa0ba902b7-00-more-fields"));
        assert_eq!(later, TraceContext::parse(&format!("00-{TRACE_ID}-00f067aa0ba902b7-00")));
        assert!(later.is_some());
    }

    #[test]
    fn refuses_malformed_values() {
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("ff-{TRACE_ID}-00f067aa0ba902b7-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{TRACE_ID}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE_ID.to_uppercase()),
            format!("00-{TRACE_ID}-00F067AA0BA902B7-01"),
            format!("0A-{TRACE_ID}-00f067aa0ba902b7-01"),
            format!("00-{TRACE_ID}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE_ID}-00f067aa0ba902b7-01-"),
            format!("00-{TRACE_ID}-00f067aa0ba902b7-0"),
            format!("00-{TRACE_ID}-00f067aa0ba902b7-011"),
            format!("01-{TRACE_ID}-00f067aa0ba902b7-01.more"),
            format!("00-{TRACE_ID}-00f067aa0ba902b7"),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE_ID[1..]),
            format!("0-{TRACE_ID}-00f067aa0ba902b7-01"),
            format!("01-{TRACE_ID}-00f067aa0ba902b7-01-{}", "x".repeat(256)),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn takes_exactly_one_header() {
        let value = HeaderValue::try_from(format!("00-{TRACE_ID}-00f067aa0ba902b7-01")).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::from_headers(&headers), None);
        headers.append(TRACEPARENT, value.clone());
        assert!(TraceContext::from_headers(&headers).is_some());
        headers.append(TRACEPARENT, value);
        assert_eq!(TraceContext::from_headers(&headers), None, "repeated");
    }
}
