//! The records of a forward that are in memory.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::config::Batch;
use crate::store::{DuePage, HistoryRow};

/// The records that were read and are not done: those of the request under way, and those that wait
/// for theirs. Together they are at most two full batches, or one record that is larger.
#[derive(Debug)]
pub(super) struct Pages {
    limits: Batch,
    waiting: VecDeque<HistoryRow>,
    in_flight: Vec<HistoryRow>,
    waiting_bytes: usize,
    in_flight_bytes: usize,
    /// All records up to this number were read.
    through: i64,
    /// When those that wait were read, each from the record with this number on.
    reads: VecDeque<(i64, Instant)>,
    in_flight_read_at: Option<Instant>,
}

impl Pages {
    /// Nothing was read behind this number.
    pub(super) fn new(limits: Batch, through: i64) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            waiting_bytes: 0,
            in_flight_bytes: 0,
            through,
            reads: VecDeque::new(),
            in_flight_read_at: None,
        }
    }

    /// How many records and bytes may be read now, if any. While a full batch is written and sent,
    /// the next one can be read, but no few records whenever a part of one has been sent.
    pub(super) fn room(&self) -> Option<(usize, usize)> {
        let Batch { max_records, max_bytes, .. } = self.limits;
        let records = 2 * max_records - self.waiting.len() - self.in_flight.len();
        let bytes = (2 * max_bytes).saturating_sub(self.waiting_bytes + self.in_flight_bytes);
        if self.is_batch_full() && (2 * records < max_records || 2 * bytes < max_bytes) {
            return None;
        }
        (records > 0 && bytes > 0).then(|| (records.min(max_records), bytes.min(max_bytes)))
    }

    /// Whether those that wait fill a batch.
    pub(super) fn is_batch_full(&self) -> bool {
        self.waiting.len() >= self.limits.max_records || self.waiting_bytes >= self.limits.max_bytes
    }

    /// Appends the rows of the next page for which `is_due` returns true.
    pub(super) fn append(
        &mut self,
        page: DuePage,
        now: Instant,
        is_due: impl Fn(&HistoryRow) -> bool,
    ) {
        self.through = page.through;
        let before = self.waiting.len();
        self.waiting.extend(page.rows.into_iter().filter(is_due));
        if let Some(first) = self.waiting.get(before) {
            self.reads.push_back((first.number, now));
        }
        self.waiting_bytes = size_bytes(self.waiting.iter());
        debug_assert!(self.len() <= 2 * self.limits.max_records, "two pages are in memory");
    }

    /// When the first of those that wait was read; `None` if none waits.
    pub(super) fn read_at(&self) -> Option<Instant> {
        self.reads.front().map(|(_, read_at)| *read_at)
    }

    /// The first of those that wait, up to this number, at least one.
    pub(super) fn leading(&mut self, through: Option<i64>) -> &[HistoryRow] {
        let through = through.unwrap_or(i64::MAX);
        let rows = &*self.waiting.make_contiguous();
        let end = rows.partition_point(|row| row.number <= through);
        &rows[..end.clamp(1, self.limits.max_records.max(1)).min(rows.len())]
    }

    /// Begins to send so many of those that wait.
    pub(super) fn send(&mut self, records: usize) {
        self.in_flight_read_at = self.read_at();
        self.in_flight = self.waiting.drain(..records).collect();
        self.in_flight_bytes = size_bytes(self.in_flight.iter());
        self.waiting_bytes -= self.in_flight_bytes;
        let Some(next) = self.next() else { return self.reads.clear() };
        while self.reads.get(1).is_some_and(|(first, _)| *first <= next) {
            self.reads.pop_front();
        }
    }

    /// Takes the records of the request that has ended.
    pub(super) fn take_in_flight(&mut self) -> Vec<HistoryRow> {
        self.in_flight_bytes = 0;
        std::mem::take(&mut self.in_flight)
    }

    /// Lets records of a request wait again, before all others.
    pub(super) fn put_back(&mut self, rows: Vec<HistoryRow>) {
        if let (Some(first), Some(read_at)) = (rows.first(), self.in_flight_read_at) {
            self.reads.push_front((first.number, read_at));
        }
        self.waiting_bytes += size_bytes(rows.iter());
        for row in rows.into_iter().rev() {
            self.waiting.push_front(row);
        }
    }

    /// Forgets all records, so that those behind this number are read again.
    pub(super) fn read_again(&mut self, after: i64) {
        *self = Self::new(self.limits, after);
    }

    /// The number of the first record that waits.
    pub(super) fn next(&self) -> Option<i64> {
        self.waiting.front().map(|row| row.number)
    }

    /// Up to where no record waits. Those of a request under way do not count.
    pub(super) fn passed(&self) -> i64 {
        self.next().map_or(self.through, |number| number - 1)
    }

    /// Up to where all records were read.
    pub(super) fn through(&self) -> i64 {
        self.through
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }
}

fn size_bytes<'a>(rows: impl Iterator<Item = &'a HistoryRow>) -> usize {
    rows.map(|row| row.bytes.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::StableId;

    const LIMITS: Batch =
        Batch { max_records: 4, max_bytes: 100, max_wait: Duration::from_secs(1) };

    fn page(numbers: std::ops::RangeInclusive<i64>) -> DuePage {
        let row = |number| HistoryRow {
            id: StableId([0; 16]),
            number,
            source: "denial".to_owned(),
            employee_id: None,
            priority: None,
            timestamp: None,
            reason: None,
            first_seen: 0.0,
            last_seen: 0.0,
            is_current: true,
            bytes: b"{}".to_vec(),
        };
        DuePage { through: *numbers.end(), rows: numbers.map(row).collect(), is_end: false }
    }

    #[test]
    fn a_record_was_read_with_its_page() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pages = Pages::new(LIMITS, 0);
        assert_eq!(pages.read_at(), None);
        pages.append(page(1..=4), at(1), |row| row.number != 2);
        pages.append(page(5..=8), at(2), |_| true);
        // All of this page are done.
        pages.append(page(9..=9), at(3), |_| false);
        assert_eq!((pages.read_at(), pages.len(), pages.through()), (Some(at(1)), 7, 9));
        pages.send(2);
        assert_eq!(pages.read_at(), Some(at(1)));
        pages.take_in_flight();
        pages.send(1);
        assert_eq!(pages.read_at(), Some(at(2)));
        let rows = pages.take_in_flight();
        pages.put_back(rows);
        assert_eq!((pages.read_at(), pages.next()), (Some(at(1)), Some(4)));
        pages.send(1);
        assert_eq!(pages.read_at(), Some(at(2)));
        pages.take_in_flight();
        pages.send(4);
        assert_eq!(pages.read_at(), None);
    }

    #[test]
    fn at_most_two_batches_are_read_and_behind_a_full_one_no_few_records() {
        let now = Instant::now();
        let mut pages = Pages::new(LIMITS, 0);
        assert_eq!(pages.room(), Some((4, 100)));
        pages.append(page(1..=3), now, |_| true);
        assert_eq!(pages.room(), Some((4, 100)));
        pages.append(page(4..=7), now, |_| true);
        assert_eq!(pages.room(), None);
        pages.send(1);
        assert_eq!((pages.len(), pages.room()), (7, None));
        pages.take_in_flight();
        assert_eq!((pages.len(), pages.room()), (6, Some((2, 100))));
    }
}
