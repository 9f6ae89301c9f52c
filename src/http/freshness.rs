//! The headers that say how true and how fresh an answer is; all of it read off the snapshot.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
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
    /// Every result, in the order of the discriminants.
    pub(super) const ALL: [Self; 4] = [Self::Hit, Self::Stale, Self::Miss, Self::Collapsed];

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

const COMPLETENESS: HeaderName = HeaderName::from_static("incident-completeness");
const SOURCES: HeaderName = HeaderName::from_static("incident-sources");
const UNATTRIBUTED: HeaderName = HeaderName::from_static("incident-unattributed");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the headers of every answer from one snapshot say at one moment.
#[derive(Debug)]
pub(super) struct FreshnessHeaders {
    completeness: HeaderValue,
    sources: HeaderValue,
    unattributed: HeaderValue,
    age: HeaderValue,
    cache_status: HeaderValue,
    cache_control: HeaderValue,
}

impl FreshnessHeaders {
    pub(super) fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let value = |text: String| {
            HeaderValue::try_from(text).expect("words and numbers make a header value")
        };
        let completeness = snapshot.completeness(now);
        let remaining = remaining(snapshot, now);
        let cache_control = if completeness == Completeness::Partial {
            // Not even for a while: a shared or private cache would pass it on as if it were whole.
            "private, max-age=0".to_owned()
        } else {
            let (revalidate, error) =
                (snapshot.policy.ttl.as_secs(), snapshot.policy.stale_for.as_secs());
            let max_age = remaining.max(0);
            format!(
                "private, max-age={max_age}, stale-while-revalidate={revalidate}, stale-if-error={error}"
            )
        };
        Self {
            completeness: HeaderValue::from_static(completeness.as_str()),
            sources: value(sources_field(snapshot, now)),
            unattributed: HeaderValue::from(snapshot.view.joined().unattributed().len()),
            age: HeaderValue::from(snapshot.age(now).unwrap_or_default().as_secs()),
            cache_status: value(format!("incident-gateway; hit; ttl={remaining}")),
            cache_control: value(cache_control),
        }
    }

    /// Puts on any answer, errors included, how true it is.
    pub(super) fn insert_state(&self, headers: &mut HeaderMap) {
        headers.insert(COMPLETENESS, self.completeness.clone());
        headers.insert(SOURCES, self.sources.clone());
        headers.insert(UNATTRIBUTED, self.unattributed.clone());
    }

    /// Puts on an answer made from the snapshot all there is to say.
    pub(super) fn insert_all(&self, headers: &mut HeaderMap, result: CacheResult) {
        self.insert_state(headers);
        headers.insert(header::AGE, self.age.clone());
        headers.insert(header::CACHE_CONTROL, self.cache_control.clone());
        let cache_status = match result {
            CacheResult::Hit | CacheResult::Stale => self.cache_status.clone(),
            CacheResult::Miss => HeaderValue::from_static("incident-gateway; fwd=miss"),
            CacheResult::Collapsed => {
                HeaderValue::from_static("incident-gateway; fwd=miss; collapsed")
            }
        };
        headers.insert(CACHE_STATUS, cache_status);
    }
}

/// For how long a description is good; all that changes in it counts whole seconds.
pub(super) const HEADERS_TTL: Duration = Duration::from_millis(50);

/// The last description, for the many requests of one moment.
#[derive(Debug, Default)]
pub(super) struct FreshnessHeadersCache(RwLock<Option<CachedHeaders>>);

#[derive(Clone, Debug)]
struct CachedHeaders {
    /// Weak, so that a snapshot goes when it is served no longer.
    snapshot: Weak<Snapshot>,
    at: Instant,
    description: Arc<FreshnessHeaders>,
}

impl FreshnessHeadersCache {
    /// That of a snapshot at `now`.
    pub(super) fn of(&self, snapshot: &Arc<Snapshot>, now: Instant) -> Arc<FreshnessHeaders> {
        let last = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Weak::as_ptr(&last.snapshot) == Arc::as_ptr(snapshot)
            && now.saturating_duration_since(last.at) < HEADERS_TTL
        {
            return Arc::clone(&last.description);
        }
        drop(last);
        let description = Arc::new(FreshnessHeaders::new(snapshot, now));
        let described = CachedHeaders {
            snapshot: Arc::downgrade(snapshot),
            at: now,
            description: Arc::clone(&description),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(described);
        description
    }
}

/// `Incident-Sources`: a structured-field list (RFC 9651) with an item a source.
fn sources_field(snapshot: &Snapshot, now: Instant) -> String {
    let mut list = ListSerializer::new();
    for source in snapshot.sources.iter() {
        // Configuration allows only names that are tokens.
        let Ok(name) = TokenRef::from_str(&source.name) else { continue };
        let state = snapshot.freshness(source, now);
        let mut item = list.bare_item(name).parameter(key_ref("state"), token(state.as_str()));
        if state != Freshness::Missing {
            let age = source.age(now).unwrap_or_default().as_secs();
            item = item
                .parameter(key_ref("age"), integer(age))
                .parameter(key_ref("records"), integer(source.records));
        }
        if let Some(error) = source.last_error.as_ref().filter(|_| state != Freshness::Fresh) {
            let _ = item.parameter(key_ref("error"), token(error.kind.as_str()));
        }
    }
    list.finish().unwrap_or_default()
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
    let waiting = snapshot
        .sources
        .iter()
        .filter(|source| snapshot.freshness(source, now) != Freshness::Fresh);
    let next = waiting.map(|source| {
        source.next_attempt.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    });
    next.min().unwrap_or_default().max(Duration::from_secs(1))
}
