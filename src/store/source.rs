//! What is stored of a source beside its records, and what a refresh writes.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Upsert, Version};
use crate::snapshot::ResumeTimes;
use crate::sources::Fingerprint;

/// What is stored of all sources, without their records.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// Those of the sources.
    pub sources: Vec<SourceHead>,
    /// The concurrency limits that were found, by the name of the upstream.
    pub limits: Vec<(String, usize)>,
}

/// What is stored of a source, without its records.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceHead {
    /// Its name: of an incident source, or of an identity table.
    pub name: String,
    /// The fingerprint of the definition under which its data was fetched.
    pub fingerprint: Fingerprint,
    /// Identifies its content: the records of its last good data and their order, or its table.
    /// It grows with each change, and never has the same value again.
    pub revision: i64,
    /// How old its data was when this was read, by the store's clock; never negative.
    pub age: Duration,
    /// When its data was fetched, by the store's clock.
    pub fetched_at: SystemTime,
    /// What the last refresh reported.
    pub report: SourceReport,
}

/// What a refresh reports of a source beside its data. Stored as one JSON text; members that are
/// absent have their defaults, so that members can be added.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct SourceReport {
    /// Records in the data; of a table, addresses or rows.
    pub records: usize,
    /// Bytes of the data, decompressed.
    pub bytes: usize,
    /// How many pages or files it came in.
    pub pages: usize,
    /// Records that a later copy with the same id replaced.
    pub duplicates: usize,
    /// Whether the source said that there are more records than it sent.
    pub truncated: bool,
    /// How many attempts have failed since the last success.
    pub consecutive_failures: u32,
    /// The kind ([`Outcome::as_str`](crate::outcome::Outcome::as_str)) and the detail of the last
    /// failure; `None` after a success.
    pub last_error: Option<(String, String)>,
    /// When the last attempt began, in seconds since the epoch.
    pub last_attempt: Option<f64>,
    /// How long the last attempt took, in seconds.
    pub last_duration: Option<f64>,
    /// Of an incremental source: where its next fetch goes on.
    pub resume: Option<ResumeTimes>,
}

/// What a refresh of a source has brought.
#[derive(Clone, Debug)]
pub struct SourceWrite {
    /// The source's name.
    pub name: String,
    /// The fingerprint of its definition.
    pub fingerprint: Fingerprint,
    /// The revision on which the write is based: with another one it is refused, unless it is a
    /// failure. 0 stands for a source that has no head; `None` for whatever is stored.
    pub based_on: Option<i64>,
    /// How long ago the data was fetched. It is `None` after a failure, which changes the report
    /// alone.
    pub age: Option<Duration>,
    /// What the refresh reports.
    pub report: SourceReport,
    /// How the content has changed, if it has. Without it one row is written.
    pub content: Option<Content>,
}

/// The content of a source that has changed.
#[derive(Clone, Debug)]
pub enum Content {
    /// The records of an incident source.
    Records(RecordChanges),
    /// An identity table, in the format of
    /// [`IdentityTable::to_bytes`](crate::identity::IdentityTable::to_bytes).
    Table(Vec<u8>),
}

/// How the records of a source have changed.
#[derive(Clone, Debug, Default)]
pub struct RecordChanges {
    /// Records that are new, have returned, or have changed; each stable id at most once.
    pub upserts: Vec<Upsert>,
    /// The versions of records that are no longer current. Their `last_seen` becomes the time of
    /// the source's last success before this one.
    pub left: Vec<Version>,
    /// All records of the source now, in upstream order.
    pub sequence: Vec<SequenceItem>,
}

/// A record in a [`RecordChanges::sequence`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SequenceItem {
    /// A stored record that has not changed.
    Stored(Version),
    /// The record with this index in [`RecordChanges::upserts`].
    Upsert(usize),
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// The version of the first upsert; the others have the versions that follow, in their order.
    pub first_version: Version,
    /// The source's revision now.
    pub revision: i64,
}
