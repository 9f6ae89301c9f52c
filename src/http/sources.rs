//! `/sources`: how fresh each source is, and why.
//!
//! Callers who may not see everything get no figure that tells how many records there are, and
//! nothing that is taken from records.

use std::sync::Arc;
use std::time::SystemTime;

use http::Response;
use http::header::{self, HeaderValue};
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::Gateway;
use super::body::Body;
use super::context::Context;
use crate::forward::ForwardStatus;
use crate::snapshot::SourceStatus;
use crate::sources::SourceId;
use crate::store::StoreHandle;
use crate::upstream::BreakerState;

#[derive(Serialize)]
struct Document<'a> {
    completeness: &'static str,
    concurrency: Concurrency,
    sources: Vec<Source<'a>>,
    /// `None` without a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreStatus>,
    /// `None` where none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwards: Option<Vec<Forward<'a>>>,
}

#[derive(Serialize)]
struct Concurrency {
    limit: usize,
    in_flight: usize,
}

#[derive(Serialize)]
struct Source<'a> {
    name: &'a str,
    /// `None` for files.
    upstream: Option<&'a str>,
    state: &'static str,
    age_seconds: Option<f64>,
    #[serde(flatten)]
    size: Option<Size>,
    #[serde(flatten)]
    findings: Option<Findings<'a>>,
    last_success: Option<String>,
    last_attempt: Option<String>,
    next_attempt: Option<String>,
    last_duration_seconds: Option<f64>,
    last_error: Option<String>,
    consecutive_failures: u32,
    /// `None` for files, which have no circuit breaker.
    breaker: Option<&'static str>,
}

#[derive(Serialize)]
struct StoreStatus {
    kind: &'static str,
    up: bool,
    #[serde(flatten)]
    details: Option<StoreDetails>,
}

/// What only those may see who may see everything.
#[derive(Serialize)]
struct StoreDetails {
    /// Whether this process refreshes and writes.
    leader: bool,
    /// `None` until they were counted.
    records: Option<u64>,
    last_error: Option<String>,
}

impl StoreStatus {
    fn new(store: &StoreHandle, has_details: bool, now: Instant) -> Self {
        let state = store.state();
        let details = has_details.then(|| StoreDetails {
            leader: state.role.epoch(now).is_some(),
            records: state.records,
            last_error: state.last_error().map(ToString::to_string),
        });
        Self { kind: store.store().kind(), up: state.is_up(), details }
    }
}

#[derive(Serialize)]
struct Forward<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(flatten)]
    details: Option<ForwardDetails<'a>>,
}

/// What only those may see who may see everything: figures tell how many records there are, and
/// errors have words of the receiver.
#[derive(Serialize)]
struct ForwardDetails<'a> {
    /// `None` until they were counted.
    lag: Option<u64>,
    sent: u64,
    dead_letters: u64,
    last_error: Option<&'a str>,
}

impl<'a> Forward<'a> {
    fn new(status: &'a ForwardStatus, has_details: bool) -> Self {
        let ForwardStatus { name, state, lag, sent, dead_letters, last_error } = status;
        let details = has_details.then_some(ForwardDetails {
            lag: *lag,
            sent: *sent,
            dead_letters: *dead_letters,
            last_error: last_error.as_deref(),
        });
        Self { name, state: state.as_str(), details }
    }
}

/// How much data a source has.
#[derive(Serialize)]
struct Size {
    records: usize,
    bytes: usize,
    pages: usize,
}

/// What was noticed in the data of an incident source, or of an identity table.
#[derive(Serialize)]
#[serde(untagged)]
enum Findings<'a> {
    Incidents { duplicates: usize, truncated: bool, unmapped: Unmapped<'a> },
    IncidentsWithoutCounts { truncated: bool },
    Table { conflicts: usize },
}

/// The priority values that map to nothing, and how many records have each.
struct Unmapped<'a>(&'a [(String, usize)]);

impl Serialize for Unmapped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(value, records)| (value, records)))
    }
}

impl<'a> Findings<'a> {
    fn new(id: SourceId, source: &'a SourceStatus, has_counts: bool) -> Option<Self> {
        match id {
            SourceId::Table(_) => has_counts.then_some(Self::Table { conflicts: source.conflicts }),
            SourceId::Incidents(_) if has_counts => Some(Self::Incidents {
                duplicates: source.duplicates,
                truncated: source.truncated,
                unmapped: Unmapped(&source.unmapped),
            }),
            SourceId::Incidents(_) => {
                Some(Self::IncidentsWithoutCounts { truncated: source.truncated })
            }
        }
    }
}

impl Gateway {
    /// `GET /sources`
    pub(super) fn sources(&self, context: &Context) -> Response<Body> {
        let has_counts = match context.visibility() {
            Ok(visibility) => visibility.is_everything(),
            Err(problem) => return problem.response(context.id(), &[]),
        };
        let (snapshot, now, wall) = (self.snapshot(), Instant::now(), SystemTime::now());
        let load = self.upstreams.load();
        let sources = snapshot.sources.entries().map(|(id, source)| Source {
            name: &source.name,
            upstream: source.upstream.as_deref(),
            state: source.freshness(now).as_str(),
            age_seconds: source.age(now).map(|age| milliseconds(age.as_secs_f64())),
            size: has_counts.then_some(Size {
                records: source.records,
                bytes: source.bytes,
                pages: source.pages,
            }),
            findings: Findings::new(id, source, has_counts),
            last_success: source.last_success.and_then(rfc3339),
            last_attempt: source.last_attempt.and_then(rfc3339),
            next_attempt: source
                .next_attempt
                // Another source of the upstream may have been told to wait meanwhile.
                .map(|at| at.max(self.waits_until(&source.name).unwrap_or(at)))
                .and_then(|at| rfc3339(wall + at.saturating_duration_since(now))),
            last_duration_seconds: source
                .last_duration
                .map(|duration| milliseconds(duration.as_secs_f64())),
            last_error: source.last_error.as_ref().map(|error| {
                // The detail of a wrong answer may tell its size.
                if has_counts {
                    format!("{}: {}", error.kind, error.detail)
                } else {
                    error.kind.to_string()
                }
            }),
            consecutive_failures: source.consecutive_failures,
            breaker: self.breaker_state(&source.name).map(BreakerState::as_str),
        });
        let forwards = self.forwards.as_ref().map(|forwards| Arc::clone(&forwards.borrow()));
        let forwards = forwards.as_deref().filter(|forwards| !forwards.is_empty());
        let document = Document {
            completeness: snapshot.completeness(now).as_str(),
            concurrency: Concurrency { limit: load.limit, in_flight: load.in_flight },
            sources: sources.collect(),
            store: self.store.as_ref().map(|store| StoreStatus::new(store, has_counts, now)),
            forwards: forwards.map(|forwards| {
                forwards.iter().map(|status| Forward::new(status, has_counts)).collect()
            }),
        };
        let body = serde_json::to_vec(&document).expect("the document has no keys that JSON lacks");
        let mut response = Response::new(Body::full(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What the clients of the upstreams know about a source of a snapshot. Just after a reload, the
/// snapshot may have other sources than they have.
impl Gateway {
    fn waits_until(&self, name: &str) -> Option<Instant> {
        self.upstreams.waits_until(self.upstreams.source(name)?)
    }

    fn breaker_state(&self, name: &str) -> Option<BreakerState> {
        self.upstreams.breaker_state(self.upstreams.source(name)?)
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
