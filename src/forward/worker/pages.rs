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
    /// When the first of those that wait was read.
    read_at: Instant,
    in_flight_read_at: Instant,
}

impl Pages {
    /// Nothing was read behind this number.
    pub(super) fn new(limits: Batch, through: i64, now: Instant) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            waiting_bytes: 0,
            in_flight_bytes: 0,
            through,
            read_at: now,
            in_flight_read_at: now,
        }
    }

    /// How many records and bytes may be read now, if any. While a full batch is written and sent,
    /// the next one can be read.
    pub(super) fn room(&self) -> Option<(usize, usize)> {
        let Batch { max_records, max_bytes, .. } = self.limits;
        let records = 2 * max_records - self.waiting.len() - self.in_flight.len();
        let bytes = (2 * max_bytes).saturating_sub(self.waiting_bytes + self.in_flight_bytes);
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
        if self.waiting.is_empty() {
            self.read_at = now;
        }
        self.through = page.through;
        self.waiting.extend(page.rows.into_iter().filter(is_due));
        self.waiting_bytes = size_bytes(self.waiting.iter());
        debug_assert!(self.len() <= 2 * self.limits.max_records, "two pages are in memory");
    }

    /// When the first of those that wait was read; `None` if none waits.
    pub(super) fn read_at(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.read_at)
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
        self.in_flight = self.waiting.drain(..records).collect();
        self.in_flight_bytes = size_bytes(self.in_flight.iter());
        self.waiting_bytes -= self.in_flight_bytes;
        self.in_flight_read_at = self.read_at;
    }

    /// Takes the records of the request that has ended.
    pub(super) fn take_in_flight(&mut self) -> Vec<HistoryRow> {
        self.in_flight_bytes = 0;
        std::mem::take(&mut self.in_flight)
    }

    /// Lets records of a request wait again, before all others.
    pub(super) fn put_back(&mut self, rows: Vec<HistoryRow>) {
        self.read_at = self.in_flight_read_at;
        self.waiting_bytes += size_bytes(rows.iter());
        for row in rows.into_iter().rev() {
            self.waiting.push_front(row);
        }
    }

    /// Forgets all records, so that those behind this number are read again.
    pub(super) fn read_again(&mut self, after: i64) {
        let now = self.read_at;
        *self = Self::new(self.limits, after, now);
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
