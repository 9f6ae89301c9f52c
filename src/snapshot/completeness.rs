//! The only definition of fresh, stale and missing sources, and of complete, stale and partial
//! answers.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::FetchTime;

/// How fresh the data of a source is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// The last refresh succeeded, and is recent enough.
    Fresh,
    /// The last good data is used, because its refresh failed or is overdue.
    Stale,
    /// There is no data, or it is older than `cache.stale_for`.
    Missing,
}

impl Freshness {
    /// The word that headers, `/sources`, events and pages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// How complete an answer from all sources is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Completeness {
    /// Every source is fresh.
    Complete,
    /// No source is missing, but at least one has older data.
    Stale,
    /// At least one source is missing.
    Partial,
}

impl Completeness {
    /// The value of `Incident-Completeness`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }

    /// The completeness of an answer made of sources in these states.
    pub fn of(sources: impl IntoIterator<Item = Freshness>) -> Self {
        sources.into_iter().fold(Self::Complete, |answer, source| match (answer, source) {
            (Self::Partial, _) | (_, Freshness::Missing) => Self::Partial,
            (Self::Stale, _) | (_, Freshness::Stale) => Self::Stale,
            (Self::Complete, Freshness::Fresh) => Self::Complete,
        })
    }
}

/// The ages at which data becomes stale and missing.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How old fresh data may be before it is refreshed (`cache.ttl`).
    pub ttl: Duration,
    /// How much longer it counts as fresh while a refresh is under way: the deadline of one call
    /// (`upstream.timeout`).
    pub grace: Duration,
    /// How old served data may be (`cache.stale_for`).
    pub stale_for: Duration,
}

impl Policy {
    /// The state at `now` of data fetched at `fetched_at`, when the last `failures` attempts to
    /// refresh it failed.
    #[must_use]
    pub fn freshness(
        &self,
        fetched_at: Option<FetchTime>,
        failures: u32,
        now: Instant,
    ) -> Freshness {
        let Some(age) = fetched_at.map(|fetched_at| fetched_at.age(now)) else {
            return Freshness::Missing;
        };
        if age > self.stale_for {
            Freshness::Missing
        } else if failures > 0 || age > self.ttl + self.grace {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallClock;

    #[tokio::test(start_paused = true)]
    async fn a_source_is_fresh_until_its_refresh_fails_and_stale_until_stale_for() {
        let policy = Policy {
            ttl: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            stale_for: Duration::from_hours(1),
        };
        let (fetched_at, start) = (FetchTime::now(&WallClock::system()), Instant::now());
        let at = |age, failures| {
            policy.freshness(Some(fetched_at), failures, start + Duration::from_secs(age))
        };
        assert_eq!(at(0, 0), Freshness::Fresh);
        assert_eq!(at(40, 0), Freshness::Fresh);
        assert_eq!(at(41, 0), Freshness::Stale);
        assert_eq!(at(5, 1), Freshness::Stale);
        assert_eq!(at(3600, 9), Freshness::Stale);
        assert_eq!(at(3601, 9), Freshness::Missing);
        assert_eq!(policy.freshness(None, 0, start), Freshness::Missing);
    }

    #[test]
    fn the_worst_source_decides() {
        use Freshness::{Fresh, Missing, Stale};
        assert_eq!(Completeness::of([Fresh, Fresh]), Completeness::Complete);
        assert_eq!(Completeness::of([Fresh, Stale]), Completeness::Stale);
        assert_eq!(Completeness::of([Missing, Stale, Fresh]), Completeness::Partial);
        assert_eq!(Completeness::of([Stale, Missing]), Completeness::Partial);
    }
}
