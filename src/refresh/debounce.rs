//! When data that has come is published: soon, but together with what comes right after it.

use std::time::Duration;

use tokio::time::Instant;

/// New data waits for more until none has come for this long.
pub(super) const QUIET: Duration = Duration::from_millis(50);

/// The same of large data, a byte of it: about what joining and rendering takes, so that nothing of
/// it is done in vain.
const QUIET_NANOS_PER_BYTE: u64 = 2;

/// However fast more comes, new data waits no longer than this.
const LONGEST: Duration = Duration::from_millis(200);

/// Publishing takes at most one part in this many of the time while data keeps coming in.
const PUBLISH_SHARE: u32 = 5;

/// Data that is in no view yet.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// When the first and the last of it came.
    came: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Data has come.
    pub(super) fn note(&mut self, now: Instant) {
        self.came.get_or_insert((now, now)).1 = now;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.came.is_none()
    }

    /// All that has come is being published.
    pub(super) fn clear(&mut self) {
        self.came = None;
    }

    /// When to publish so many bytes of data; `cost` is what that took last time. If no more is
    /// under way, there is nothing to wait for.
    pub(super) fn due(&self, more_to_come: bool, bytes: usize, cost: Duration) -> Option<Instant> {
        let (first, last) = self.came?;
        let quiet = QUIET.max(Duration::from_nanos(bytes as u64 * QUIET_NANOS_PER_BYTE));
        let quiet = (last + quiet).min(first + LONGEST);
        Some(if more_to_come { quiet.max(first + cost * (PUBLISH_SHARE - 1)) } else { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_waits_for_quiet_but_not_for_long_and_not_in_vain() {
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
            "publishing is dear"
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
