//! Writes to the store in memory.

use std::time::SystemTime;

use super::{Memory, StoredRow, StoredSource};
use crate::join::Reason;
use crate::store::{
    Content, RecordChanges, SequenceItem, SourceReport, SourceWrite, StableId, StoreError, Upsert,
    Version, Written,
};

impl Memory {
    pub(super) fn write(
        &mut self,
        write: SourceWrite,
        now: SystemTime,
    ) -> Result<Written, StoreError> {
        if *self.read_forgotten.get_or_insert(self.forgotten) != self.forgotten {
            self.read_forgotten = None;
            return Err(StoreError::Forgotten);
        }
        let revision = self.sources.get(&write.name).map_or(0, |source| source.revision);
        if write.based_on.is_some_and(|based_on| based_on != revision) {
            return Err(StoreError::Outdated);
        }
        self.writes.push(write.clone());
        let SourceWrite { name, fingerprint, age, report, content, .. } = write;
        let first_version = Version(self.last_version + 1);
        let Some(age) = age else {
            assert!(content.is_none(), "a failure changes the report alone");
            let source = self.sources.get_mut(&name).expect("only stored sources can fail");
            source.report = report;
            return Ok(Written { first_version, revision: source.revision });
        };
        let fetched_at = now - age;
        let before = self.sources.get(&name).cloned();
        let mut source = before.clone().unwrap_or(StoredSource {
            fingerprint,
            revision: 0,
            fetched_at,
            report: SourceReport::default(),
            sequence: Vec::new(),
            table: None,
        });
        (source.fingerprint, source.fetched_at, source.report) = (fingerprint, fetched_at, report);
        if content.is_some() {
            self.last_revision += 1;
            source.revision = self.last_revision;
        }
        match content {
            None => assert!(before.is_some(), "the first write of a source has content"),
            Some(Content::Table(bytes)) => source.table = Some(bytes),
            Some(Content::Records(changes)) => {
                let last_success = before.map(|before| before.fetched_at);
                source.sequence = self.change_records(&name, changes, fetched_at, last_success);
                self.first_through.entry(name.clone()).or_insert(self.last_number);
            }
        }
        let revision = source.revision;
        self.sources.insert(name, source);
        Ok(Written { first_version, revision })
    }

    /// Returns the source's sequence.
    fn change_records(
        &mut self,
        source: &str,
        changes: RecordChanges,
        fetched_at: SystemTime,
        last_success: Option<SystemTime>,
    ) -> Vec<Version> {
        let first_version = self.last_version + 1;
        for version in changes.left {
            let row = self.records.get_mut(&version).expect("only stored records leave");
            assert!(row.source == source && row.last_seen.is_none(), "it left before");
            let last_success = last_success.expect("a source has records after a success");
            row.last_seen = Some(last_success.max(row.first_seen));
        }
        let mut ids: Vec<StableId> = changes.upserts.iter().map(|upsert| upsert.id).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "each id is written once");
        for upsert in changes.upserts {
            self.upsert(source, upsert, fetched_at);
        }
        let version = |item: SequenceItem| match item {
            SequenceItem::Stored(version) => version,
            SequenceItem::Upsert(index) => Version(first_version + i64::try_from(index).unwrap()),
        };
        let sequence: Vec<Version> = changes.sequence.into_iter().map(version).collect();
        for version in &sequence {
            let row = self.records.get(version).expect("the sequence has stored records");
            assert!(row.source == source && row.last_seen.is_none(), "they are current");
        }
        sequence
    }

    pub(crate) fn upsert(&mut self, source: &str, mut record: Upsert, fetched_at: SystemTime) {
        let stored = self.records.iter().find(|(_, row)| row.record.id == record.id);
        let stored = stored.map(|(version, _)| *version);
        let before = stored.and_then(|version| self.records.remove(&version));
        if let Some(before) = &before
            && record.reason == Some(Reason::IdentitiesUnavailable)
        {
            record.employee_id.clone_from(&before.record.employee_id);
            record.reason = before.record.reason;
        }
        let gets_employee = |before: &StoredRow| {
            before.record.employee_id.is_none() && record.employee_id.is_some()
        };
        let number = match &before {
            Some(before) if !gets_employee(before) => before.number,
            _ => {
                self.last_number += 1;
                self.last_number
            }
        };
        let first_number = before.as_ref().map_or(number, |before| before.first_number);
        let first_seen = before.map_or(fetched_at, |before| before.first_seen);
        self.last_version += 1;
        let source = source.to_owned();
        let row = StoredRow { number, first_number, source, record, first_seen, last_seen: None };
        self.records.insert(Version(self.last_version), row);
    }
}
