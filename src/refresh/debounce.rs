//! Debounces publication: new data is published soon, together with data that follows at once.

use std::time::Duration;

use tokio::time::Instant;

/// New data is published once no more has come for this long.
pub(super) const QUIET_TIME: Duration = Duration::from_millis(50);

/// For large data, the quiet time for each byte: about what joining and rendering take, so that a
/// view is rarely superseded before it is published.
const QUIET_NANOS_PER_BYTE: u64 = 2;

/// New data waits no longer than this, even if more keeps coming.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// While data keeps coming, at most one part in this many of the time goes into publishing.
const TIME_PER_PUBLISH_TIME: u32 = 5;

/// When unpublished data came.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// The times of the first and the last unpublished data.
    first_and_last: Option<(Instant, Instant)>,
}

impl Debounce {
    /// New data came.
    pub(super) fn note(&mut self, now: Instant) {
        self.first_and_last.get_or_insert((now, now)).1 = now;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first_and_last.is_none()
    }

    /// All data is being published.
    pub(super) fn clear(&mut self) {
        self.first_and_last = None;
    }

    /// When to publish data of `bytes` in total; `cost` is how long the last publication took. If
    /// no call is under way that could bring more, that is at once.
    pub(super) fn due(&self, more_to_come: bool, bytes: usize, cost: Duration) -> Option<Instant> {
        let (first, last) = self.first_and_last?;
        let quiet_time = QUIET_TIME.max(Duration::from_nanos(bytes as u64 * QUIET_NANOS_PER_BYTE));
        let quiet_end = (last + quiet_time).min(first + MAX_WAIT);
        Some(if more_to_come {
            quiet_end.max(first + cost * (TIME_PER_PUBLISH_TIME - 1))
        } else {
            last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publication_waits_for_a_quiet_time_within_a_bound() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(true, 0, Duration::ZERO), None);
        for (comes, due) in [(0, 50), (40, 90), (80, 130), (120, 170), (160, 200), (199, 200)] {
            debounce.note(at(comes));
            assert_eq!(debounce.due(true, 0, Duration::ZERO), Some(at(due)), "after {comes} ms");
        }
        assert_eq!(
            debounce.due(true, 0, Duration::from_millis(100)),
            Some(at(400)),
            "publishing is expensive"
        );
        assert_eq!(
            debounce.due(false, 0, Duration::from_millis(100)),
            Some(at(199)),
            "nothing more is under way"
        );
        debounce.clear();
        assert!(debounce.is_empty());
        debounce.note(at(0));
        for (megabytes, due) in [(1, 50), (60, 120), (600, 200)] {
            assert_eq!(
                debounce.due(true, megabytes * 1_000_000, Duration::ZERO),
                Some(at(due)),
                "{megabytes} MB"
            );
        }
    }
}
