//! The times that a fetch asks for.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::{FetchMemory, HeldBatch};
use crate::config::Incremental;
use crate::request::RequestTimes;

/// The times of a fetch, and whether it asks for the whole window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    pub(super) times: RequestTimes,
    /// The earliest time that is in the window.
    pub(super) earliest: Timestamp,
    /// Whether everything in the window is asked for, so that the answer replaces what is held.
    pub(super) is_full: bool,
}

impl Window {
    /// The window of a fetch that begins at `started`, in whole seconds.
    pub(super) fn new(
        started: SystemTime,
        length: Duration,
        incremental: Option<Incremental>,
        held: Option<&HeldBatch>,
    ) -> Self {
        let now = whole_seconds(started);
        let earliest = before(now, length);
        let memory = held.map(|held| &*held.memory);
        let since = incremental.zip(memory).and_then(|(incremental, memory)| {
            let since = since_last(now, incremental, memory)?;
            // After a long outage this is the whole window again.
            (since > earliest).then_some(since)
        });
        let times = RequestTimes { now, since: since.unwrap_or(earliest) };
        Self { times, earliest, is_full: since.is_none() }
    }
}

/// From when on records are new, if the next fetch need not be a full one.
fn since_last(now: Timestamp, incremental: Incremental, memory: &FetchMemory) -> Option<Timestamp> {
    let (last, full_at) = (memory.now?, memory.full_at?);
    // If the clock was set back, it is unknown which records are missing.
    let is_full_due = now < last || now >= after(full_at, incremental.full_every);
    (!is_full_due).then(|| before(last, incremental.overlap))
}

fn whole_seconds(time: SystemTime) -> Timestamp {
    let second = Timestamp::try_from(time).map_or(0, |time| {
        // Rounded down, also before the epoch.
        time.as_nanosecond().div_euclid(1_000_000_000)
    });
    i64::try_from(second)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or_default()
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::decode::{Incidents, SourceFields};
    use crate::refresh::Batch;

    const HOUR: Duration = Duration::from_hours(1);
    const INCREMENTAL: Incremental =
        Incremental { overlap: Duration::from_mins(10), full_every: Duration::from_hours(24) };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The `{since}` of a fetch at `now`, after one at `last` and a full one at `full_at`.
    fn since(now: &str, last: &str, full_at: &str) -> (String, bool) {
        let body = Bytes::from_static(br#"{"results":[]}"#);
        let batch = Incidents::decode(body, &SourceFields::new(&[])).unwrap();
        let memory = FetchMemory {
            now: Some(time(last)),
            full_at: Some(time(full_at)),
            ..FetchMemory::default()
        };
        let held = HeldBatch { batch: Batch::Incidents(Arc::new(batch)), memory: Arc::new(memory) };
        let window = Window::new(time(now).into(), HOUR * 72, Some(INCREMENTAL), Some(&held));
        (window.times.since.to_string(), window.is_full)
    }

    #[test]
    fn times_are_whole_seconds() {
        let started = SystemTime::from(time("2026-03-02T11:00:00.999Z"));
        let window = Window::new(started, HOUR, None, None);
        assert_eq!(window.times.now, time("2026-03-02T11:00:00Z"));
        assert_eq!(window.times.since, time("2026-03-02T10:00:00Z"));
        let early = SystemTime::from(time("1969-12-31T23:59:59.5Z"));
        assert_eq!(Window::new(early, HOUR, None, None).times.now, time("1969-12-31T23:59:59Z"));
        let forever = Window::new(started, Duration::MAX, None, None);
        assert_eq!(forever.times.since, Timestamp::MIN);
    }

    #[test]
    fn an_incremental_fetch_asks_from_the_last_one_on() {
        let (now, full) = ("2026-03-02T11:00:00Z", "2026-03-01T12:00:00Z");
        assert_eq!(
            since(now, "2026-03-02T10:55:00Z", full),
            ("2026-03-02T10:45:00Z".to_owned(), false)
        );
        let whole = ("2026-02-27T11:00:00Z".to_owned(), true);
        assert_eq!(since(now, "2026-03-02T10:55:00Z", "2026-03-01T11:00:00Z"), whole, "full_every");
        assert_eq!(since(now, "2026-03-02T11:00:01Z", full), whole, "the clock was set back");
        let long_ago = "2026-02-27T11:10:00Z";
        assert_eq!(since(now, long_ago, "2026-03-02T00:00:00Z"), whole, "a long outage");
    }

    #[test]
    fn the_first_fetch_and_one_without_memory_are_full() {
        let started = SystemTime::from(time("2026-03-02T11:00:00Z"));
        assert!(Window::new(started, HOUR, Some(INCREMENTAL), None).is_full);
    }
}
