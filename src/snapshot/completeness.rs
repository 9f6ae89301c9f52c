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

/// The ages at which the data of a source becomes stale and missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// How old fresh data may be before it is refreshed (`every`, or `cache.ttl`).
    pub ttl: Duration,
    /// How much longer it counts as fresh while a refresh is under way.
    pub grace: Duration,
    /// How old served data may be.
    pub stale_for: Duration,
}

impl Policy {
    /// The policy of a source of one page that is asked every `cache.ttl`: its data is refreshed
    /// within the deadline of one call.
    #[must_use]
    pub const fn of_ttl(ttl: Duration, timeout: Duration, stale_for: Duration) -> Self {
        Self { ttl, grace: timeout, stale_for }
    }

    /// The policy of a source with an interval of its own, or with several pages, which may take
    /// long: its data stays fresh when one refresh is late.
    #[must_use]
    pub const fn of_every(every: Duration, timeout: Duration, stale_for: Duration) -> Self {
        Self {
            ttl: every,
            grace: every.saturating_add(timeout),
            stale_for: every.saturating_add(stale_for),
        }
    }

    /// When data is too old to be fresh; `None` if that is too far in the future.
    #[must_use]
    pub fn stale_at(&self, fetched_at: FetchTime) -> Option<Instant> {
        // Data is stale only when it is older than this.
        let fresh_age = self.ttl.saturating_add(self.grace);
        fetched_at.instant_of_age(fresh_age.saturating_add(Duration::from_millis(1)))
    }

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

    #[tokio::test(start_paused = true)]
    async fn freshness_follows_the_interval_of_a_source() {
        let seconds = Duration::from_secs;
        let policy = Policy::of_every(seconds(300), seconds(10), seconds(3600));
        let (fetched_at, start) = (FetchTime::now(&WallClock::system()), Instant::now());
        let at = |age, failures| policy.freshness(Some(fetched_at), failures, start + seconds(age));
        assert_eq!(at(610, 0), Freshness::Fresh);
        assert_eq!(at(611, 0), Freshness::Stale);
        assert_eq!(at(1, 1), Freshness::Stale);
        assert_eq!(at(3900, 0), Freshness::Stale);
        assert_eq!(at(3901, 0), Freshness::Missing);
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
