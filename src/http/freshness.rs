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
mod tests {
    use std::time::SystemTime;

    use crate::clock::{FetchTime, WallClock};
    use crate::join::join;
    use crate::snapshot::{Policy, SourceStatus, View};
    use crate::sources::PerSource;

    use super::*;

    const POLICY: Policy =
        Policy::of_ttl(Duration::from_secs(30), Duration::from_secs(10), Duration::from_hours(1));

    /// A snapshot whose sources were fetched this many seconds ago, or never (`None`).
    fn snapshot(identities: Option<f64>, incidents: &[Option<f64>]) -> Snapshot {
        let now = SystemTime::now();
        let clock = WallClock::new(move || now);
        let status = |age: Option<f64>| SourceStatus {
            fetched_at: age
                .map(|age| FetchTime::restored(now - Duration::from_secs_f64(age), &clock)),
            ..SourceStatus::new("source".into(), POLICY)
        };
        Snapshot {
            view: Arc::new(View::new(1, [].into(), [].into(), join(&[], &[]))),
            sources: Arc::new(PerSource::new(
                [status(identities)],
                incidents.iter().map(|age| status(*age)),
            )),
            had_data: false,
        }
    }

    fn headers(snapshot: &Snapshot, result: CacheResult) -> HeaderMap {
        let mut headers = HeaderMap::new();
        FreshnessHeaders::new(snapshot, Instant::now(), &Visibility::Everything)
            .insert_all(&mut headers, result);
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn max_age_includes_the_age() {
        for (age, expected_age, expected) in [
            (0.0, "0", "private, max-age=30, stale-while-revalidate=30, stale-if-error=3570"),
            (12.5, "12", "private, max-age=29, stale-while-revalidate=30, stale-if-error=3571"),
            (30.0, "30", "private, max-age=30, stale-while-revalidate=30, stale-if-error=3570"),
            (44.2, "44", "private, max-age=44, stale-while-revalidate=30, stale-if-error=3556"),
            (3590.0, "3590", "private, max-age=3590, stale-while-revalidate=10, stale-if-error=10"),
        ] {
            let headers = headers(&snapshot(Some(0.0), &[Some(age)]), CacheResult::Hit);
            assert_eq!(headers["age"], expected_age);
            assert_eq!(headers["cache-control"], expected, "{age}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partial_response_may_not_be_stored() {
        let headers = headers(&snapshot(Some(3.0), &[None]), CacheResult::Collapsed);
        assert_eq!(headers["cache-control"], "private, max-age=0");
        assert_eq!(headers["incident-completeness"], "partial");
        assert_eq!(
            headers["incident-sources"],
            "source;state=fresh;age=3;records=0, source;state=missing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cache_status_states_the_cache_result() {
        for (age, result, expected) in [
            (9.0, CacheResult::Hit, "incident-gateway; hit; ttl=21"),
            (44.0, CacheResult::Stale, "incident-gateway; hit; ttl=-14"),
            (30.1, CacheResult::Stale, "incident-gateway; hit; ttl=-1"),
            (0.0, CacheResult::Miss, "incident-gateway; fwd=miss"),
            (0.0, CacheResult::Collapsed, "incident-gateway; fwd=miss; collapsed"),
        ] {
            assert_eq!(headers(&snapshot(Some(age), &[]), result)["cache-status"], expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn headers_are_reused_within_their_ttl_and_never_for_another_snapshot() {
        let now = Instant::now();
        let cache = FreshnessHeadersCache::default();
        let snapshot = |age| Arc::new(snapshot(Some(age), &[]));
        let (first, second) = (snapshot(1.0), snapshot(2.0));
        let get = |snapshot, now| cache.get_or_compute(snapshot, now, &Visibility::Everything);
        let headers = get(&first, now);
        let soon = now + HEADERS_TTL / 2;
        assert!(Arc::ptr_eq(&headers, &get(&first, soon)));
        assert!(!Arc::ptr_eq(&headers, &get(&first, now + HEADERS_TTL)));
        assert_eq!(get(&second, soon).age, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn headers_for_one_employee_have_no_counts_and_are_never_mixed_with_others() {
        let (cache, now) = (FreshnessHeadersCache::default(), Instant::now());
        let snapshot = Arc::new(snapshot(Some(1.0), &[Some(2.0), None]));
        let own = Visibility::Employee("7".into());
        for _ in 0..2 {
            for (visibility, sources, unattributed) in [
                (
                    &Visibility::Everything,
                    "source;state=fresh;age=1;records=0, source;state=fresh;age=2;records=0, \
                     source;state=missing",
                    Some("0"),
                ),
                (
                    &own,
                    "source;state=fresh;age=1, source;state=fresh;age=2, source;state=missing",
                    None,
                ),
            ] {
                let mut headers = HeaderMap::new();
                cache.get_or_compute(&snapshot, now, visibility).insert_state(&mut headers);
                assert_eq!(headers["incident-sources"], sources);
                let given = headers.get("incident-unattributed");
                assert_eq!(given.map(|value| value.to_str().unwrap()), unattributed);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_the_time_of_the_next_attempt() {
        let now = Instant::now();
        let mut snapshot = snapshot(Some(1.0), &[None, None]);
        let mut sources = PerSource::clone(&snapshot.sources);
        for (source, seconds) in sources.iter_mut().zip([2, 9, 5]) {
            source.next_attempt = Some(now + Duration::from_secs(seconds));
        }
        snapshot.sources = Arc::new(sources);
        assert_eq!(
            retry_after(&snapshot, now),
            Duration::from_secs(5),
            "fresh sources do not count"
        );
    }
}
