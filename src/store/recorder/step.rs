//! What is to be done next about a source.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::compare::Difference;
use super::image::{JoinedData, RecordsImage, TableImage, read_entries};
use super::work::{Compared, Comparison};
use super::{Head, Recorder};
use crate::background::run_cpu_bound;
use crate::clock::FetchTime;
use crate::decode::Incidents;
use crate::identity::IdentityTable;
use crate::snapshot::{DataOrigin, Snapshot, SourceStatus};
use crate::sources::{Fingerprint, SourceId};
use crate::store::{Content, Epoch, Operation, SourceReport, SourceWrite, StoreError, Written};

/// What is to be done next about a source.
enum Step {
    /// Nothing: all is stored, or is not for this process to store.
    Done,
    ReadHeads,
    /// Read which records are stored.
    ReadRecords,
    /// Read whether this table is stored.
    ReadTable(Arc<IdentityTable>),
    CompareRecords(Box<Comparison>, Box<Refreshed>),
    WriteTable(Arc<IdentityTable>, Box<Refreshed>),
    /// Write that the content has not changed.
    WriteUnchanged(Box<Refreshed>),
    /// Write a report alone, which changes nothing else.
    WriteReport(Fingerprint, Box<SourceReport>),
}

/// What a refresh tells of a source.
struct Refreshed {
    fingerprint: Fingerprint,
    fetched_at: FetchTime,
    report: SourceReport,
}

/// The data of a source in a snapshot.
enum Data<'a> {
    /// Of an incident source; with its index.
    Records(usize, &'a Arc<Incidents>),
    Table(&'a Arc<IdentityTable>),
}

/// How an image changes when a write succeeds.
enum ImageChange {
    None,
    Records(Difference, JoinedData),
    Table(Weak<IdentityTable>),
}

impl Recorder {
    /// Writes what has changed of the source at this position in the newest snapshot.
    pub(super) async fn write_source(
        &mut self,
        epoch: Epoch,
        position: usize,
    ) -> Result<(), StoreError> {
        loop {
            let Some((name, step)) = self.next_step(epoch, position) else { return Ok(()) };
            match step {
                Step::Done => return Ok(()),
                Step::ReadHeads => self.read_heads().await?,
                Step::ReadRecords => self.read_records(&name).await?,
                Step::ReadTable(table) => self.read_table(&name, table).await?,
                Step::CompareRecords(comparison, refreshed) => {
                    let compared = run_cpu_bound(|| comparison.run()).await;
                    let Compared { changes, data, attributions } = compared;
                    self.attributions = Some(attributions);
                    let Some((changes, difference)) = changes else {
                        let records = self.recorded(&name).records.as_mut();
                        records.expect("they were compared").data = Some(data);
                        continue;
                    };
                    let content = Some(Content::Records(changes));
                    let change = ImageChange::Records(difference, data);
                    return self.write(epoch, &name, *refreshed, content, change).await;
                }
                Step::WriteTable(table, refreshed) => {
                    let change = ImageChange::Table(Arc::downgrade(&table));
                    let bytes = run_cpu_bound(move || table.to_bytes()).await;
                    let content = Some(Content::Table(bytes));
                    return self.write(epoch, &name, *refreshed, content, change).await;
                }
                Step::WriteUnchanged(refreshed) => {
                    return self.write(epoch, &name, *refreshed, None, ImageChange::None).await;
                }
                Step::WriteReport(fingerprint, report) => {
                    let (name, report) = (name.to_string(), *report);
                    let write = SourceWrite {
                        name,
                        fingerprint,
                        based_on: None,
                        age: None,
                        report,
                        content: None,
                    };
                    return self.send(epoch, write).await.map(drop);
                }
            }
        }
    }

    /// The name of the source at this position in the newest snapshot, and what is to be done about
    /// it. `None` if there is no source at this position.
    fn next_step(&mut self, epoch: Epoch, position: usize) -> Option<(Arc<str>, Step)> {
        // Not cloned: freeing a replaced snapshot takes long, and is left to the refresh.
        let snapshot = self.snapshots.borrow();
        let id = snapshot.sources.ids().nth(position)?;
        let status = &snapshot.sources[id];
        let name = Arc::clone(&status.name);
        let recorded = self.sources.entry_ref(&name).or_default();
        let is_under_way = status.next_attempt.is_none();
        let own = own_data(&snapshot, id, status, epoch);
        if own.is_none() && status.last_error.is_none() {
            return Some((name, Step::Done));
        }
        let Some(heads) = &self.heads else { return Some((name, Step::ReadHeads)) };
        let head = heads.get(&*name);
        let Some((fingerprint, fetched_at, data)) = own else {
            return Some((name, failure(status, head, is_under_way)));
        };
        let refreshed = || {
            let report = SourceReport::from(status);
            Box::new(Refreshed { fingerprint, fetched_at, report })
        };
        let revision = head.map(|head| head.revision);
        let is_same_definition = head.is_some_and(|head| head.fingerprint == fingerprint);
        let step = match data {
            Data::Records(source, batch) => {
                let definition = snapshot.view.revisions()[source];
                if std::mem::replace(&mut recorded.definition, definition) != definition
                    && recorded.records.is_some()
                {
                    // The source may have been removed in between, and its records with it.
                    return Some((name, Step::ReadHeads));
                }
                match recorded.records.as_ref().filter(|image| image.revision == revision) {
                    None => Step::ReadRecords,
                    Some(image) if is_same_definition && image.is_of(batch, &snapshot.view) => {
                        unchanged(refreshed(), head, recorded.fetched_at, is_under_way)
                    }
                    Some(image) => {
                        let comparison = Comparison {
                            view: Arc::clone(&snapshot.view),
                            source,
                            batch: Arc::clone(batch),
                            stored: Arc::clone(&image.entries),
                            is_same_definition,
                            digests: Arc::clone(&self.digests),
                            attributions: self.attributions.clone(),
                        };
                        Step::CompareRecords(Box::new(comparison), refreshed())
                    }
                }
            }
            Data::Table(table) => {
                match recorded.table.as_ref().filter(|image| image.revision == revision) {
                    None => Step::ReadTable(Arc::clone(table)),
                    Some(image) if is_same_definition && image.is_of(table) => {
                        unchanged(refreshed(), head, recorded.fetched_at, is_under_way)
                    }
                    Some(_) => Step::WriteTable(Arc::clone(table), refreshed()),
                }
            }
        };
        Some((name, step))
    }

    async fn read_heads(&mut self) -> Result<(), StoreError> {
        let heads = self.handle.store().heads().await?;
        let heads = heads.sources.into_iter().map(|head| {
            let (fingerprint, revision, report) = (head.fingerprint, head.revision, head.report);
            (head.name, Head { fingerprint, revision, report })
        });
        self.heads = Some(heads.collect());
        self.retry.note_success();
        Ok(())
    }

    async fn read_records(&mut self, name: &Arc<str>) -> Result<(), StoreError> {
        let revision = self.head(name).map(|head| head.revision);
        let entries = read_entries(&**self.handle.store(), name, &self.digests).await?;
        let image = RecordsImage { revision, entries: Arc::new(entries), data: None };
        self.recorded(name).records = Some(image);
        Ok(())
    }

    async fn read_table(
        &mut self,
        name: &Arc<str>,
        table: Arc<IdentityTable>,
    ) -> Result<(), StoreError> {
        let revision = self.head(name).map(|head| head.revision);
        let stored = self.handle.store().table(name).await?;
        let table = run_cpu_bound(move || {
            let is_stored = stored.is_some_and(|stored| stored == table.to_bytes());
            if is_stored { Arc::downgrade(&table) } else { Weak::new() }
        });
        let table = table.await;
        self.recorded(name).table = Some(TableImage { revision, table });
        Ok(())
    }

    fn head(&self, name: &str) -> Option<&Head> {
        self.heads.as_ref()?.get(name)
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        name: &Arc<str>,
        refreshed: Refreshed,
        content: Option<Content>,
        change: ImageChange,
    ) -> Result<(), StoreError> {
        let Refreshed { fingerprint, fetched_at, report } = refreshed;
        let is_new = content.is_some() || self.recorded(name).fetched_at != Some(fetched_at);
        let age = is_new.then(|| fetched_at.age(Instant::now()));
        let based_on = Some(self.head(name).map_or(0, |head| head.revision));
        let name_text = name.to_string();
        let write = SourceWrite { name: name_text, fingerprint, based_on, age, report, content };
        let Written { first_version, revision } = self.send(epoch, write).await?;
        let recorded = self.recorded(name);
        recorded.fetched_at = Some(fetched_at);
        let revision = Some(revision);
        match change {
            ImageChange::None => {}
            ImageChange::Records(difference, data) => {
                let entries = Arc::new(difference.into_entries(first_version));
                recorded.records = Some(RecordsImage { revision, entries, data: Some(data) });
            }
            ImageChange::Table(table) => recorded.table = Some(TableImage { revision, table }),
        }
        Ok(())
    }

    async fn send(&mut self, epoch: Epoch, write: SourceWrite) -> Result<Written, StoreError> {
        let (name, fingerprint, report) =
            (write.name.clone(), write.fingerprint, write.report.clone());
        let started = Instant::now();
        let mut state = self.state.clone();
        let lease_end = state.wait_for(|state| state.role.epoch(Instant::now()) != Some(epoch));
        // Without the lease it cannot succeed any more, and its connection may never answer.
        let written = tokio::select! {
            biased;
            written = self.handle.store().write(epoch, write) => written?,
            _ = lease_end => return Err(StoreError::LeaseLost),
        };
        self.metrics.record_write(started.elapsed());
        self.was_outdated = false;
        if let Some(recorded) = self.sources.get_mut(name.as_str()) {
            recorded.retry.note_success();
        }
        // On a full disk small writes succeed between large ones that fail.
        if !self.sources.values().any(|recorded| recorded.retry.failures() > 0) {
            self.handle.note(Operation::Write, &Ok(written));
        }
        if let Some(heads) = &mut self.heads {
            let revision = written.revision;
            heads.insert(name, Head { fingerprint, revision, report });
        }
        Ok(written)
    }
}

/// The data of a source, if it was fetched under this lease, with the fingerprint of its definition
/// and its time.
fn own_data<'a>(
    snapshot: &'a Snapshot,
    id: SourceId,
    status: &SourceStatus,
    epoch: Epoch,
) -> Option<(Fingerprint, FetchTime, Data<'a>)> {
    let DataOrigin { fingerprint, lease } = status.origin?;
    let fetched_at = status.fetched_at.filter(|_| lease == Some(epoch.0))?;
    let view = &snapshot.view;
    let data = match id {
        SourceId::Table(index) => Data::Table(view.tables().get(index)?.as_ref()?),
        SourceId::Incidents(index) if view.names().get(index) == Some(&status.name) => {
            Data::Records(index, view.batches()[index].as_ref()?)
        }
        SourceId::Incidents(_) => return None,
    };
    Some((fingerprint, fetched_at, data))
}

/// The step for data that is stored already.
fn unchanged(
    refreshed: Box<Refreshed>,
    head: Option<&Head>,
    written: Option<FetchTime>,
    is_under_way: bool,
) -> Step {
    let is_new = written != Some(refreshed.fetched_at);
    let differs = |head: &Head| refreshed.report.differs_from(&head.report, is_under_way);
    if is_new || head.is_none_or(differs) { Step::WriteUnchanged(refreshed) } else { Step::Done }
}

/// The step for a failure to renew data that this process has not fetched under this lease, or that
/// has expired. What is stored of the data stays.
fn failure(status: &SourceStatus, head: Option<&Head>, is_under_way: bool) -> Step {
    let Some(head) = head else { return Step::Done };
    let is_other_definition =
        status.origin.is_some_and(|origin| origin.fingerprint != head.fingerprint);
    let report = head.report.clone().with_attempts_of(status);
    if is_other_definition || !report.differs_from(&head.report, is_under_way) {
        return Step::Done;
    }
    Step::WriteReport(head.fingerprint, Box::new(report))
}
