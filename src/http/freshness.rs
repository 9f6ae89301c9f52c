//! The headers that say how true and how fresh an answer is; all of it read off the snapshot.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use sfv::{Integer, ListSerializer, TokenRef, key_ref};
use tokio::time::Instant;

use super::problem::ProblemSource;
use crate::snapshot::{Completeness, Freshness, Snapshot};

/// Where the data of an answer came from, as `Cache-Status` and the metrics say it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CacheResult {
    /// Data that was there, within its `ttl`.
    Hit,
    /// Data that was there and is older than its `ttl`; a refresh is behind it.
    Stale,
    /// There was none.
    Miss,
    /// The request waited on a refresh that was under way.
    Collapsed,
}

impl CacheResult {
    /// The `result` label of `incident_gateway_cache_requests_total`.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
        }
    }
}

/// What is left of the `ttl` of the oldest data in the snapshot; negative once it is past.
fn remaining(snapshot: &Snapshot, now: Instant) -> i64 {
    let (age, ttl) = (snapshot.age(now).unwrap_or_default(), snapshot.policy.ttl);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match ttl.checked_sub(age) {
        Some(left) => seconds(left),
        // Rounded away from zero, so that data past its ttl never looks as if it were just within.
        None => -seconds(age.saturating_sub(ttl) + Duration::from_nanos(999_999_999)),
    }
}

/// How the cache met a request that was given this snapshot.
#[must_use]
pub(super) fn cache_result(snapshot: &Snapshot, waited: bool, now: Instant) -> CacheResult {
    if waited {
        CacheResult::Collapsed
    } else if !snapshot.has_data() {
        CacheResult::Miss
    } else if remaining(snapshot, now) < 0 {
        CacheResult::Stale
    } else {
        CacheResult::Hit
    }
}

/// Puts the headers on any answer, errors included, that say how true it is.
pub(super) fn describe_state(headers: &mut HeaderMap, snapshot: &Snapshot, now: Instant) {
    headers.insert("incident-completeness", HeaderValue::from_static(snapshot.completeness(now).as_str()));
    if let Some(sources) = sources_field(snapshot, now) {
        headers.insert("incident-sources", sources);
    }
}

/// Puts the headers on an answer made from a snapshot.
pub(super) fn describe(headers: &mut HeaderMap, snapshot: &Snapshot, result: CacheResult, now: Instant) {
    describe_state(headers, snapshot, now);
    let completeness = snapshot.completeness(now);
    let remaining = remaining(snapshot, now);
    headers.insert("incident-unattributed", HeaderValue::from(snapshot.view.joined().unattributed().len()));
    headers.insert(header::AGE, HeaderValue::from(snapshot.age(now).unwrap_or_default().as_secs()));
    let cache_status = match result {
        CacheResult::Hit | CacheResult::Stale => format!("incident-gateway; hit; ttl={remaining}"),
        CacheResult::Miss => "incident-gateway; fwd=miss".to_owned(),
        CacheResult::Collapsed => "incident-gateway; fwd=miss; collapsed".to_owned(),
    };
    let cache_control = if completeness == Completeness::Partial {
        // Not even for a while: a shared or private cache would pass it on as if it were whole.
        "private, max-age=0".to_owned()
    } else {
        let (revalidate, error) = (snapshot.policy.ttl.as_secs(), snapshot.policy.stale_for.as_secs());
        let max_age = remaining.max(0);
        format!("private, max-age={max_age}, stale-while-revalidate={revalidate}, stale-if-error={error}")
    };
    for (name, value) in [("cache-status", cache_status), ("cache-control", cache_control)] {
        headers.insert(name, HeaderValue::try_from(value).expect("words and numbers make a header value"));
    }
}

/// `Incident-Sources`: a structured-field list (RFC 9651) with an item a source.
fn sources_field(snapshot: &Snapshot, now: Instant) -> Option<HeaderValue> {
    let mut list = ListSerializer::new();
    for source in snapshot.sources.iter() {
        // Configuration allows only names that are tokens.
        let Ok(name) = TokenRef::from_str(&source.name) else { continue };
        let state = snapshot.freshness(source, now);
        let mut item = list.bare_item(name).parameter(key_ref("state"), token(state.as_str()));
        if state != Freshness::Missing {
            let age = source.age(now).unwrap_or_default().as_secs();
            item = item.parameter(key_ref("age"), integer(age)).parameter(key_ref("records"), integer(source.records));
        }
        if let Some(error) = source.last_error.as_ref().filter(|_| state != Freshness::Fresh) {
            let _ = item.parameter(key_ref("error"), token(error.kind.as_str()));
        }
    }
    HeaderValue::try_from(list.finish()?).ok()
}

fn token(word: &'static str) -> &'static TokenRef {
    TokenRef::from_str(word).expect("our own words are tokens")
}

fn integer(number: impl TryInto<i64>) -> Integer {
    number.try_into().ok().and_then(|number| Integer::try_from(number).ok()).unwrap_or(Integer::MAX)
}

/// The sources that are not fresh, for a problem.
#[must_use]
pub(super) fn problem_sources(snapshot: &Snapshot, now: Instant) -> Vec<ProblemSource> {
    let states = snapshot.sources.iter().map(|source| (source, snapshot.freshness(source, now)));
    states
        .filter(|(_, state)| *state != Freshness::Fresh)
        .map(|(source, state)| ProblemSource {
            name: source.name.to_string(),
            state: state.as_str(),
            error: source.last_error.as_ref().map(|error| error.kind.as_str()),
        })
        .collect()
}

/// When asking again may find more: at the next attempt at a source that is not fresh.
#[must_use]
pub(super) fn retry_after(snapshot: &Snapshot, now: Instant) -> Duration {
    let waiting = snapshot.sources.iter().filter(|source| snapshot.freshness(source, now) != Freshness::Fresh);
    let next = waiting.map(|source| source.next_attempt.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)));
    next.min().unwrap_or_default().max(Duration::from_secs(1))
}
