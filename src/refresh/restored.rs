//! Takes last good data and statuses from the store, and obeys the role that this process has
//! there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::restore::{RestoreEnd, RestoreError, RestoreTask, Restored, TimedHead};
use super::schedule::LastFetch;
use super::source_state::{SourceState, StoredBatch};
use super::store_link::Duty;
use super::{Interval, Refresh};
use crate::outcome::Outcome;
use crate::snapshot::{DataOrigin, Freshness, SourceError, SourceStatus};
use crate::sources::SourceId;
use crate::store::{Epoch, SourceReport};

impl Refresh {
    /// The epoch of the lease that this process holds now.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.store.as_ref()?.epoch(Instant::now())
    }

    /// When this process may next call a source; `None` if it leaves that to another.
    pub(super) fn call_due(&self, source: SourceId) -> Option<Instant> {
        let state = &self.sources[source];
        let due = match self.duty(state) {
            Duty::Always => state.due,
            Duty::OnceStale => state.due.max(stale_at(state).unwrap_or(state.due)),
            Duty::Never => return None,
        };
        let wait_until = state.restore.as_ref().map(|restore| restore.wait_until);
        Some(wait_until.map_or(due, |until| due.max(until)))
    }

    fn duty(&self, state: &SourceState) -> Duty {
        self.duty_if(state, state.unusable_revision.is_none())
    }

    fn duty_if(&self, state: &SourceState, is_readable: bool) -> Duty {
        let Some(store) = &self.store else { return Duty::Always };
        let (name, fingerprint) = (&state.newest().name, state.definition().fingerprint());
        store.duty(name, fingerprint, is_readable, Instant::now())
    }

    /// Whether the data in hand is fresh data of the store that another process renews.
    pub(super) fn is_left_to_the_store(&self, source: SourceId) -> bool {
        let state = &self.sources[source];
        let is_stored = self.store.is_some() && !state.is_unleased && !state.is_outdated();
        is_stored
            && state.newest().freshness(Instant::now()) == Freshness::Fresh
            && self.duty(state) == Duty::Never
    }

    /// Adopts what is known of the store now.
    pub(super) fn note_store_state(&mut self) {
        let Some(store) = &mut self.store else { return };
        let has_new_heads = store.update();
        if !store.is_readable() {
            self.sources.iter_mut().for_each(|state| state.restore = None);
            return;
        }
        if !has_new_heads {
            return;
        }
        self.restored_period = self.schedule.period(Interval::Ttl);
        for source in self.sources.ids() {
            self.take_head(source);
        }
        self.publish_statuses();
    }

    /// Takes what is stored of sources that are new or have changed.
    pub(super) fn take_heads_of_outdated(&mut self) {
        for source in self.sources.ids() {
            let state = &self.sources[source];
            if state.batch().is_none() || state.is_outdated() {
                self.take_head(source);
            }
        }
    }

    /// Takes the status of a source from the store, and starts to restore its data where that is
    /// newer than the data in hand.
    pub(super) fn take_head(&mut self, source: SourceId) {
        let state = &self.sources[source];
        let Some(store) = self.store.as_ref().filter(|store| store.is_readable()) else { return };
        let fingerprint = state.definition().fingerprint();
        let Some(head) = store.head(&state.newest().name, fingerprint) else { return };
        let revision = head.head.revision;
        if state.has_revision(revision) {
            if !state.is_unleased || self.is_wanted(state, &head) {
                self.adopt_head(source, &head);
            }
            return;
        }
        // A restore under way takes the newest that there is.
        let is_useless = state.restore.is_some() || state.unusable_revision == Some(revision);
        if is_useless || !self.is_wanted(state, &head) {
            return;
        }
        let task = RestoreTask {
            store: Arc::clone(&store.link.store),
            fetcher: Arc::clone(&self.fetcher),
            source,
            head,
            held: state.held_records(),
        };
        self.last_restore += 1;
        let wait_until = Instant::now() + self.max_store_wait;
        let (restore, in_flight) = task.start(self.last_restore, wait_until);
        self.sources[source].restore = Some(restore);
        self.restores.push(in_flight);
    }

    /// Whether stored data is to replace the data in hand.
    fn is_wanted(&self, state: &SourceState, head: &TimedHead) -> bool {
        let now = Instant::now();
        let status = state.newest();
        let freshness = status.policy.freshness(Some(head.fetched_at), 0, now);
        if freshness == Freshness::Missing {
            return false;
        }
        let Some(in_hand) = status.fetched_at.filter(|_| !state.is_outdated()) else {
            return true;
        };
        // Data that was fetched without the lease gives way, so that all replicas answer alike; not
        // to data that would show as stale, though, as after an outage of the store.
        let gives_way = state.is_unleased
            && self.duty_if(state, true) == Duty::Never
            && freshness == Freshness::Fresh;
        gives_way || head.fetched_at.age(now) < in_hand.age(now)
    }

    /// Applies the result of a restore.
    pub(super) fn finish_restore(&mut self, end: RestoreEnd) {
        let RestoreEnd { number, result } = end;
        let is_of = |state: &SourceState| {
            state.restore.as_ref().is_some_and(|restore| restore.number == number)
        };
        // A restore that was cancelled is of no source any more.
        let Some(source) = self.sources.ids().find(|id| is_of(&self.sources[*id])) else { return };
        let state = &mut self.sources[source];
        let revision = state.restore.take().map(|restore| restore.revision);
        match result {
            None => {}
            Some(Ok(restored)) => self.apply_restored(source, restored),
            Some(Err(RestoreError::Superseded)) => state.unusable_revision = revision,
            Some(Err(RestoreError::Unusable(detail))) => {
                state.unusable_revision = revision;
                tracing::warn!(
                    source = &*state.newest().name,
                    detail,
                    "stored data cannot be used; the source is fetched instead"
                );
            }
        }
        // There may be newer data by now.
        self.take_head(source);
        self.publish_statuses();
    }

    fn apply_restored(&mut self, source: SourceId, restored: Restored) {
        let Restored { head, fetched, versions } = restored;
        let now = Instant::now();
        let state = &self.sources[source];
        if !self.is_wanted(state, &head) {
            return;
        }
        let Some(fetched) = fetched else {
            // The data in hand is the same, unless it was replaced meanwhile.
            let is_same = state.held_records().is_some_and(|held| Some(held.versions) == versions);
            if is_same {
                let revision = head.head.revision;
                self.sources[source].set_stored(StoredBatch { revision, versions });
                self.adopt_head(source, &head);
            }
            return;
        };
        let state = &mut self.sources[source];
        let mut status = state.newest().clone();
        let batch = fetched.batch;
        status.records = batch.records();
        status.unmapped = batch.unmapped().into();
        status.conflicts = batch.conflicts();
        tracing::info!(
            source = &*status.name,
            records = status.records,
            age_ms = u64::try_from(head.fetched_at.age(now).as_millis()).unwrap_or(u64::MAX),
            "source restored from the store"
        );
        drop(state.replace_batch(Some(batch), status));
        state.set_memory(fetched.memory);
        state.set_stored(StoredBatch { revision: head.head.revision, versions });
        self.unpublished.note(now);
        self.adopt_head(source, &head);
    }

    /// Makes the status and the schedule those of stored data that is in hand.
    fn adopt_head(&mut self, source: SourceId, head: &TimedHead) {
        let now = Instant::now();
        let state = &mut self.sources[source];
        let period = match state.interval {
            Interval::Ttl => self.restored_period,
            interval @ Interval::Every(_) => self.schedule.period(interval),
        };
        state.is_unleased = false;
        state.unusable_revision = None;
        let lease = None;
        let fingerprint = state.definition().fingerprint();
        let status = state.newest_mut();
        status.origin = Some(DataOrigin { fingerprint, lease });
        status.fetched_at = Some(head.fetched_at);
        status.last_success = Some(head.fetched_at.wall());
        status.was_attempted = true;
        adopt_report(status, &head.head.report);
        let failures = status.consecutive_failures;
        let duration = status.last_duration.unwrap_or_default();
        // The instants may be before the start of the system's monotonic clock.
        let ended = now.checked_sub(head.fetched_at.age(now));
        let started = ended.and_then(|ended| ended.checked_sub(duration));
        if let (0, Some(refresh_started), Some(ended)) = (failures, started, ended) {
            let interval = state.interval;
            state.due = self.schedule.after_success(interval, refresh_started, period, ended);
            state.last_fetch = Some(LastFetch::Succeeded { refresh_started, ended });
        } else {
            state.due = if failures == 0 {
                now
            } else {
                self.schedule.after_failure(state.interval, failures, None, now)
            };
            state.last_fetch = Some(LastFetch::Failed { not_before: now });
        }
        let due = self.call_due(source).unwrap_or(self.sources[source].due);
        let state = &mut self.sources[source];
        if state.call.is_none() {
            state.newest_mut().next_attempt = Some(due.max(now));
        }
    }

    /// Ends the wait of callers for sources that another process has not brought in time.
    pub(super) fn end_waits(&mut self) {
        let now = Instant::now();
        if self.store.as_ref().is_none_or(|store| now < store.wait_until) {
            return;
        }
        let mut has_changed = false;
        for source in self.sources.ids() {
            let state = &self.sources[source];
            let restored_soon = state.restore.as_ref().filter(|restore| now < restore.wait_until);
            let is_awaited = !state.newest().was_attempted && restored_soon.is_none();
            if is_awaited && self.duty(state) == Duty::Never {
                let next = now + self.schedule.length(state.interval);
                let status = self.sources[source].newest_mut();
                status.was_attempted = true;
                status.next_attempt = Some(next);
                has_changed = true;
            }
        }
        if has_changed {
            self.publish_statuses();
        }
    }
}

/// When the data in hand shows as stale, if this process did not fetch it by itself.
fn stale_at(state: &SourceState) -> Option<Instant> {
    let status = state.newest();
    if state.is_unleased || status.consecutive_failures > 0 {
        return None;
    }
    // Data that never shows as stale is never called for.
    let forever = || Instant::now() + Duration::from_hours(24 * 365);
    let fetched_at = status.fetched_at?;
    Some(status.policy.stale_at(fetched_at).unwrap_or_else(forever))
}

/// Takes from a report what describes the data, and the attempts to renew it.
fn adopt_report(status: &mut SourceStatus, report: &SourceReport) {
    let SourceReport {
        // Those that there are were counted.
        records: _,
        bytes,
        pages,
        duplicates,
        truncated,
        consecutive_failures,
        last_error,
        last_attempt,
        last_duration,
        resume,
    } = report;
    status.bytes = *bytes;
    status.pages = *pages;
    status.duplicates = *duplicates;
    status.truncated = *truncated;
    status.resume = *resume;
    status.consecutive_failures = *consecutive_failures;
    status.last_error = last_error.as_ref().and_then(|(kind, detail)| {
        let kind = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == kind)?;
        Some(SourceError { kind, detail: detail.clone() })
    });
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    status.last_attempt = last_attempt
        .and_then(seconds)
        .and_then(|since_epoch| SystemTime::UNIX_EPOCH.checked_add(since_epoch));
    status.last_duration = last_duration.and_then(seconds);
}
