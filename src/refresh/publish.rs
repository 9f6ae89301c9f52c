//! Publishes new data: joins it into a view, renders the documents in use, and replaces the
//! snapshot.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::source_state::{BatchVersion, SourceState};
use super::{Batch, Refresh};
use crate::background::run_cpu_bound;
use crate::identity::TableSlot;
use crate::join::join;
use crate::snapshot::{Snapshot, SourceStatus, View};
use crate::sources::PerSource;

/// A view that is being joined and rendered in the background.
pub(super) struct Publication {
    started: Instant,
    /// The version of each source's batch in the view.
    batch_versions: PerSource<BatchVersion>,
    /// Returns the view when it is joined, and rendered in the formats that callers use.
    pub(super) view: JoinHandle<Arc<View>>,
}

impl Refresh {
    /// When to publish the new data; `None` if there is none.
    pub(super) fn publish_at(&self) -> Option<Instant> {
        if self.reconfigured_at.is_some() {
            return self.reconfigured_at;
        }
        let bytes = self.sources.iter().map(|source| source.newest().bytes).sum();
        let is_more_expected = !self.calls.is_empty() || !self.restores.is_empty();
        self.unpublished.due(is_more_expected, bytes, self.publish_cost)
    }

    /// Starts a publication on other threads, if it is due.
    pub(super) async fn publish_when_due(&mut self) {
        let now = Instant::now();
        if self.publication.is_some() || self.publish_at().is_none_or(|at| at > now) {
            return;
        }
        self.unpublished.clear();
        self.last_view_id += 1;
        let id = self.last_view_id;
        let is_loading = self.snapshots.borrow().is_loading();
        if is_loading {
            // Callers wait for this view, so answers from the one before are no longer needed.
            self.cache.retire_before(id).await;
        }
        let tables = self.table_slots();
        let incidents = |state: &SourceState| match state.batch() {
            Some(Batch::Incidents(incidents)) => Some(Arc::clone(incidents)),
            _ => None,
        };
        let batches: Box<[_]> = self.sources.incidents().iter().map(incidents).collect();
        let revisions = self.sources.incidents().iter().map(SourceState::batch_revision).collect();
        let table = |state: &SourceState| match state.batch() {
            Some(Batch::Identities(table)) => Some(Arc::clone(table)),
            _ => None,
        };
        let table_data = self.sources.tables().iter().map(table).collect();
        let (names, fields) = (Arc::clone(&self.names), Arc::clone(&self.fields));
        let cache = Arc::clone(&self.cache);
        let view = tokio::spawn(async move {
            let make_view = move || {
                let index = join(&tables, &batches);
                View::new(id, names, batches, index)
                    .with_fields(fields)
                    .with_tables(&tables)
                    .with_table_data(table_data)
                    .with_revisions(revisions)
            };
            let view = Arc::new(run_cpu_bound(make_view).await);
            cache.prerender(&view).await;
            view
        });
        let batch_versions = self.sources.map(|_, source| source.batch_version());
        self.publication = Some(Publication { started: now, batch_versions, view });
    }

    /// Publishes the view of the present publication, which is ready.
    pub(super) async fn publish(&mut self, view: Arc<View>) {
        let Publication { started, batch_versions, .. } =
            self.publication.take().expect("only a publication makes a view");
        for (source, batch_version) in self.sources.iter_mut().zip(batch_versions) {
            source.mark_published(batch_version);
        }
        self.reconfigured_at = None;
        let now = Instant::now();
        self.publish_cost = now.saturating_duration_since(started);
        let (id, sources) = (view.id(), self.statuses());
        let snapshot = Arc::new(Snapshot { view, sources, had_data: self.had_data });
        let index = snapshot.view.index();
        tracing::info!(
            view = id,
            completeness = snapshot.completeness(now).as_str(),
            employees = index.employee_count(),
            incidents = index.incident_count(),
            unattributed = index.unattributed().len(),
            took_ms = u64::try_from(self.publish_cost.as_millis()).unwrap_or(u64::MAX),
            "snapshot published"
        );
        let replaced = self.snapshots.send_replace(snapshot);
        self.cache.retire_before(id).await;
        drop_on_other_thread(replaced).await;
    }

    /// Publishes the newest status of the sources, with the same view as before. If that is of
    /// other sources, this is left to the publication of the next view.
    pub(super) fn publish_statuses(&self) {
        if self.reconfigured_at.is_some() {
            return;
        }
        let sources = self.statuses();
        self.snapshots.send_modify(|snapshot| {
            let view = Arc::clone(&snapshot.view);
            *snapshot = Arc::new(Snapshot { view, sources, had_data: self.had_data });
        });
    }

    /// The identity tables, in the order in which they are looked up.
    pub(super) fn table_slots(&self) -> Vec<TableSlot> {
        self.sources.tables().iter().flat_map(SourceState::table_slots).collect()
    }

    fn statuses(&self) -> Arc<PerSource<SourceStatus>> {
        Arc::new(self.sources.map(|_, source| source.published().clone()))
    }
}

/// Drops a value on another thread, since freeing much memory takes the kernel milliseconds.
async fn drop_on_other_thread<T: Send + 'static>(value: T) {
    run_cpu_bound(|| drop(value)).await;
}
