//! What is shown of a forward that sends.

use futures::FutureExt as _;
use tokio::time::Instant;

use super::lag::Reading;
use super::progress::Progress;
use super::term::Term;
use super::wakes::Wakes;
use crate::forward::settings::Destination;
use crate::forward::{ForwardState, ForwardStatus};
use crate::store::{ForwardReport, StoreError};

impl<D: Destination> Term<'_, D> {
    /// How many records are in memory that are not done and stored.
    pub(super) fn in_hand(&self) -> u64 {
        self.pages.len() as u64 + self.progress.unstored()
    }

    /// Counts what is due, unless the next page is likely to tell.
    pub(super) fn read_lag(&mut self, wakes: &mut Wakes) {
        if self.reading.is_some() || self.page.is_some() {
            return;
        }
        let Some(at) = self.lag.next_reading() else { return };
        if wakes.until(Some(at).filter(|at| *at > wakes.now)) {
            return;
        }
        let handle = self.worker.handle.clone();
        let range = self.range(self.progress.stored.position);
        let name = self.progress.stored.name.clone();
        self.reading = Some(self.lag.read(handle, name, range, self.progress.total()).boxed());
    }

    pub(super) fn note_reading(&mut self, reading: Result<Reading, StoreError>) {
        let now = Instant::now();
        let Ok(reading) = reading else { return self.lag.note_failure(now) };
        self.lag.note_read(&reading, self.progress.total(), now);
        let stored = &mut self.progress.stored;
        let Some(read) = reading.stored.filter(|read| read.position == stored.position) else {
            // An advance was stored meanwhile, or has taken effect and is not noted yet.
            return self.lag.note_failure(now);
        };
        // `keep` has deleted records that were not sent.
        let deleted = read.dead_letters.saturating_sub(stored.dead_letters);
        self.worker.metrics.dead_letters.inc_by(deleted);
        warn_of_deleted(&stored.name, deleted);
        (stored.sent, stored.dead_letters) = (read.sent, read.dead_letters);
        if reading.count == Some(0) && self.lag.known() == Some(0) {
            self.note_all_deleted();
        }
    }

    /// The store has none of the records that are to be tried again, and none behind them.
    fn note_all_deleted(&mut self) {
        let is_waiting = self.request.is_none() && self.page.is_none() && self.pages.len() == 0;
        if !is_waiting || !self.progress.is_stored() {
            return;
        }
        let last = self.progress.done().next_back();
        if let Some(last) = last {
            self.progress.advance(last, 0);
            self.read_again();
        }
        self.note_nothing_due();
    }

    /// What could not be sent was deleted, so that nothing is tried again.
    pub(super) fn note_nothing_due(&mut self) {
        if self.progress.report.is_retrying {
            self.progress.report = ForwardReport::default();
            self.retry.note_success();
        }
    }

    /// Publishes the status. Whether nothing is due is known only once all was read; until then the
    /// one before stays.
    pub(super) fn publish(&mut self) {
        self.lag.note_in_hand(self.in_hand());
        let Progress { stored, report, .. } = &self.progress;
        let lag = self.lag.known().or_else(|| self.worker.board.lag(&stored.name));
        let status = ForwardStatus::new(stored, report, lag);
        if status.state != ForwardState::Idle || self.has_read_all() {
            self.worker.board.publish(status);
        }
    }
}

/// Warns of records that `keep` has deleted before they were sent.
pub(super) fn warn_of_deleted(forward: &str, records: u64) {
    if records > 0 {
        tracing::warn!(
            %forward,
            records,
            "`store.keep` has deleted records before they were sent: they count as dead letters"
        );
    }
}
