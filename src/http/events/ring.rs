//! A ring buffer of the latest events, bounded by count and bytes. Each client reads it at its own
//! pace.

use std::collections::VecDeque;

use bytes::Bytes;

/// The capacity in events.
const MAX_EVENTS: usize = 16_384;

/// The capacity in bytes.
const MAX_BYTES: usize = 8 << 20;

/// The most events that one refresh may add. A larger change is sent as a single `reset`.
pub(super) const MAX_BURST_EVENTS: usize = 10_000;

/// The most bytes of events that one refresh may add. Two bursts fit into the ring, so a client
/// that reads all events between two refreshes never falls behind.
pub(super) const MAX_BURST_BYTES: usize = MAX_BYTES / 2;

/// Numbered events, of which the oldest are dropped first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// In wire format.
    events: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the next event. The first event has the number 1.
    next: u64,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self { next: 1, ..Self::default() }
    }

    /// The number of the newest event, 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Whether no event after this number has been dropped.
    pub(super) fn reaches_back_to(&self, number: u64) -> bool {
        number <= self.newest() && self.newest() - number <= self.events.len() as u64
    }

    /// Appends the event that `make` builds from its number, and drops the oldest beyond the
    /// bounds.
    pub(super) fn push(&mut self, make: impl FnOnce(u64) -> Bytes) {
        let event = make(self.next);
        self.next += 1;
        self.bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            self.bytes -= self.events.pop_front().map_or(0, |event| event.len());
        }
    }

    /// The events after `number`, concatenated until they reach `target_bytes`, and the number of
    /// the last of them. `None` if some have been dropped.
    pub(super) fn after(&self, number: u64, target_bytes: usize) -> Option<(Vec<u8>, u64)> {
        if !self.reaches_back_to(number) {
            return None;
        }
        let mut events = Vec::new();
        let mut last = number;
        let behind = usize::try_from(self.newest() - number).ok()?;
        for event in self.events.range(self.events.len() - behind..) {
            events.extend_from_slice(event);
            last += 1;
            if events.len() >= target_bytes {
                break;
            }
        }
        Some((events, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ring: &mut Ring, size: usize) {
        ring.push(|number| {
            let number = number.to_string();
            Bytes::from(" ".repeat(size - number.len()) + &number)
        });
    }

    #[test]
    fn events_are_read_from_any_number_that_was_not_dropped() {
        let mut ring = Ring::new();
        assert_eq!(ring.after(0, 1), Some((Vec::new(), 0)));
        for _ in 0..3 {
            event(&mut ring, 2);
        }
        assert_eq!(ring.after(0, 100), Some((b" 1 2 3".to_vec(), 3)));
        assert_eq!(ring.after(0, 3), Some((b" 1 2".to_vec(), 2)));
        assert_eq!(ring.after(2, 1), Some((b" 3".to_vec(), 3)));
        assert_eq!(ring.after(3, 1), Some((Vec::new(), 3)));
        assert_eq!(ring.after(4, 1), None, "a number that was not given out yet is invalid");
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let mut ring = Ring::new();
        for _ in 0..MAX_EVENTS + 5 {
            event(&mut ring, 8);
        }
        assert_eq!(ring.events.len(), MAX_EVENTS);
        assert!(ring.reaches_back_to(5) && !ring.reaches_back_to(4));
        event(&mut ring, MAX_BYTES - 10);
        assert!(ring.bytes <= MAX_BYTES && ring.events.len() < 5, "{}", ring.events.len());
        assert_eq!(ring.bytes, ring.events.iter().map(Bytes::len).sum::<usize>());
    }
}
