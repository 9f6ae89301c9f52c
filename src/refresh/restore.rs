//! Reads the last good data of a source from the store.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use hashbrown::HashSet;
use tokio::time::{Instant, sleep};

use super::fetcher::{FetchedBatch, Fetcher, StoredContent};
use super::stored_records::{HeldRecords, StoredRecords};
use crate::background::{run_cpu_bound, spawn_cpu_bound};
use crate::clock::FetchTime;
use crate::sources::SourceId;
use crate::store::{RecordChunk, SourceHead, Store, StoreError, Version};

/// How many records are read at once.
const CHUNK_RECORDS: usize = 10_000;

/// The pause before data is read again after the store has failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How many times as large as its record an envelope may be, apart from the names of its members:
/// it repeats the id, the title and the address, which may be all of the record.
const MAX_ENVELOPE_GROWTH: u64 = 4;

/// The most bytes of an envelope that are not of its record.
const MAX_ENVELOPE_BYTES: u64 = 128;

/// The head of a source, with the time of its fetch by the clock of this process.
#[derive(Clone, Debug)]
pub(super) struct TimedHead {
    pub(super) head: SourceHead,
    pub(super) fetched_at: FetchTime,
}

impl TimedHead {
    /// A head that was read at this time.
    pub(super) fn new(head: SourceHead, read_at: Instant) -> Self {
        let fetched_at = FetchTime::stored(head.fetched_at, head.age, read_at);
        Self { head, fetched_at }
    }
}

/// Data that is being restored; dropping it cancels that.
#[derive(Debug)]
pub(super) struct RestoreUnderWay {
    /// Unique among all.
    pub(super) number: u64,
    pub(super) revision: i64,
    /// Until when the source is not called meanwhile.
    pub(super) wait_until: Instant,
    abort: AbortHandle,
}

impl Drop for RestoreUnderWay {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// A restore that has ended.
pub(super) struct RestoreEnd {
    pub(super) number: u64,
    /// `None` if it was cancelled.
    pub(super) result: Option<Result<Restored, RestoreError>>,
}

/// Data that was restored.
pub(super) struct Restored {
    /// What the store has of the source.
    pub(super) head: TimedHead,
    /// `None` if the data in hand is the same.
    pub(super) fetched: Option<FetchedBatch>,
    /// The version of each record, where that is known.
    pub(super) versions: Option<Arc<[Version]>>,
}

/// Why data was not restored. A failure of the store is none: it is tried again.
#[derive(Debug)]
pub(super) enum RestoreError {
    /// The store has data of another definition by now.
    Superseded,
    /// The data cannot be used.
    Unusable(String),
}

/// A restore in flight.
pub(super) struct RestoreInFlight {
    number: u64,
    result: Abortable<BoxFuture<'static, Result<Restored, RestoreError>>>,
}

impl Future for RestoreInFlight {
    type Output = RestoreEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<RestoreEnd> {
        let result = ready!(self.result.poll_unpin(context)).ok();
        Poll::Ready(RestoreEnd { number: self.number, result })
    }
}

/// Whether the data of a head was read.
enum Verified {
    Unchanged,
    /// There is newer data.
    Changed,
    /// There is no data of this definition any more.
    Gone,
}

/// What is restored, and what from.
pub(super) struct RestoreTask {
    pub(super) store: Arc<dyn Store>,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) source: SourceId,
    pub(super) head: TimedHead,
    /// The data in hand, if it is known which of the stored records it has.
    pub(super) held: Option<HeldRecords>,
}

impl RestoreTask {
    /// Starts it. `wait_until` is how long the source is not called meanwhile.
    pub(super) fn start(
        self,
        number: u64,
        wait_until: Instant,
    ) -> (RestoreUnderWay, RestoreInFlight) {
        let (abort, registration) = AbortHandle::new_pair();
        let revision = self.head.head.revision;
        let result = Abortable::new(self.run().boxed(), registration);
        (
            RestoreUnderWay { number, revision, wait_until, abort },
            RestoreInFlight { number, result },
        )
    }

    async fn run(mut self) -> Result<Restored, RestoreError> {
        loop {
            match self.attempt().await {
                Ok(result) => return result,
                Err(error) => {
                    let source = &*self.head.head.name;
                    tracing::debug!(source, %error, "stored data could not be read");
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Result<Restored, RestoreError>, StoreError> {
        match self.source {
            SourceId::Table(_) => self.table().await,
            SourceId::Incidents(_) => self.records().await,
        }
    }

    async fn table(&mut self) -> Result<Result<Restored, RestoreError>, StoreError> {
        let bytes = loop {
            let bytes = self.store.table(&self.head.head.name).await?;
            match self.verify().await? {
                Verified::Unchanged => break bytes,
                Verified::Changed => {}
                Verified::Gone => return Ok(Err(RestoreError::Superseded)),
            }
        };
        let Some(bytes) = bytes else {
            return Ok(Err(RestoreError::Unusable("the store does not have the table".to_owned())));
        };
        let fetched = self.decode(StoredContent::Table(bytes)).await;
        Ok(fetched.map(|fetched| self.restored(Some(fetched), None)))
    }

    /// Records whose content changes while they are read get other versions, so that the sequence
    /// is read again then. What was read of a version stays valid.
    async fn records(&mut self) -> Result<Result<Restored, RestoreError>, StoreError> {
        let mut chunks: Vec<RecordChunk> = Vec::new();
        let mut size = 0;
        let sequence = loop {
            let sequence = self.store.sequence(&self.head.head.name).await?;
            let max_bytes = self.max_bytes(sequence.len());
            for versions in missing(&sequence, self.held.as_ref(), &chunks).chunks(CHUNK_RECORDS) {
                let chunk = self.store.records(versions).await?;
                size += chunk.size_bytes() as u64;
                if size > max_bytes {
                    let detail = "it is larger than max_body allows".to_owned();
                    return Ok(Err(RestoreError::Unusable(detail)));
                }
                chunks.push(chunk);
            }
            match self.verify().await? {
                Verified::Unchanged => break sequence,
                Verified::Changed => {}
                Verified::Gone => return Ok(Err(RestoreError::Superseded)),
            }
        };
        let held = self.held.clone();
        if let Some(held) = held.as_ref().filter(|held| *held.versions == *sequence) {
            return Ok(Ok(self.restored(None, Some(Arc::clone(&held.versions)))));
        }
        let order = move || StoredRecords::new(&sequence, held, chunks);
        let (records, versions) = run_cpu_bound(order).await;
        let fetched = self.decode(StoredContent::Records(records)).await;
        Ok(fetched.map(|fetched| {
            // Otherwise records were dropped as copies of others, and positions have shifted.
            let is_each_there = fetched.batch.records() == versions.len();
            self.restored(Some(fetched), is_each_there.then(|| versions.into()))
        }))
    }

    fn restored(
        &self,
        fetched: Option<FetchedBatch>,
        versions: Option<Arc<[Version]>>,
    ) -> Restored {
        Restored { head: self.head.clone(), fetched, versions }
    }

    /// The most bytes that this many records may have as they are stored.
    fn max_bytes(&self, records: usize) -> u64 {
        let max_bytes = self.fetcher.max_restored_bytes(self.source);
        let envelopes = MAX_ENVELOPE_BYTES.saturating_mul(records as u64);
        max_bytes.saturating_mul(MAX_ENVELOPE_GROWTH).saturating_add(envelopes)
    }

    /// Whether what was read is the data of the head: it is if the store still has that revision,
    /// because a revision never comes again. If there is a newer one, its head is taken.
    async fn verify(&mut self) -> Result<Verified, StoreError> {
        let read_at = Instant::now();
        let heads = self.store.heads().await?;
        let known = &self.head.head;
        let is_same =
            |head: &SourceHead| head.name == known.name && head.fingerprint == known.fingerprint;
        let Some(head) = heads.sources.into_iter().find(is_same) else {
            return Ok(Verified::Gone);
        };
        let is_unchanged = head.revision == known.revision;
        self.head = TimedHead::new(head, read_at);
        Ok(if is_unchanged { Verified::Unchanged } else { Verified::Changed })
    }

    async fn decode(&self, content: StoredContent) -> Result<FetchedBatch, RestoreError> {
        let (fetcher, source) = (Arc::clone(&self.fetcher), self.source);
        let report = self.head.head.report.clone();
        let restore = move || fetcher.restore(source, &content, &report);
        let result = spawn_cpu_bound(restore).await.unwrap_or_else(|_| {
            Err("decoding it failed; this is a fault of the gateway".to_owned())
        });
        result.map_err(RestoreError::Unusable)
    }
}

/// The versions that neither the data in hand nor the chunks have, each once, in ascending order.
fn missing(
    sequence: &[Version],
    held: Option<&HeldRecords>,
    chunks: &[RecordChunk],
) -> Vec<Version> {
    let held = held.iter().flat_map(|held| held.versions.iter().copied());
    let read = chunks.iter().flat_map(|chunk| chunk.iter().map(|record| record.version));
    let known: HashSet<Version> = held.chain(read).collect();
    let mut missing: Vec<Version> =
        sequence.iter().copied().filter(|version| !known.contains(version)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}
