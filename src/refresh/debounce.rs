//! Delays publication a little, so that data that arrives at about the same time is published
//! together.

use std::time::Duration;

use tokio::time::Instant;

/// New data is published once no more has arrived for this long.
pub(super) const QUIET_TIME: Duration = Duration::from_millis(50);

/// The quiet time for each byte of large data: about what joining and rendering take, so that a
/// view is rarely outdated when it is published.
const QUIET_NANOS_PER_BYTE: u64 = 2;

/// New data waits no longer than this, even if more keeps arriving.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// While more data is expected, new data waits at least this many times as long as the last
/// publication took, so that publishing takes at most a fifth of the time.
const MIN_WAIT_PER_PUBLISH_TIME: u32 = 4;

/// The arrival of data that is not published yet.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// When the first and the last unpublished data arrived.
    first_and_last: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Records that new data arrived.
    pub(super) fn note(&mut self, now: Instant) {
        self.first_and_last.get_or_insert((now, now)).1 = now;
    }

    /// Whether all data is published, or about to be.
    pub(super) fn is_empty(&self) -> bool {
        self.first_and_last.is_none()
    }

    /// Records that the publication of all data has started.
    pub(super) fn clear(&mut self) {
        self.first_and_last = None;
    }

    /// When to publish the new data; `None` if there is none. All sources have `bytes` in total,
    /// and the last publication took `cost`. Unless more data is expected, this is at once.
    pub(super) fn due(
        &self,
        is_more_expected: bool,
        bytes: usize,
        cost: Duration,
    ) -> Option<Instant> {
        let (first, last) = self.first_and_last?;
        let quiet_time = QUIET_TIME.max(Duration::from_nanos(bytes as u64 * QUIET_NANOS_PER_BYTE));
        let quiet_end = (last + quiet_time).min(first + MAX_WAIT);
        Some(if is_more_expected {
            quiet_end.max(first + cost * MIN_WAIT_PER_PUBLISH_TIME)
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
        for (arrives, due) in [(0, 50), (40, 90), (80, 130), (120, 170), (160, 200), (199, 200)] {
            debounce.note(at(arrives));
            assert_eq!(debounce.due(true, 0, Duration::ZERO), Some(at(due)), "after {arrives} ms");
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
