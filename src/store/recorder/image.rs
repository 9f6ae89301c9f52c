//! What is known to be stored of a source's content.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::compare::StoredEntry;
use super::digests::Digests;
use crate::background::run_cpu_bound;
use crate::decode::Incidents;
use crate::identity::IdentityTable;
use crate::snapshot::View;
use crate::store::{RecordChunk, Store, StoreError, StoredRecord, Version};

/// The most records that are read at once.
const MAX_READ_RECORDS: usize = 10_000;

/// The stored records of a source.
#[derive(Debug)]
pub(super) struct RecordsImage {
    /// The source's revision with these records; `None` while none of it is stored.
    pub(super) revision: Option<i64>,
    pub(super) entries: Arc<Vec<StoredEntry>>,
    /// The data that was found to be these records.
    pub(super) data: Option<JoinedData>,
}

/// The stored content of a table.
#[derive(Debug)]
pub(super) struct TableImage {
    pub(super) revision: Option<i64>,
    /// The table with this content. Weak, so that no superseded table is kept in memory.
    pub(super) table: Weak<IdentityTable>,
}

/// A batch and the tables with which it was joined: what the attribution of its records depends
/// on. Weak, so that no superseded body is kept in memory.
#[derive(Debug)]
pub(super) struct JoinedData {
    batch: Weak<Incidents>,
    tables: Vec<Option<Weak<IdentityTable>>>,
}

impl JoinedData {
    pub(super) fn new(batch: &Arc<Incidents>, view: &View) -> Self {
        let tables = view.tables().iter().map(|table| table.as_ref().map(Arc::downgrade));
        Self { batch: Arc::downgrade(batch), tables: tables.collect() }
    }

    /// Whether a batch of a view is this one, joined with the same tables.
    fn is(&self, batch: &Arc<Incidents>, view: &View) -> bool {
        let is_same_table = |(one, other): (&Option<Weak<_>>, &Option<Arc<_>>)| match (one, other) {
            (Some(one), Some(other)) => one.as_ptr() == Arc::as_ptr(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.batch.as_ptr() == Arc::as_ptr(batch)
            && self.tables.len() == view.tables().len()
            && self.tables.iter().zip(view.tables()).all(is_same_table)
    }
}

impl RecordsImage {
    /// Whether a batch of a view was found to be these records.
    pub(super) fn is_of(&self, batch: &Arc<Incidents>, view: &View) -> bool {
        self.data.as_ref().is_some_and(|data| data.is(batch, view))
    }
}

impl TableImage {
    pub(super) fn is_of(&self, table: &Arc<IdentityTable>) -> bool {
        self.table.as_ptr() == Arc::as_ptr(table)
    }
}

/// Reads which records of a source are stored.
pub(super) async fn read_entries(
    store: &dyn Store,
    source: &str,
    digests: &Arc<Digests>,
) -> Result<Vec<StoredEntry>, StoreError> {
    let sequence = store.sequence(source).await?;
    let mut versions = sequence.clone();
    versions.sort_unstable();
    versions.dedup();
    let mut entries = HashMap::with_capacity(versions.len());
    for versions in versions.chunks(MAX_READ_RECORDS) {
        let chunk = store.records(versions).await?;
        let digests = Arc::clone(digests);
        entries.extend(run_cpu_bound(move || digested(&chunk, &digests)).await);
    }
    Ok(sequence.iter().filter_map(|version| entries.get(version).copied()).collect())
}

fn digested(chunk: &RecordChunk, digests: &Digests) -> Vec<(Version, StoredEntry)> {
    let entry = |record: StoredRecord<'_>| {
        let StoredRecord { version, id, bytes, employee_id, priority, timestamp, reason } = record;
        let content = digests.content(bytes, priority, timestamp);
        let attribution =
            employee_id.map_or_else(|| Digests::reason(reason), |id| digests.employee(id));
        (version, StoredEntry { id, content, attribution, version })
    };
    chunk.iter().map(entry).collect()
}
