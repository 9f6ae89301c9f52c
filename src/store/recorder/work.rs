//! The CPU-bound part: how the records of a refresh differ from what is stored.

use std::sync::Arc;

use super::attributions::{Attribution, Attributions};
use super::compare::{Difference, RecordDigests, StoredEntry, compare};
use super::digests::Digests;
use super::image::JoinedData;
use crate::decode::{Incidents, Record};
use crate::join::Reason;
use crate::snapshot::View;
use crate::store::{RecordChanges, StableId, Upsert};

/// A comparison of a source's records with what is stored of it. It keeps all bodies of the view
/// alive, so it lives only while it runs.
pub(super) struct Comparison {
    pub(super) view: Arc<View>,
    /// The index of the source among the incident sources.
    pub(super) source: usize,
    /// The source's batch in the view.
    pub(super) batch: Arc<Incidents>,
    pub(super) stored: Arc<Vec<StoredEntry>>,
    /// Whether the records are stored under the same definition.
    pub(super) is_same_definition: bool,
    pub(super) digests: Arc<Digests>,
    /// Those of the view, if they are known.
    pub(super) attributions: Option<Arc<Attributions>>,
}

/// The result of a [`Comparison`].
pub(super) struct Compared {
    /// `None` if all is stored.
    pub(super) changes: Option<(RecordChanges, Difference)>,
    pub(super) data: JoinedData,
    pub(super) attributions: Arc<Attributions>,
}

impl Comparison {
    pub(super) fn run(self) -> Compared {
        let Self { view, source, batch, stored, is_same_definition, digests, attributions } = self;
        let attributions = attributions
            .filter(|attributions| attributions.are_of(view.id()))
            .unwrap_or_else(|| Arc::new(Attributions::of(&view, &digests)));
        let name = &view.names()[source];
        let records = batch.records();
        let record_digests = |index: usize| {
            let record = &records[index];
            let attribution = attributions.get(source, index);
            RecordDigests {
                content: digests.content(batch.bytes(record), record.priority(), time(record)),
                attribution: attributions.digest(attribution),
                keeps_attribution: attribution
                    == Attribution::Nobody(Reason::IdentitiesUnavailable),
            }
        };
        let id = |index: usize| StableId::of(name, &batch, index);
        let difference = compare(&stored, records.len(), is_same_definition, record_digests, id);
        let is_stored = is_same_definition && difference.is_empty();
        let changes = (!is_stored).then(|| {
            let upsert = |(index, id): &(usize, StableId)| {
                upsert(&view, &batch, *index, *id, attributions.get(source, *index))
            };
            let changes = RecordChanges {
                upserts: difference.upserts.iter().map(upsert).collect(),
                left: difference.left.clone(),
                sequence: difference.sequence(),
            };
            (changes, difference)
        });
        Compared { changes, data: JoinedData::new(&batch, &view), attributions }
    }
}

fn upsert(
    view: &View,
    batch: &Incidents,
    index: usize,
    id: StableId,
    attribution: Attribution,
) -> Upsert {
    let record = &batch.records()[index];
    let (start, length) = (record.span().start as usize, record.span().length as usize);
    let (employee_id, reason) = attribution.parts(view.index());
    Upsert {
        id,
        bytes: batch.body().slice(start..start + length),
        employee_id: employee_id.map(Into::into),
        priority: record.priority(),
        timestamp: time(record),
        reason,
    }
}

fn time(record: &Record) -> Option<f64> {
    Some(record.timestamp()).filter(|timestamp| timestamp.is_finite())
}
