//! From data that has come to the snapshot that is served.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::Refresh;
use crate::background::run_cpu_bound;
use crate::cache::Batch;
use crate::snapshot::{Snapshot, SourceStatus, View};

impl Refresh {
    pub(super) fn publish_at(&self) -> Option<Instant> {
        let bytes = self.sources.iter().map(|source| source.newest().bytes).sum();
        self.unpublished.due(!self.calls.is_empty(), bytes, self.publish_cost)
    }

    /// Joins what has come, renders what callers use, and publishes it, on other threads.
    pub(super) async fn publish_when_due(&mut self) {
        let now = Instant::now();
        if self.publishing.is_some() || self.publish_at().is_none_or(|at| at > now) {
            return;
        }
        self.unpublished.clear();
        self.publish_started = now;
        self.views += 1;
        let is_loading = self.snapshots.borrow().is_loading();
        if is_loading {
            // Callers wait for the view to come; what was rendered of the one before must not take
            // memory beside it.
            self.cache.retire_before(self.views).await;
        }
        let mut identities = None;
        let mut batches = Vec::with_capacity(self.sources.len());
        for (index, source) in self.sources.iter_mut().enumerate() {
            source.publishing = source.arrived.take();
            match self.cache.last_good(index).await {
                Some(Batch::Identities(table)) => identities = Some(table),
                Some(Batch::Incidents(incidents)) => batches.push(Some(incidents)),
                None if index > 0 => batches.push(None),
                None => {}
            }
        }
        let (id, names, cache) = (self.views, Arc::clone(&self.names), Arc::clone(&self.cache));
        let fields = Arc::clone(&self.fields);
        self.publishing = Some(tokio::spawn(async move {
            let join = move || {
                View::new(id, names, identities.as_deref(), batches.into()).with_fields(fields)
            };
            let view = run_cpu_bound(join).await;
            let view = Arc::new(view);
            cache.prerender(&view).await;
            view
        }));
    }

    pub(super) async fn published(&mut self, view: Result<Arc<View>, JoinError>) {
        self.publishing = None;
        let view = view.expect("joining does not panic");
        for source in &mut self.sources {
            if let Some(status) = source.publishing.take() {
                source.status = status;
            }
        }
        let now = Instant::now();
        self.publish_cost = now.saturating_duration_since(self.publish_started);
        let id = view.id();
        let snapshot = Arc::new(Snapshot { view, sources: self.statuses(), policy: self.policy });
        let joined = snapshot.view.joined();
        tracing::info!(
            view = id,
            completeness = snapshot.completeness(now).as_str(),
            employees = joined.employee_count(),
            incidents = joined.incident_count(),
            unattributed = joined.unattributed().len(),
            took_ms = u64::try_from(self.publish_cost.as_millis()).unwrap_or(u64::MAX),
            "snapshot published"
        );
        let replaced = self.snapshots.send_replace(snapshot);
        self.cache.retire_before(id).await;
        free(replaced).await;
    }

    /// Publishes the state of the sources with the view that is there.
    pub(super) fn publish_status(&self) {
        let sources = self.statuses();
        self.snapshots.send_modify(|snapshot| {
            *snapshot = Arc::new(Snapshot {
                sources,
                view: Arc::clone(&snapshot.view),
                policy: snapshot.policy,
            });
        });
    }

    fn statuses(&self) -> Arc<[SourceStatus]> {
        self.sources.iter().map(|source| source.status.clone()).collect()
    }
}

/// Lets go of what may hold a great deal of memory: to give that back takes the kernel
/// milliseconds.
async fn free<T: Send + 'static>(value: T) {
    run_cpu_bound(|| drop(value)).await;
}
