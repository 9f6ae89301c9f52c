//! A ring buffer of the latest events, bounded by count and bytes. Each client reads it at its own
//! pace.

use std::collections::VecDeque;

use super::event::{Event, with_id, without_id};
use super::reader::Reader;
use super::recipients::MAX_RECIPIENTS_BYTES;

/// The capacity in events.
const MAX_EVENTS: usize = 16_384;

/// The capacity in bytes.
const MAX_BYTES: usize = 8 << 20;

/// The most events that one refresh may add. A larger change is sent as a single `reset`.
pub(super) const MAX_BURST_EVENTS: usize = 10_000;

/// The most bytes of events that one refresh may add. Two bursts fit into the ring, so a client
/// that reads all events between two refreshes never falls behind.
pub(super) const MAX_BURST_BYTES: usize = MAX_BYTES / 2;

// A `reset` in place of a burst takes less of the ring than the burst would.
const _: () = assert!(MAX_RECIPIENTS_BYTES < MAX_BURST_BYTES);

/// Numbered events, of which the oldest are dropped first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// With the ids for those who see everything.
    events: VecDeque<Event>,
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

    /// Appends an event, whose id `id` makes from its number, and drops the oldest beyond the
    /// bounds.
    pub(super) fn push(&mut self, event: Event, id: impl FnOnce(u64) -> String) {
        let Event { audience, content } = event;
        let event = Event { audience, content: with_id(&id(self.next), &content) };
        self.next += 1;
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            self.bytes -= self.events.pop_front().map_or(0, |event| event.bytes());
        }
    }

    /// The events after `number` that `reader` sees, concatenated until they reach `target_bytes`,
    /// and the number up to which there are no others. `None` if some have been dropped, whoever
    /// sees them.
    pub(super) fn after(
        &self,
        number: u64,
        target_bytes: usize,
        reader: &Reader,
    ) -> Option<(Vec<u8>, u64)> {
        if !self.reaches_back_to(number) {
            return None;
        }
        let mut events = Vec::new();
        let mut last = number;
        let behind = usize::try_from(self.newest() - number).ok()?;
        for event in self.events.range(self.events.len() - behind..) {
            last += 1;
            match reader {
                Reader::Everything { .. } => events.extend_from_slice(&event.content),
                Reader::Employee { .. } if reader.sees(&event.audience) => {
                    let content = without_id(&event.content);
                    events.extend_from_slice(&with_id(&reader.id(last), content));
                }
                Reader::Employee { .. } => {}
            }
            if events.len() >= target_bytes {
                break;
            }
        }
        Some((events, last))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Audience;
    use super::super::reader::IdSecrets;
    use super::super::recipients::Recipients;
    use super::*;
    use crate::http::visibility::Visibility;

    const ALL: Reader = Reader::Everything { generation: 0 };

    /// An event of this size with its id, which is its number.
    fn event(ring: &mut Ring, size: usize) {
        event_for(ring, size, Audience::WholeData);
    }

    fn event_for(ring: &mut Ring, size: usize, audience: Audience) {
        let id = ring.next.to_string();
        let content = "x".repeat(size - "id: \n\n".len() - id.len()) + "\n";
        ring.push(Event { audience, content: content.into() }, |_| id);
    }

    #[test]
    fn events_are_read_from_any_number_that_was_not_dropped() {
        let mut ring = Ring::new();
        let after = |ring: &Ring, number, target_bytes| {
            let (events, last) = ring.after(number, target_bytes, &ALL)?;
            Some((String::from_utf8(events).unwrap(), last))
        };
        assert_eq!(after(&ring, 0, 1), Some((String::new(), 0)));
        for _ in 0..3 {
            event(&mut ring, 7);
        }
        assert_eq!(after(&ring, 0, 100), Some(("id: 1\n\nid: 2\n\nid: 3\n\n".to_owned(), 3)));
        assert_eq!(after(&ring, 0, 8), Some(("id: 1\n\nid: 2\n\n".to_owned(), 2)));
        assert_eq!(after(&ring, 2, 1), Some(("id: 3\n\n".to_owned(), 3)));
        assert_eq!(after(&ring, 3, 1), Some((String::new(), 3)));
        assert_eq!(after(&ring, 4, 1), None, "a number that was not given out yet is invalid");
    }

    #[test]
    fn a_reader_gets_only_what_they_see_and_moves_on_behind_the_rest() {
        let mut ring = Ring::new();
        let own = || Audience::Employee("7".into());
        for audience in [own(), Audience::WholeData, Audience::Everybody, own()] {
            event_for(&mut ring, 20, audience);
        }
        for _ in 0..5 {
            event_for(&mut ring, 20, Audience::Employee("8".into()));
        }
        let seven = IdSecrets::new(7).reader(&Visibility::Employee("7".into()));
        let (events, last) = ring.after(0, 10_000, &seven).unwrap();
        let events = String::from_utf8(events).unwrap();
        let ids = events.lines().filter_map(|line| line.strip_prefix("id: "));
        let ids: Vec<_> = ids.map(|id| seven.parse_id(id)).collect();
        assert_eq!(ids, [Some(1), Some(3), Some(4)], "{events}");
        assert_eq!(last, 9);
        assert_eq!(ring.after(4, 1, &seven), Some((Vec::new(), 9)));
        assert_eq!(ring.after(0, 1, &seven).unwrap().1, 1, "it stops at the target");
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let mut ring = Ring::new();
        for _ in 0..MAX_EVENTS + 5 {
            event(&mut ring, 16);
        }
        assert_eq!(ring.events.len(), MAX_EVENTS);
        assert!(ring.reaches_back_to(5) && !ring.reaches_back_to(4));
        let ids: Vec<_> = (0..1000).map(|id| id.to_string()).collect();
        let recipients = Recipients::new(ids.iter().map(String::as_str)).unwrap();
        let before = ring.bytes;
        event_for(&mut ring, 16, Audience::AnyOf(recipients));
        assert_eq!(ring.bytes, before + 8 * ids.len(), "it replaces one of 16 bytes");
        event(&mut ring, MAX_BYTES - 10);
        assert!(ring.bytes <= MAX_BYTES && ring.events.len() < 5, "{}", ring.events.len());
        assert_eq!(ring.bytes, ring.events.iter().map(|event| event.content.len()).sum::<usize>());
    }
}
