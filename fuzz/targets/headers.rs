//! Reading what callers prefer, and their trace.
#![no_main]

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use incident_gateway::http::Preferences;
use incident_gateway::http::negotiate::{coding, format};
use incident_gateway::trace_context::TraceContext;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for value in lines {
        if let Some(trace) = value.to_str().ok().and_then(TraceContext::parse) {
            let passed_on = trace.traceparent(1);
            let again = passed_on
                .to_str()
                .ok()
                .and_then(TraceContext::parse)
                .expect("what is passed on is well-formed");
            assert_eq!(again.trace_id(), trace.trace_id());
        }
        for name in [ACCEPT, ACCEPT_ENCODING, HeaderName::from_static("prefer")] {
            headers.append(name, value.clone());
        }
    }
    let preferences = Preferences::from_headers(&headers);
    if let Some(applied) = preferences.applied() {
        let value = HeaderValue::try_from(applied).expect("a header's value");
        let again = HeaderMap::from_iter([(HeaderName::from_static("prefer"), value)]);
        assert_eq!(
            Preferences::from_headers(&again),
            preferences,
            "what is said to be applied is what was asked for"
        );
    }
    let _ = coding(&headers);
    let _ = format(&headers);
});
