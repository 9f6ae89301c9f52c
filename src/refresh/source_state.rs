//! The last good data of a source, and its status.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::restore::RestoreUnderWay;
use super::schedule::LastFetch;
use super::stored_records::HeldRecords;
use super::{Batch, FetchMemory, HeldBatch, Interval, Schedule, SourceSettings};
use crate::identity::{KeyKinds, TableSlot};
use crate::snapshot::SourceStatus;
use crate::sources::Definition;
use crate::store::Version;

/// The last good data of a source, with its newest and its published status.
///
/// New data waits for its publication. Until then callers must see the status of the published
/// data.
#[derive(Debug)]
pub(super) struct SourceState {
    /// The last good data; `None` before the first answer, and when it is too old to be served.
    batch: Option<Batch>,
    /// The definition under which `batch` was fetched.
    batch_revision: Revision,
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
    /// What the source is now.
    definition: Definition,
    revision: Revision,
    /// How often it is asked.
    pub(super) interval: Interval,
    /// The number of the call in flight.
    pub(super) call: Option<u64>,
    /// How the last fetch under the present definition ended.
    pub(super) last_fetch: Option<LastFetch>,
    /// When the next call may be made.
    pub(super) due: Instant,
    /// What the store has of `batch`, if it has it.
    stored: Option<StoredBatch>,
    /// Whether this process fetched `batch` without the lease of the store.
    pub(super) is_unleased: bool,
    /// The data that is being read from the store.
    pub(super) restore: Option<RestoreUnderWay>,
    /// The revision of stored data that could not be restored, until other data can be.
    pub(super) unusable_revision: Option<i64>,
}

/// What a store has of the data in hand.
#[derive(Clone, Debug)]
pub(super) struct StoredBatch {
    /// The revision of its content.
    pub(super) revision: i64,
    /// The version of each record; `None` for a table.
    pub(super) versions: Option<Arc<[Version]>>,
}

/// A version of a source's definition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Revision {
    /// Unique among all versions of all sources.
    number: u64,
    /// By what the source can be looked up, if it is a table.
    key_kinds: KeyKinds,
}

/// Which data of a source a view contains, and its status.
#[derive(Clone, Debug)]
pub(super) struct BatchVersion {
    version: u64,
    status: SourceStatus,
}

impl SourceState {
    /// A source that was not called yet. `revision` is a number that no other definition has.
    pub(super) fn new(settings: &SourceSettings, revision: u64, due: Instant) -> Self {
        let status = settings.first_status();
        let revision = Revision { number: revision, key_kinds: settings.key_kinds };
        Self {
            batch: None,
            batch_revision: revision,
            memory: Arc::default(),
            version: 0,
            published_version: 0,
            newest: status.clone(),
            published: status,
            definition: settings.definition.clone(),
            revision,
            interval: settings.interval,
            call: None,
            last_fetch: None,
            due,
            stored: None,
            is_unleased: false,
            restore: None,
            unusable_revision: None,
        }
    }

    pub(super) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Adopts the settings that its statuses show.
    pub(super) fn update_statuses(&mut self, settings: &SourceSettings) {
        for status in [&mut self.newest, &mut self.published] {
            status.name = Arc::clone(&settings.name);
            status.upstream.clone_from(&settings.upstream);
            status.policy = settings.policy;
        }
    }

    /// Sets whether callers wait for its first attempt.
    pub(super) fn set_awaited(&mut self, is_awaited: bool) {
        for status in [&mut self.newest, &mut self.published] {
            status.is_awaited = is_awaited;
        }
    }

    /// Adopts a new definition, under which the source is due at once. The data of the old one
    /// stays until the first fetch under the new one succeeds.
    pub(super) fn redefine(&mut self, settings: &SourceSettings, revision: u64, now: Instant) {
        self.definition = settings.definition.clone();
        self.revision = Revision { number: revision, key_kinds: settings.key_kinds };
        self.memory = Arc::default();
        self.interval = settings.interval;
        self.call = None;
        self.last_fetch = None;
        self.due = now;
        self.restore = None;
        self.unusable_revision = None;
    }

    /// Adopts another interval. The next call is due as if the interval had always been this long;
    /// `period` is as of [`Schedule::period`].
    pub(super) fn reschedule(
        &mut self,
        schedule: &mut Schedule,
        interval: Interval,
        period: Duration,
        now: Instant,
    ) {
        self.interval = interval;
        self.due = match self.last_fetch {
            None => return,
            Some(LastFetch::Succeeded { refresh_started, ended }) => {
                schedule.after_success(interval, refresh_started, period, ended)
            }
            Some(LastFetch::Failed { not_before }) => {
                let failures = self.newest.consecutive_failures;
                let due = schedule.after_failure(interval, failures, None, now);
                due.min(self.due).max(not_before)
            }
        };
        if self.call.is_none() {
            self.newest.next_attempt = Some(self.due);
        }
    }

    pub(super) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// Whether the data was fetched under an earlier definition.
    pub(super) fn is_outdated(&self) -> bool {
        self.batch.is_some() && self.batch_revision != self.revision
    }

    /// The number of the definition under which the data was fetched.
    pub(super) fn batch_revision(&self) -> u64 {
        self.batch_revision.number
    }

    /// The last good data, for the next fetch to build upon.
    pub(super) fn held(&self) -> Option<HeldBatch> {
        let batch = self.batch.clone().filter(|_| !self.is_outdated())?;
        Some(HeldBatch { batch, memory: Arc::clone(&self.memory) })
    }

    /// Whether the data is what the store has in this revision.
    pub(super) fn has_revision(&self, revision: i64) -> bool {
        !self.is_outdated() && self.stored.as_ref().is_some_and(|of| of.revision == revision)
    }

    /// Notes that the store has the data.
    pub(super) fn set_stored(&mut self, stored: StoredBatch) {
        self.stored = Some(stored);
    }

    /// The records, if it is known which of the stored ones they are.
    pub(super) fn held_records(&self) -> Option<HeldRecords> {
        let versions = self.stored.as_ref()?.versions.clone()?;
        match &self.batch {
            Some(Batch::Incidents(incidents)) if !self.is_outdated() => {
                Some(HeldRecords { incidents: Arc::clone(incidents), versions })
            }
            _ => None,
        }
    }

    /// The data of a table, for looking identities up. Data of an earlier definition stands in, but
    /// for the kinds of keys that it lacks the table is missing.
    pub(super) fn table_slots(&self) -> impl Iterator<Item = TableSlot> + use<> {
        let table = match &self.batch {
            Some(Batch::Identities(table)) => Some(Arc::clone(table)),
            _ => None,
        };
        let held = table.is_some().then_some(self.batch_revision.key_kinds);
        let kinds = self.revision.key_kinds;
        let lacking = kinds.without(held.unwrap_or_default());
        let held = held.map(|kinds| TableSlot { kinds, table });
        let lacking =
            (lacking != KeyKinds::default()).then_some(TableSlot { kinds: lacking, table: None });
        held.into_iter().chain(lacking)
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
        self.stored = None;
        self.newest = status;
        self.batch_revision = self.revision;
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
    use bytes::Bytes;

    use super::*;
    use crate::config::Config;
    use crate::decode::{Incidents, SourceFields};
    use crate::identity::IdentityTable;
    use crate::mapping::IdentityKind;
    use crate::refresh::Settings;
    use crate::sources::SourceId;

    fn batch() -> Batch {
        let body = Bytes::from_static(br#"{"results":[]}"#);
        Batch::Incidents(Arc::new(Incidents::decode(body, &SourceFields::new(&[])).unwrap()))
    }

    fn state_and_status() -> (SourceState, SourceStatus) {
        let settings = Settings::new(&Config::default());
        let denial = &settings.sources[SourceId::Incidents(0)];
        let state = SourceState::new(denial, 1, Instant::now());
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
    async fn a_changed_table_is_missing_for_the_keys_that_its_old_data_lacks() {
        let mut settings = Settings::new(&Config::default()).sources[SourceId::Table(0)].clone();
        let now = Instant::now();
        let mut state = SourceState::new(&settings, 1, now);
        let kinds = |kinds: &[IdentityKind]| kinds.iter().copied().collect::<KeyKinds>();
        let slots = |state: &SourceState| -> Vec<_> {
            state.table_slots().map(|slot| (slot.kinds, slot.table.is_some())).collect()
        };
        assert_eq!(slots(&state), [(KeyKinds::ADDRESSES, false)]);
        let table = || {
            let table = IdentityTable::decode(Bytes::from_static(b"{}")).unwrap();
            Some(Batch::Identities(Arc::new(table)))
        };
        let status = state.newest().clone();
        drop(state.replace_batch(table(), status.clone()));
        assert_eq!(slots(&state), [(KeyKinds::ADDRESSES, true)]);
        settings.key_kinds = kinds(&[IdentityKind::Ip, IdentityKind::Email]);
        state.redefine(&settings, 2, now);
        let email = kinds(&[IdentityKind::Email]);
        assert_eq!(slots(&state), [(KeyKinds::ADDRESSES, true), (email, false)]);
        assert!(state.is_outdated() && state.held().is_none());
        drop(state.replace_batch(table(), status));
        assert_eq!(slots(&state), [(settings.key_kinds, true)]);
        assert!(!state.is_outdated() && state.held().is_some());
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
