//! The headers of snapshots of several ages, for both visibilities.

use std::time::SystemTime;

use crate::clock::FetchTime;
use crate::join::join;
use crate::snapshot::{Policy, SourceStatus, View};
use crate::sources::PerSource;

use super::*;

const POLICY: Policy =
    Policy::of_ttl(Duration::from_secs(30), Duration::from_secs(10), Duration::from_hours(1));

/// A snapshot whose sources were fetched this many seconds ago, or never (`None`).
fn snapshot(identities: Option<f64>, incidents: &[Option<f64>]) -> Snapshot {
    let now = SystemTime::now();
    let fetched = |age: f64| {
        let age = Duration::from_secs_f64(age);
        FetchTime::stored(now - age, age, Instant::now())
    };
    let status = |age: Option<f64>| SourceStatus {
        fetched_at: age.map(fetched),
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
    assert_eq!(retry_after(&snapshot, now), Duration::from_secs(5), "fresh sources do not count");
}
