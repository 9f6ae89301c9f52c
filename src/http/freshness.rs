//! The headers that state how complete and how fresh a response is, computed from its snapshot.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sfv::{Integer, ListSerializer, TokenRef, key_ref};
use tokio::time::Instant;

use super::problem::ProblemSource;
use super::visibility::Visibility;
use crate::snapshot::{Completeness, Freshness, Snapshot};

/// How a request was served from cached data, as reported by `Cache-Status` and the metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CacheResult {
    /// With data within its `ttl`.
    Hit,
    /// With data older than its `ttl`, while a refresh is in progress.
    Stale,
    /// There was no data.
    Miss,
    /// The request waited for a refresh that was in progress.
    Collapsed,
}

impl CacheResult {
    /// All results, ordered by discriminant.
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

/// The seconds until the first source's data exceeds its `ttl`; negative after that.
fn remaining_ttl_seconds(snapshot: &Snapshot, now: Instant) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let remaining = snapshot.sources.iter().map(|source| {
        let (age, ttl) = (source.age(now).unwrap_or_default(), source.policy.ttl);
        match ttl.checked_sub(age) {
            Some(left) => seconds(left),
            // Rounded away from zero, so that expired data never has a remaining ttl of 0.
            None => -seconds(age.saturating_sub(ttl) + Duration::from_nanos(999_999_999)),
        }
    });
    remaining.min().unwrap_or_default()
}

/// The windows of RFC 5861, in seconds.
struct StaleWindows {
    while_revalidate: u64,
    if_error: u64,
}

impl StaleWindows {
    /// The windows that begin when `remaining` seconds have passed. They end before the data of any
    /// source is too old to be served.
    fn new(snapshot: &Snapshot, remaining: u64, now: Instant) -> Self {
        let with_data =
            || snapshot.sources.iter().filter_map(|source| Some((source, source.age(now)?)));
        let servable = with_data()
            .map(|(source, age)| source.policy.stale_for.as_secs().saturating_sub(age.as_secs()));
        let if_error = servable.min().unwrap_or_default().saturating_sub(remaining);
        let shortest_ttl = snapshot.sources.iter().map(|source| source.policy.ttl.as_secs()).min();
        Self { while_revalidate: shortest_ttl.unwrap_or_default().min(if_error), if_error }
    }
}

/// The cache result of a request that is served from this snapshot.
#[must_use]
pub(super) fn cache_result(snapshot: &Snapshot, waited: bool, now: Instant) -> CacheResult {
    if waited {
        CacheResult::Collapsed
    } else if !snapshot.has_data() {
        CacheResult::Miss
    } else if remaining_ttl_seconds(snapshot, now) < 0 {
        CacheResult::Stale
    } else {
        CacheResult::Hit
    }
}

const COMPLETENESS: HeaderName = HeaderName::from_static("incident-completeness");
const SOURCES: HeaderName = HeaderName::from_static("incident-sources");
const UNATTRIBUTED: HeaderName = HeaderName::from_static("incident-unattributed");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// `Cache-Control` for data that is `age` seconds old and has `remaining` seconds of its `ttl`
/// left.
///
/// Clients subtract `Age` from `max-age` (RFC 9111, section 4.2), so `max-age` includes it. The
/// windows of RFC 5861 begin where `max-age` ends.
fn cache_control(snapshot: &Snapshot, age: u64, remaining: i64, now: Instant) -> String {
    let remaining = u64::try_from(remaining).unwrap_or(0);
    let StaleWindows { while_revalidate, if_error } = StaleWindows::new(snapshot, remaining, now);
    let max_age = age + remaining;
    format!(
        "private, max-age={max_age}, stale-while-revalidate={while_revalidate}, \
         stale-if-error={if_error}"
    )
}

/// The freshness headers of all responses made from one snapshot at one time for one visibility.
#[derive(Debug)]
pub(super) struct FreshnessHeaders {
    completeness: HeaderValue,
    sources: HeaderValue,
    /// `None` where the caller may not see everything.
    unattributed: Option<HeaderValue>,
    age: HeaderValue,
    cache_status: HeaderValue,
    cache_control: HeaderValue,
}

impl FreshnessHeaders {
    /// The headers for a visibility: counts of all records only where all may be seen.
    pub(super) fn new(snapshot: &Snapshot, now: Instant, visibility: &Visibility) -> Self {
        let has_counts = visibility.is_everything();
        let value = |text: String| {
            HeaderValue::try_from(text).expect("words and numbers make a header value")
        };
        let completeness = snapshot.completeness(now);
        let remaining = remaining_ttl_seconds(snapshot, now);
        let age = snapshot.age(now).unwrap_or_default().as_secs();
        let cache_control = if completeness == Completeness::Partial {
            // A cache that stored a partial response would serve it as if it were complete.
            "private, max-age=0".to_owned()
        } else {
            cache_control(snapshot, age, remaining, now)
        };
        Self {
            completeness: HeaderValue::from_static(completeness.as_str()),
            sources: value(sources_field(snapshot, now, has_counts)),
            unattributed: has_counts
                .then(|| HeaderValue::from(snapshot.view.index().unattributed().len())),
            age: HeaderValue::from(age),
            cache_status: value(format!("incident-gateway; hit; ttl={remaining}")),
            cache_control: value(cache_control),
        }
    }

    /// Inserts the headers of every response, errors included: how complete the data is.
    pub(super) fn insert_state(&self, headers: &mut HeaderMap) {
        headers.insert(COMPLETENESS, self.completeness.clone());
        headers.insert(SOURCES, self.sources.clone());
        if let Some(unattributed) = &self.unattributed {
            headers.insert(UNATTRIBUTED, unattributed.clone());
        }
    }

    /// Inserts the headers of a successful response: completeness, age and caching.
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

/// How long computed headers are reused. Their values change only with whole seconds.
pub(super) const HEADERS_TTL: Duration = Duration::from_millis(50);

/// The last computed headers, shared by the many requests within [`HEADERS_TTL`]. Those with counts
/// of all records and those without are cached apart.
#[derive(Debug, Default)]
pub(super) struct FreshnessHeadersCache {
    with_counts: RwLock<Option<CachedHeaders>>,
    without_counts: RwLock<Option<CachedHeaders>>,
}

#[derive(Clone, Debug)]
struct CachedHeaders {
    /// Weak, so that a superseded snapshot is not kept in memory.
    snapshot: Weak<Snapshot>,
    computed_at: Instant,
    headers: Arc<FreshnessHeaders>,
}

impl FreshnessHeadersCache {
    /// The headers for a snapshot at `now` and a visibility, computed unless they are cached.
    pub(super) fn get_or_compute(
        &self,
        snapshot: &Arc<Snapshot>,
        now: Instant,
        visibility: &Visibility,
    ) -> Arc<FreshnessHeaders> {
        let slot =
            if visibility.is_everything() { &self.with_counts } else { &self.without_counts };
        let last = slot.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Weak::as_ptr(&last.snapshot) == Arc::as_ptr(snapshot)
            && now.saturating_duration_since(last.computed_at) < HEADERS_TTL
        {
            return Arc::clone(&last.headers);
        }
        drop(last);
        let headers = Arc::new(FreshnessHeaders::new(snapshot, now, visibility));
        let cached = CachedHeaders {
            snapshot: Arc::downgrade(snapshot),
            computed_at: now,
            headers: Arc::clone(&headers),
        };
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        headers
    }
}

/// `Incident-Sources`: a structured-field list (RFC 9651) with one item for each source, with or
/// without the number of its records.
fn sources_field(snapshot: &Snapshot, now: Instant, has_counts: bool) -> String {
    let mut list = ListSerializer::new();
    for source in snapshot.sources.iter() {
        // Cannot fail: configuration allows only names that are tokens.
        let Ok(name) = TokenRef::from_str(&source.name) else { continue };
        let state = source.freshness(now);
        let mut item = list.bare_item(name).parameter(key_ref("state"), token(state.as_str()));
        if state != Freshness::Missing {
            let age = source.age(now).unwrap_or_default().as_secs();
            item = item.parameter(key_ref("age"), integer(age));
            if has_counts {
                item = item.parameter(key_ref("records"), integer(source.records));
            }
        }
        if let Some(error) = source.last_error.as_ref().filter(|_| state != Freshness::Fresh) {
            let _ = item.parameter(key_ref("error"), token(error.kind.as_str()));
        }
    }
    list.finish().unwrap_or_default()
}

fn token(word: &'static str) -> &'static TokenRef {
    TokenRef::from_str(word).expect("names of states and errors are tokens")
}

fn integer(number: impl TryInto<i64>) -> Integer {
    number.try_into().ok().and_then(|number| Integer::try_from(number).ok()).unwrap_or(Integer::MAX)
}

/// The sources that are not fresh, as members of a problem document.
#[must_use]
pub(super) fn problem_sources(snapshot: &Snapshot, now: Instant) -> Vec<ProblemSource> {
    let states = snapshot.sources.iter().map(|source| (source, source.freshness(now)));
    states
        .filter(|(_, state)| *state != Freshness::Fresh)
        .map(|(source, state)| ProblemSource {
            name: source.name.to_string(),
            state: state.as_str(),
            error: source.last_error.as_ref().map(|error| error.kind.as_str()),
        })
        .collect()
}

/// The time until a retry may succeed: until the next attempt to fetch a source that is not fresh.
#[must_use]
pub(super) fn retry_after(snapshot: &Snapshot, now: Instant) -> Duration {
    let not_fresh =
        snapshot.sources.iter().filter(|source| source.freshness(now) != Freshness::Fresh);
    let next = not_fresh.map(|source| {
        source.next_attempt.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    });
    next.min().unwrap_or_default().max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
