//! The events of the records that one refresh has added.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::event::{self, Audience, Event, Reset};
use super::recipients::Recipients;
use super::ring::{MAX_BURST_BYTES, MAX_BURST_EVENTS};
use crate::delta::SourceDelta;
use crate::render::Filter;
use crate::snapshot::View;

/// The largest event. A refresh with a larger one is sent as a single `reset`.
const MAX_EVENT_BYTES: usize = 256 << 10;

/// The events of all added records, ordered by source, then as in the source's batch; one `reset`
/// if they are too many or too large. The first batch of a source, or of its present definition,
/// produces none.
pub(super) fn incident_events(view: &View, deltas: &[SourceDelta]) -> Vec<Event> {
    let added = Added::new(view, deltas);
    added.events(view).unwrap_or_else(|| vec![Reset::TooMany.event_for(added.audience(view))])
}

/// The records that were added, by source and position in its batch.
struct Added {
    records: HashSet<(usize, usize)>,
    /// The positions by source and offset in the body, by which the joined view identifies an
    /// employee's records.
    by_start: HashMap<(usize, u32), usize>,
}

impl Added {
    fn new(view: &View, deltas: &[SourceDelta]) -> Self {
        let deltas = deltas.iter().filter(|delta| !delta.is_first);
        let added =
            deltas.flat_map(|delta| delta.added.iter().map(|&record| (delta.source, record)));
        let records: HashSet<(usize, usize)> = added.collect();
        let mut by_start = HashMap::with_capacity(records.len());
        for &(source, record) in &records {
            if let Some(batch) = &view.batches()[source] {
                by_start.insert((source, batch.records()[record].members_span().start), record);
            }
        }
        Self { records, by_start }
    }

    /// `None` if they are too many or too large.
    fn events(&self, view: &View) -> Option<Vec<Event>> {
        if self.records.len() > MAX_BURST_EVENTS {
            return None;
        }
        let mut events = Vec::with_capacity(self.records.len());
        let mut bytes = 0;
        let mut push = |source: usize, record: usize, event: Event| {
            let size = event.content.len();
            bytes += size;
            let is_too_large = size > MAX_EVENT_BYTES || bytes > MAX_BURST_BYTES;
            events.push(((source, record), event));
            (!is_too_large).then_some(())
        };
        if !self.records.is_empty() {
            for employee in view.index().employees() {
                // Shared by the employee's events.
                let mut id: Option<Arc<str>> = None;
                for (priority, incident) in Filter::default().incidents(&employee) {
                    let source = incident.source();
                    if let Some(record) =
                        self.by_start.get(&(source, incident.members_span().start))
                    {
                        let id = id.get_or_insert_with(|| Arc::from(employee.id));
                        let event = event::incident(view, id, priority, incident);
                        push(source, *record, event)?;
                    }
                }
            }
            for item in view.index().unattributed() {
                if self.records.contains(&(item.source(), item.record())) {
                    push(item.source(), item.record(), event::unattributed(view, *item))?;
                }
            }
        }
        events.sort_by_key(|(position, _)| *position);
        Some(events.into_iter().map(|(_, event)| event).collect())
    }

    /// Whom a `reset` instead of the events concerns: to others it would tell that there are many
    /// records which they may not see.
    fn audience(&self, view: &View) -> Audience {
        let is_added = |source: usize, start: u32| self.by_start.contains_key(&(source, start));
        let employees = view.index().employees().filter(|employee| {
            Filter::default()
                .incidents(employee)
                .any(|(_, incident)| is_added(incident.source(), incident.members_span().start))
        });
        let recipients = Recipients::new(employees.map(|employee| employee.id));
        recipients.map_or(Audience::Everybody, Audience::AnyOf)
    }
}
