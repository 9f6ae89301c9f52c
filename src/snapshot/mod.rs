//! An immutable snapshot: the joined view, and the status of each source.

mod completeness;
pub mod metrics;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use completeness::{Completeness, Freshness, Policy};

use crate::clock::FetchTime;
use crate::decode::{Incidents, Record};
use crate::identity::{IdentityTable, TableSlot};
use crate::join::{IncidentIndex, IncidentRef, Unattributed};
use crate::outcome::Outcome;
use crate::sources::{Fingerprint, PerSource};

/// The joined records of all sources, with the bodies that contain them.
#[derive(Debug)]
pub struct View {
    id: u64,
    names: Arc<[Arc<str>]>,
    fields: Arc<[Arc<str>]>,
    batches: Box<[Option<Arc<Incidents>>]>,
    revisions: Box<[u64]>,
    index: IncidentIndex,
    /// The tables that have names of persons, in the order in which they are looked up.
    person_tables: Vec<Arc<IdentityTable>>,
    /// The data of each configured identity table.
    tables: Box<[Option<Arc<IdentityTable>>]>,
    /// For each source, the body of its batch; empty without a batch.
    bodies: Box<[Bytes]>,
}

impl View {
    /// A view of `batches` and the `index` that [`join`](crate::join::join) made of them. `names`
    /// are those of the batches' sources; `id` is unique within the process.
    #[must_use]
    pub fn new(
        id: u64,
        names: Arc<[Arc<str>]>,
        batches: Box<[Option<Arc<Incidents>>]>,
        index: IncidentIndex,
    ) -> Self {
        let body = |batch: &Option<Arc<Incidents>>| {
            batch.as_ref().map_or_else(Bytes::new, |batch| batch.body().clone())
        };
        let bodies = batches.iter().map(body).collect();
        let (fields, person_tables) = (Arc::default(), Vec::new());
        let revisions = vec![0; batches.len()].into();
        let tables = Box::default();
        Self { id, names, fields, batches, revisions, index, person_tables, tables, bodies }
    }

    /// Sets the fields that the records of its sources are known to have. CSV has a column for
    /// each.
    #[must_use]
    pub fn with_fields(self, fields: Arc<[Arc<str>]>) -> Self {
        Self { fields, ..self }
    }

    /// Sets the tables that the records were joined with. They have the names of persons.
    #[must_use]
    pub fn with_tables(self, tables: &[TableSlot]) -> Self {
        let tables = tables.iter().filter_map(|slot| slot.table.as_ref());
        let person_tables = tables.filter(|table| table.has_names()).cloned().collect();
        Self { person_tables, ..self }
    }

    /// Sets the data of each configured identity table.
    #[must_use]
    pub fn with_table_data(self, tables: Box<[Option<Arc<IdentityTable>>]>) -> Self {
        Self { tables, ..self }
    }

    /// Sets the revisions of the batches, each of which is 0 otherwise.
    #[must_use]
    pub fn with_revisions(self, revisions: Box<[u64]>) -> Self {
        debug_assert_eq!(revisions.len(), self.batches.len());
        Self { revisions, ..self }
    }

    /// The id, which is unique within the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The incidents by employee, and the unattributed records.
    #[must_use]
    pub fn index(&self) -> &IncidentIndex {
        &self.index
    }

    /// The name of the person with this employee id: the first that a table has, in the order in
    /// which tables are looked up.
    #[must_use]
    pub fn person_name(&self, employee_id: &str) -> Option<&str> {
        self.person_tables.iter().find_map(|table| table.name(employee_id))
    }

    /// The data of each configured identity table, with which the records were joined.
    #[must_use]
    pub fn tables(&self) -> &[Option<Arc<IdentityTable>>] {
        &self.tables
    }

    /// The names of the incident sources, in the configured order.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The fields that the records of its sources are known to have, also of sources without data.
    #[must_use]
    pub fn fields(&self) -> &[Arc<str>] {
        &self.fields
    }

    /// The batches of the incident sources, in the configured order.
    #[must_use]
    pub fn batches(&self) -> &[Option<Arc<Incidents>>] {
        &self.batches
    }

    /// For each incident source, a number that identifies the definition under which its batch was
    /// fetched. Batches with different numbers are not comparable.
    #[must_use]
    pub fn revisions(&self) -> &[u64] {
        &self.revisions
    }

    /// The total size of the sources' bodies, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bodies.iter().map(Bytes::len).sum()
    }

    /// The members of an incident's record, byte for byte: everything after the opening brace, the
    /// closing brace included.
    ///
    /// # Panics
    ///
    /// When the incident is of another view.
    #[must_use]
    #[inline]
    pub fn members(&self, incident: &IncidentRef) -> &[u8] {
        incident.members_span().of(&self.bodies[incident.source()])
    }

    /// A record without an employee, and its bytes.
    ///
    /// # Panics
    ///
    /// When the record is of another view.
    #[must_use]
    pub fn unattributed(&self, unattributed: &Unattributed) -> (&Record, &[u8]) {
        let batch = self.batches[unattributed.source()]
            .as_ref()
            .expect("an unattributed record is of a batch");
        let record = &batch.records()[unattributed.record()];
        (record, batch.bytes(record))
    }
}

/// The status of a source, the identities included.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The name of its upstream; `None` for files.
    pub upstream: Option<Arc<str>>,
    /// The ages at which its data changes its state.
    pub policy: Policy,
    /// When the data in the snapshot was fetched.
    pub fetched_at: Option<FetchTime>,
    /// Where that data comes from.
    pub origin: Option<DataOrigin>,
    /// Of an incremental source with data: where its next fetch goes on.
    pub resume: Option<ResumeTimes>,
    /// When an attempt last succeeded; kept when the data has grown too old.
    pub last_success: Option<SystemTime>,
    /// When the last attempt started, whether it succeeded or not.
    pub last_attempt: Option<SystemTime>,
    /// How long the last finished attempt took.
    pub last_duration: Option<Duration>,
    /// Why the last attempt failed; `None` after a success.
    pub last_error: Option<SourceError>,
    /// How many attempts have failed since the last success.
    pub consecutive_failures: u32,
    /// Records in the data; of a table, addresses or rows.
    pub records: usize,
    /// Bytes of the data, decompressed.
    pub bytes: usize,
    /// How many pages the data came in; for files, how many there were.
    pub pages: usize,
    /// Records that a later copy with the same id replaced.
    pub duplicates: usize,
    /// The priority values that map to nothing, with how many records have each; the first 20.
    pub unmapped: Arc<[(String, usize)]>,
    /// In a table: how often a key was given to another employee than it had.
    pub conflicts: usize,
    /// Whether the source said that there are more records than it sent.
    pub truncated: bool,
    /// Whether an attempt has ended since the start, successfully or not.
    pub was_attempted: bool,
    /// Whether callers wait for the end of the first attempt. They do not wait for a source that a
    /// reload has added while there was data.
    pub is_awaited: bool,
    /// When the next attempt is due; `None` while one is under way.
    pub next_attempt: Option<Instant>,
}

/// Where the data of a source comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DataOrigin {
    /// The fingerprint of the definition under which it was fetched.
    pub fingerprint: Fingerprint,
    /// The number of the lease under which this process fetched it. It is `None` for data that was
    /// fetched without the lease, or comes from the store: neither is to be stored.
    pub lease: Option<u64>,
}

/// From when on the next fetch of an incremental source asks; seconds since the epoch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResumeTimes {
    /// The `{now}` of the last fetch.
    pub now: i64,
    /// The `{now}` of the last fetch of the whole window.
    pub full_at: i64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceError {
    /// The kind of failure.
    pub kind: Outcome,
    /// A sentence for people. Contains no secret, and nothing that the upstream sent.
    pub detail: String,
}

impl SourceStatus {
    /// The status of a source that was not called yet.
    #[must_use]
    pub fn new(name: Arc<str>, policy: Policy) -> Self {
        Self {
            name,
            upstream: None,
            policy,
            fetched_at: None,
            origin: None,
            resume: None,
            last_success: None,
            last_attempt: None,
            last_duration: None,
            last_error: None,
            consecutive_failures: 0,
            records: 0,
            bytes: 0,
            pages: 0,
            duplicates: 0,
            unmapped: Arc::default(),
            conflicts: 0,
            truncated: false,
            was_attempted: false,
            is_awaited: true,
            next_attempt: None,
        }
    }

    /// The same status when the data is dropped.
    #[must_use]
    pub fn without_data(self) -> Self {
        Self {
            fetched_at: None,
            origin: None,
            resume: None,
            records: 0,
            bytes: 0,
            pages: 0,
            duplicates: 0,
            unmapped: Arc::default(),
            conflicts: 0,
            truncated: false,
            ..self
        }
    }

    /// The age of its data.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.fetched_at.map(|fetched_at| fetched_at.age(now))
    }

    /// The state of its data at `now`.
    #[must_use]
    pub fn freshness(&self, now: Instant) -> Freshness {
        self.policy.freshness(self.fetched_at, self.consecutive_failures, now)
    }
}

/// What is served: a view, and the status of each source.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The joined data.
    pub view: Arc<View>,
    /// The status of each source.
    pub sources: Arc<PerSource<SourceStatus>>,
    /// Whether there was incident data before the last reload.
    pub had_data: bool,
}

impl Snapshot {
    /// The completeness of an answer from this snapshot at `now`.
    #[must_use]
    pub fn completeness(&self, now: Instant) -> Completeness {
        Completeness::of(self.sources.iter().map(|source| source.freshness(now)))
    }

    /// The age of the oldest data in the snapshot; `None` while there is none.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.sources.iter().filter_map(|source| source.age(now)).max()
    }

    /// Whether there is any incident data to serve.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.view.batches().iter().any(Option::is_some)
    }

    /// Whether there has been incident data since the start, even if it is too old by now.
    /// Readiness depends on this: answers say that data is missing, and taking every replica out of
    /// service at once would help nobody.
    #[must_use]
    pub fn has_had_data(&self) -> bool {
        self.had_data
            || self.has_data()
            || self.sources.incidents().iter().any(|source| source.last_success.is_some())
    }

    /// Whether the first attempt at some source that callers wait for has not ended.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.sources.iter().any(|source| source.is_awaited && !source.was_attempted)
    }

    /// Whether an attempt is under way at a source that has no data.
    #[must_use]
    pub fn is_fetching_missing(&self) -> bool {
        self.sources
            .iter()
            .any(|source| source.fetched_at.is_none() && source.next_attempt.is_none())
    }
}
