//! How many records a forward has yet to send.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::{DueRange, StoreError, StoreHandle, StoredForward};

/// How long a count is used while records are due, which another process may delete.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Counting takes at most one part of so many of the time.
const SHARE_OF_TIME: u32 = 10;

/// The number of records that are due. It is known when the end of the records is read. Until then
/// it is counted, which may take long, and reduced by what is done.
#[derive(Debug)]
pub(super) struct Lag {
    known: Option<u64>,
    /// Whether records may have come or gone since.
    is_outdated: bool,
    /// Whether what is stored of the forward may have changed since it was read.
    is_unread: bool,
    /// Whether a count that is under way is of use.
    is_count_wanted: bool,
    read_at: Instant,
    next_reading: Instant,
}

/// What is read of a forward to know its lag.
#[derive(Debug)]
pub(super) struct Reading {
    /// How many records of the term were done and stored before it began.
    total: u64,
    /// How many records are due, if they were counted.
    pub(super) count: Option<u64>,
    /// What is stored of the forward.
    pub(super) stored: Option<StoredForward>,
    took: Duration,
}

impl Lag {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: None,
            is_outdated: true,
            is_unread: false,
            is_count_wanted: false,
            read_at: now,
            next_reading: now,
        }
    }

    /// How many records are due, once that is known.
    pub(super) fn known(&self) -> Option<u64> {
        self.known
    }

    /// Records were written or deleted.
    pub(super) fn note_write(&mut self) {
        self.is_outdated = true;
        self.is_unread = true;
    }

    /// All records were read, and so many of them are not done and stored.
    pub(super) fn note_end(&mut self, due: u64) {
        self.known = Some(due);
        self.is_outdated = false;
        self.is_count_wanted = false;
    }

    /// So many records are in memory that are not done and stored: at least those are due.
    pub(super) fn note_in_hand(&mut self, records: u64) {
        if records > 0 {
            self.known = self.known.max(Some(records));
        }
    }

    /// So many records were done and stored.
    pub(super) fn reduce(&mut self, records: u64) {
        self.known = self.known.map(|known| known.saturating_sub(records));
    }

    /// When to read next; `None` if what is known is exact.
    pub(super) fn next_reading(&self) -> Option<Instant> {
        if self.is_outdated || self.is_unread {
            return Some(self.next_reading);
        }
        (self.known != Some(0)).then(|| self.next_reading.max(self.read_at + MAX_AGE))
    }

    /// Reads what is stored of the forward, and counts unless what is known is exact. The forward
    /// has done `total` records in this term.
    pub(super) fn read(
        &mut self,
        handle: StoreHandle,
        name: String,
        range: DueRange,
        total: u64,
    ) -> impl Future<Output = Result<Reading, StoreError>> + Send + use<> {
        let is_old = self.known != Some(0) && self.read_at + MAX_AGE <= Instant::now();
        let must_count = self.is_outdated || is_old;
        self.is_outdated = false;
        self.is_unread = false;
        self.is_count_wanted = true;
        async move {
            let started = Instant::now();
            let count =
                if must_count { Some(handle.store().count_due(range).await?) } else { None };
            let stored = handle.store().forwards().await?;
            let stored = stored.into_iter().find(|stored| stored.name == name);
            Ok(Reading { total, count, stored, took: started.elapsed() })
        }
    }

    /// Notes what was read. The forward has done `total` records by now.
    pub(super) fn note_read(&mut self, reading: &Reading, total: u64, now: Instant) {
        if let Some(count) = reading.count
            && self.is_count_wanted
        {
            self.known = Some(count.saturating_sub(total - reading.total));
        }
        self.read_at = now;
        self.next_reading = now + reading.took * (SHARE_OF_TIME - 1);
    }

    /// Reading has failed, or what was read is of no use.
    pub(super) fn note_failure(&mut self, now: Instant) {
        self.is_outdated = true;
        self.is_unread = true;
        self.next_reading = now + MAX_AGE;
    }
}
