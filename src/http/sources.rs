//! `/sources`: how fresh each source is, and why.

use std::time::SystemTime;

use http::Response;
use http::header::{self, HeaderValue};
use serde::Serialize;
use tokio::time::Instant;

use super::Gateway;
use super::body::Body;
use crate::sources::SourceId;

#[derive(Serialize)]
struct Document<'a> {
    completeness: &'static str,
    concurrency: Concurrency,
    sources: Vec<Source<'a>>,
}

#[derive(Serialize)]
struct Concurrency {
    limit: usize,
    in_flight: usize,
}

#[derive(Serialize)]
struct Source<'a> {
    name: &'a str,
    state: &'static str,
    age_seconds: Option<f64>,
    records: usize,
    bytes: usize,
    /// Absent for the identity table, which has no pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    last_success: Option<String>,
    last_attempt: Option<String>,
    last_duration_seconds: Option<f64>,
    last_error: Option<String>,
    consecutive_failures: u32,
    breaker: &'static str,
}

impl Gateway {
    /// `GET /sources`
    pub(super) fn sources(&self) -> Response<Body> {
        let (snapshot, now) = (self.snapshot(), Instant::now());
        let load = self.upstream.load();
        let sources = snapshot.sources.entries().map(|(id, source)| Source {
            name: &source.name,
            state: snapshot.freshness(source, now).as_str(),
            age_seconds: source.age(now).map(|age| milliseconds(age.as_secs_f64())),
            records: source.records,
            bytes: source.bytes,
            truncated: matches!(id, SourceId::Incidents(_)).then_some(source.truncated),
            last_success: source.last_success.and_then(rfc3339),
            last_attempt: source.last_attempt.and_then(rfc3339),
            last_duration_seconds: source
                .last_duration
                .map(|duration| milliseconds(duration.as_secs_f64())),
            last_error: source
                .last_error
                .as_ref()
                .map(|error| format!("{}: {}", error.kind, error.detail)),
            consecutive_failures: source.consecutive_failures,
            breaker: self.upstream.breaker_state(snapshot.sources.position(id)).as_str(),
        });
        let document = Document {
            completeness: snapshot.completeness(now).as_str(),
            concurrency: Concurrency { limit: load.limit, in_flight: load.in_flight },
            sources: sources.collect(),
        };
        let body = serde_json::to_vec(&document).expect("the document has no keys that JSON lacks");
        let mut response = Response::new(Body::full(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Rounds seconds to milliseconds.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

fn rfc3339(time: SystemTime) -> Option<String> {
    let timestamp = jiff::Timestamp::try_from(time).ok()?;
    Some(format!("{timestamp:.3}"))
}
