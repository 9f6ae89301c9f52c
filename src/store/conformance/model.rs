//! A model of what is stored, as simple as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::join::Reason;
use crate::sources::Fingerprint;
use crate::store::{
    Content, DeadLetter, HistoryRow, RecordChanges, SequenceItem, SourceReport, SourceWrite,
    StableId, StoredForward, Upsert, Version, Written,
};

/// A stored record.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) source: String,
    pub(super) version: Version,
    pub(super) record: Upsert,
    /// As the store has shown it; `None` until it is seen.
    pub(super) number: Option<i64>,
    /// The number that it had first.
    pub(super) first_number: Option<i64>,
    /// Whether the first stored refresh of its source has brought it.
    pub(super) is_of_first_refresh: bool,
    pub(super) first_seen: f64,
    pub(super) last_seen: Option<f64>,
}

/// What is stored of a source beside its records.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) fingerprint: Fingerprint,
    pub(super) revision: i64,
    pub(super) fetched_at: f64,
    pub(super) report: SourceReport,
    pub(super) sequence: Vec<Version>,
}

/// What is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<StableId, Row>,
    /// Sources that are no longer configured have none.
    pub(super) heads: BTreeMap<String, Head>,
    /// When each source last succeeded, configured or not.
    pub(super) last_success: BTreeMap<String, f64>,
    /// The greatest revision of each source.
    pub(super) revisions: BTreeMap<String, i64>,
    /// The sources whose first records, if only none, were written.
    pub(super) refreshed: BTreeSet<String>,
    pub(super) forwards: BTreeMap<String, StoredForward>,
    /// With the names of their forwards.
    pub(super) dead_letters: Vec<(String, DeadLetter)>,
    pub(super) greatest_version: i64,
    pub(super) greatest_number: i64,
}

/// The present time in seconds since the epoch. The store's clock must be about the same.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Model {
    /// What a refresh writes that has brought these records; a record may be listed repeatedly.
    pub(super) fn write(
        &self,
        source: &str,
        fingerprint: Fingerprint,
        age: Duration,
        listed: &[Upsert],
    ) -> SourceWrite {
        let mut upserts: Vec<Upsert> = Vec::new();
        let item = |record: &Upsert| {
            let stored = self.rows.get(&record.id);
            if let Some(row) = stored.filter(|row| row.last_seen.is_none())
                && row.record == kept_attribution(Some(&row.record), record.clone())
            {
                return SequenceItem::Stored(row.version);
            }
            let known = upserts.iter().position(|known| known.id == record.id);
            SequenceItem::Upsert(known.unwrap_or_else(|| {
                upserts.push(record.clone());
                upserts.len() - 1
            }))
        };
        let sequence = listed.iter().map(item).collect();
        let is_listed = |id: &StableId| listed.iter().any(|record| record.id == *id);
        let left = self
            .rows
            .iter()
            .filter(|(id, row)| row.source == source && row.last_seen.is_none() && !is_listed(id));
        let left = left.map(|(_, row)| row.version).collect();
        let report = SourceReport { records: listed.len(), ..SourceReport::default() };
        let content = Some(Content::Records(RecordChanges { upserts, left, sequence }));
        SourceWrite {
            name: source.to_owned(),
            fingerprint,
            based_on: None,
            age: Some(age),
            report,
            content,
        }
    }

    /// Applies what the store has written.
    pub(super) fn apply(&mut self, write: &SourceWrite, written: Written, now: f64) {
        let Some(age) = write.age else {
            if let Some(head) = self.heads.get_mut(&write.name)
                && head.fingerprint == write.fingerprint
            {
                head.report = write.report.clone();
                assert_eq!(written.revision, head.revision, "a failure changes no content");
            }
            return;
        };
        let fetched_at = now - age.as_secs_f64();
        let before = self.heads.get(&write.name).cloned();
        let mut sequence = before.as_ref().map_or_else(Vec::new, |head| head.sequence.clone());
        let greatest = self.revisions.get(&write.name).copied();
        match &write.content {
            Some(_) => {
                assert!(greatest.is_none_or(|it| it < written.revision), "revisions grow");
            }
            None => {
                let revision = before.as_ref().map(|head| head.revision);
                assert!(revision.is_none_or(|it| it == written.revision), "nothing has changed");
            }
        }
        if let Some(Content::Records(changes)) = &write.content {
            sequence = self.change(write, changes, written.first_version.0, fetched_at);
        }
        self.revisions.insert(write.name.clone(), written.revision);
        self.last_success.insert(write.name.clone(), fetched_at);
        let SourceWrite { name, fingerprint, report, .. } = write.clone();
        let revision = written.revision;
        self.heads.insert(name, Head { fingerprint, revision, fetched_at, report, sequence });
    }

    /// Returns the new sequence.
    fn change(
        &mut self,
        write: &SourceWrite,
        changes: &RecordChanges,
        first_version: i64,
        fetched_at: f64,
    ) -> Vec<Version> {
        let source = &write.name;
        let is_first_refresh = self.refreshed.insert(source.clone());
        let last_success = self.last_success.get(source).copied().unwrap_or(fetched_at);
        for row in self.rows.values_mut().filter(|row| changes.left.contains(&row.version)) {
            row.last_seen = Some(last_success.max(row.first_seen));
        }
        let version = |index: usize| Version(first_version + i64::try_from(index).unwrap());
        if !changes.upserts.is_empty() {
            assert!(first_version > self.greatest_version, "a version is never used again");
            self.greatest_version = version(changes.upserts.len() - 1).0;
        }
        for (index, record) in changes.upserts.iter().enumerate() {
            let before = self.rows.remove(&record.id);
            let had_none = before.as_ref().is_none_or(|it| it.record.employee_id.is_none());
            let record = kept_attribution(before.as_ref().map(|it| &it.record), record.clone());
            let takes_number = had_none && record.employee_id.is_some();
            let number = before.as_ref().and_then(|it| it.number).filter(|_| !takes_number);
            let row = Row {
                source: source.clone(),
                version: version(index),
                number,
                first_number: before.as_ref().and_then(|it| it.first_number),
                is_of_first_refresh: before
                    .as_ref()
                    .map_or(is_first_refresh, |it| it.is_of_first_refresh),
                first_seen: before.map_or(fetched_at, |it| it.first_seen),
                last_seen: None,
                record,
            };
            self.rows.insert(row.record.id, row);
        }
        let item = |item: &SequenceItem| match *item {
            SequenceItem::Stored(version) => version,
            SequenceItem::Upsert(index) => version(index),
        };
        changes.sequence.iter().map(item).collect()
    }

    pub(super) fn retain(&mut self, names: &[String]) {
        for row in self.rows.values_mut().filter(|row| !names.contains(&row.source)) {
            if row.last_seen.is_none() {
                row.last_seen = Some(self.last_success[&row.source].max(row.first_seen));
            }
        }
        self.heads.retain(|name, _| names.contains(name));
    }

    /// Deletes an employee's records; returns how many. The dead letters go with them.
    pub(super) fn forget(&mut self, employee_id: &str) -> u64 {
        let is_of_employee = |of: Option<&str>| of == Some(employee_id);
        let deleted = self.rows.values().map(|row| &row.record);
        let deleted = deleted.filter(|record| is_of_employee(record.employee_id.as_deref()));
        let deleted: Vec<_> = deleted.map(|record| record.id).collect();
        self.dead_letters.retain(|(_, letter)| {
            !is_of_employee(letter.employee_id.as_deref()) && !deleted.contains(&letter.id)
        });
        self.delete(|row| is_of_employee(row.record.employee_id.as_deref()))
    }

    pub(super) fn delete(&mut self, is_deleted: impl Fn(&Row) -> bool) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, row| !is_deleted(row));
        (before - self.rows.len()) as u64
    }

    /// The current records of a source in upstream order.
    pub(super) fn listed(&self, source: &str) -> Vec<&Row> {
        let sequence = self.heads.get(source).map_or(&[][..], |head| &head.sequence);
        let row = |version| self.rows.values().find(|row| row.version == version);
        sequence.iter().filter_map(|version| row(*version)).collect()
    }

    /// A row as the history shows it. Its number must be known.
    pub(super) fn history_row(&self, row: &Row) -> HistoryRow {
        let last_success = self.last_success[&row.source].max(row.first_seen);
        HistoryRow {
            id: row.record.id,
            number: row.number.expect("it has been seen"),
            source: row.source.clone(),
            employee_id: row.record.employee_id.as_deref().map(str::to_owned),
            priority: row.record.priority,
            timestamp: row.record.timestamp,
            reason: row.record.reason,
            first_seen: row.first_seen,
            last_seen: row.last_seen.unwrap_or(last_success),
            is_current: row.last_seen.is_none(),
            bytes: row.record.bytes.to_vec(),
        }
    }
}

/// A record as it is stored in place of one with the same id: while identities are unavailable, the
/// attribution stays.
fn kept_attribution(before: Option<&Upsert>, mut record: Upsert) -> Upsert {
    if let Some(before) = before
        && record.reason == Some(Reason::IdentitiesUnavailable)
    {
        record.employee_id.clone_from(&before.employee_id);
        record.reason = before.reason;
    }
    record
}
