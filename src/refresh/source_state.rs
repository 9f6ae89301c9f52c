//! The last good data of a source, and its status.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Batch, FetchMemory, HeldBatch, Interval};
use crate::snapshot::SourceStatus;

/// The last good data of a source, with its newest and its published status.
///
/// New data waits for its publication. Until then callers must see the status of the published
/// data.
#[derive(Debug)]
pub(super) struct SourceState {
    /// The last good data; `None` before the first answer, and when it is too old to be served.
    batch: Option<Batch>,
    /// What the fetch of `batch` left for the next.
    memory: Arc<FetchMemory>,
    /// Counts the changes of `batch`.
    version: u64,
    /// The `version` in the published view.
    published_version: u64,
    /// Describes `batch`, and the attempts to renew it.
    newest: SourceStatus,
    /// Describes the data in the published view, if that is not `batch`.
    published: SourceStatus,
    /// How often it is asked.
    pub(super) interval: Interval,
    /// Whether a call is in flight.
    pub(super) in_flight: bool,
    /// When the next call may be made.
    pub(super) due: Instant,
}

/// Which data of a source a view contains, and its status.
#[derive(Clone, Debug)]
pub(super) struct BatchVersion {
    version: u64,
    status: SourceStatus,
}

impl SourceState {
    /// A source with this status that was not called yet.
    pub(super) fn new(status: SourceStatus, interval: Interval, due: Instant) -> Self {
        Self {
            batch: None,
            memory: Arc::default(),
            version: 0,
            published_version: 0,
            newest: status.clone(),
            published: status,
            interval,
            in_flight: false,
            due,
        }
    }

    pub(super) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The last good data, for the next fetch to build upon.
    pub(super) fn held(&self) -> Option<HeldBatch> {
        let batch = self.batch.clone()?;
        Some(HeldBatch { batch, memory: Arc::clone(&self.memory) })
    }

    /// Replaces what a fetch left for the next.
    pub(super) fn set_memory(&mut self, memory: Arc<FetchMemory>) {
        self.memory = memory;
    }

    /// Replaces the data and its status; returns the replaced data.
    pub(super) fn replace_batch(
        &mut self,
        batch: Option<Batch>,
        status: SourceStatus,
    ) -> Option<Batch> {
        if self.is_published() {
            self.published = self.newest.clone();
        }
        self.version += 1;
        self.newest = status;
        std::mem::replace(&mut self.batch, batch)
    }

    /// The newest status.
    pub(super) fn newest(&self) -> &SourceStatus {
        &self.newest
    }

    /// The newest status, mutably.
    pub(super) fn newest_mut(&mut self) -> &mut SourceStatus {
        &mut self.newest
    }

    /// Whether the published view holds the newest data.
    pub(super) fn is_published(&self) -> bool {
        self.version == self.published_version
    }

    /// The status to publish: the newest, unless it describes data that is not published yet.
    pub(super) fn published(&self) -> &SourceStatus {
        if self.is_published() { &self.newest } else { &self.published }
    }

    /// The version of the newest data, which a view that is made now contains.
    pub(super) fn batch_version(&self) -> BatchVersion {
        BatchVersion { version: self.version, status: self.newest.clone() }
    }

    /// Records that a view with this version is published.
    pub(super) fn mark_published(&mut self, batch_version: BatchVersion) {
        self.published_version = batch_version.version;
        self.published = batch_version.status;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::decode::{Incidents, SourceFields};
    use crate::snapshot::Policy;

    fn batch() -> Batch {
        let body = Bytes::from_static(br#"{"results":[]}"#);
        Batch::Incidents(Arc::new(Incidents::decode(body, &SourceFields::new(&[])).unwrap()))
    }

    fn state_and_status() -> (SourceState, SourceStatus) {
        let policy = Policy::of_ttl(Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let state = SourceState::new(
            SourceStatus::new("denial".into(), policy),
            Interval::Ttl,
            Instant::now(),
        );
        let status = SourceStatus { was_attempted: true, records: 7, ..state.newest().clone() };
        (state, status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_is_published_with_the_data_that_it_describes() {
        let (mut state, status) = state_and_status();
        assert!(state.replace_batch(Some(batch()), status).is_none());
        assert!(!state.is_published());
        assert_eq!((state.newest().records, state.published().records), (7, 0));
        assert!(!state.published().was_attempted, "callers go on waiting for the data");
        let batch_version = state.batch_version();
        state.mark_published(batch_version);
        assert!(state.is_published() && state.published().was_attempted);
        assert_eq!(state.published().records, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_comes_while_a_view_is_made_waits_for_the_next() {
        let (mut state, first) = state_and_status();
        state.replace_batch(Some(batch()), first.clone());
        let batch_version = state.batch_version();
        state.replace_batch(Some(batch()), SourceStatus { records: 8, ..first });
        state.mark_published(batch_version);
        assert!(!state.is_published());
        assert_eq!((state.newest().records, state.published().records), (8, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_shows_at_once_while_the_data_is_published() {
        let (mut state, _) = state_and_status();
        state.newest_mut().consecutive_failures = 3;
        assert_eq!(state.published().consecutive_failures, 3);
    }
}
