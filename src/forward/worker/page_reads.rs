//! Reads the records that a forward sends next.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::term::Term;
use super::wakes::Wakes;
use super::{Mode, store_failure};
use crate::forward::settings::Destination;
use crate::store::{DuePage, DueQuery, DueRange, StoreError, StoreHandle};

/// How often records are looked for that nobody has told of, as those of a write that seemed to
/// fail.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl<D: Destination> Term<'_, D> {
    /// Reads the next page, if a batch may have to wait for it otherwise.
    pub(super) fn read_page(&mut self, wakes: &mut Wakes) {
        if self.worker.mode == Mode::Serve && self.page.is_none() {
            let poll_at = self.read_at + POLL_INTERVAL;
            self.is_at_end &= wakes.until(Some(poll_at).filter(|at| *at > wakes.now));
        }
        let waits_until = [&self.retry, &self.page_retry].map(|retry| retry.waits_until(wakes.now));
        // Records behind a full batch would only grow old while that waits for its time.
        let pace = self.worker.pace.waits_until(wakes.now).filter(|_| self.pages.is_batch_full());
        let waits_until = waits_until.into_iter().chain([pace]).flatten().max();
        let Some((limit, max_bytes)) = self.pages.room() else { return };
        if self.page.is_some() || self.is_at_end || wakes.until(waits_until) {
            return;
        }
        self.gives_claim_back = false;
        self.is_at_end = true;
        let query = DueQuery { range: self.range(self.pages.through()), limit, max_bytes };
        let (handle, name) = (self.worker.handle.clone(), self.progress.stored.name.clone());
        self.page = Some(claimed_page(handle, name, query).boxed());
    }

    /// Whether all that is due is in memory.
    pub(super) fn has_read_all(&self) -> bool {
        self.is_at_end && self.page.is_none()
    }

    pub(super) fn range(&self, after: i64) -> DueRange {
        let selection = self.worker.destination.config().select.clone();
        DueRange { after, start: self.progress.stored.start, selection }
    }

    pub(super) fn note_page(&mut self, page: Result<DuePage, StoreError>) {
        let now = Instant::now();
        let mut page = match page {
            Ok(page) => page,
            Err(error) => {
                if self.page_retry.failures() == 0 {
                    let forward = &self.progress.stored.name;
                    tracing::warn!(%forward, %error, "the records to be sent cannot be read");
                }
                self.is_at_end = false;
                self.page_retry.note_failure(now, Duration::ZERO);
                self.give_up_after(self.page_retry.failures(), || store_failure(&error));
                return;
            }
        };
        self.page_retry.note_success();
        self.read_at = now;
        self.is_at_end &= page.is_end;
        let progress = &self.progress;
        if page.is_end {
            // Those that are done behind the end were deleted.
            page.through = progress.done().fold(page.through, i64::max);
        }
        self.pages.append(page, now, |row| !progress.is_done(row.number));
        if self.is_at_end {
            let due = self.in_hand();
            self.lag.note_end(due);
            if due == 0 {
                self.note_nothing_due();
            }
        }
    }

    /// Forgets the records that wait, so that they are read again.
    pub(super) fn read_again(&mut self) {
        self.page = None;
        self.is_at_end = false;
        self.pages.read_again(self.progress.position());
    }
}

/// Reads a page. It is claimed before any of it can be deleted.
async fn claimed_page(
    handle: StoreHandle,
    name: String,
    query: DueQuery,
) -> Result<DuePage, StoreError> {
    let claims = handle.claims();
    let _no_deletion = claims.reading().await;
    let page = handle.store().due(query).await?;
    claims.claim(&name, page.through);
    Ok(page)
}
