//! Stores what the refresh publishes.
//!
//! The [`Recorder`] watches the snapshots. While this process holds the lease, it writes how each
//! source differs from what is stored of it, in one transaction a source. The refresh never waits
//! for it: while a write is under way newer snapshots replace each other, and after a failure it
//! goes on with the newest.
//!
//! What is stored is known by an image of it: for each current record its stable id, its version,
//! and digests of its content and its attribution. The image is read when a term begins, and
//! follows the process's own writes. A write is refused if the source has another revision than the
//! image, as after a write of unknown outcome; then the image is read again.

mod attributions;
mod compare;
mod digests;
mod image;
mod report;
mod step;
#[cfg(test)]
mod tests;
mod work;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::attributions::Attributions;
use self::digests::Digests;
use self::image::{RecordsImage, TableImage};
use super::{
    Epoch, Operation, Role, SourceReport, StoreError, StoreHandle, StoreMetrics, StoreState,
};
use crate::clock::FetchTime;
use crate::retry::{Pauses, Retry};
use crate::snapshot::Snapshot;
use crate::sources::Fingerprint;

/// How long nothing is written while callers still wait for the first data. Until then, records
/// would be written without the employees that a table has which is still being fetched.
const MAX_LOADING: Duration = Duration::from_secs(30);

/// Between failures. Only the holder of the lease writes, so that no two try again together.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// How often in a row an operation may fail that nobody repeats later.
const MAX_FAILURES: u32 = 5;

/// Stores what the refresh publishes; [`Recorder::run`] drives it.
pub struct Recorder {
    handle: StoreHandle,
    state: watch::Receiver<StoreState>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    metrics: StoreMetrics,
    digests: Arc<Digests>,
    /// The lease under which the fields below were read and written.
    epoch: Option<Epoch>,
    /// A lease that the store says is not held any more, and until when it was to be held.
    lost: Option<(Epoch, Instant)>,
    /// What is stored of each source, without its content. `None` until it is read, and again after
    /// a write whose outcome is unknown.
    heads: Option<HashMap<String, Head>>,
    /// What is known of the content of each source.
    sources: HashMap<Arc<str>, Recorded>,
    /// Concerns what is not about a single source.
    retry: Retry,
    /// Whether the last write was refused because what is stored had changed.
    was_outdated: bool,
    /// Those of the view that was compared last, kept for the other sources of a round.
    attributions: Option<Arc<Attributions>>,
}

/// What is stored of a source, without its content.
#[derive(Debug)]
struct Head {
    fingerprint: Fingerprint,
    revision: i64,
    report: SourceReport,
}

/// What is known of a source.
#[derive(Debug)]
struct Recorded {
    /// The number of the definition to which the images belong.
    definition: u64,
    records: Option<RecordsImage>,
    table: Option<TableImage>,
    /// When the data was fetched that was written last.
    fetched_at: Option<FetchTime>,
    retry: Retry,
}

impl Default for Recorded {
    fn default() -> Self {
        Self {
            definition: 0,
            records: None,
            table: None,
            fetched_at: None,
            retry: Retry::without_jitter(PAUSES),
        }
    }
}

impl Recorder {
    /// A recorder that is not running yet.
    #[must_use]
    pub fn new(
        handle: StoreHandle,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        metrics: StoreMetrics,
    ) -> Self {
        Self {
            state: handle.subscribe(),
            handle,
            snapshots,
            metrics,
            digests: Arc::new(Digests::new()),
            epoch: None,
            lost: None,
            heads: None,
            sources: HashMap::new(),
            retry: Retry::without_jitter(PAUSES),
            was_outdated: false,
            attributions: None,
        }
    }

    /// Runs until the refresh has ended, or until the process is about to give its lease back and
    /// everything is written.
    pub async fn run(mut self) {
        let loading_until = Instant::now() + MAX_LOADING;
        loop {
            self.state.mark_unchanged();
            let is_loading = self.snapshots.borrow_and_update().is_loading();
            let is_leaving = self.state.borrow().is_leaving;
            let wake = if is_loading && !is_leaving && Instant::now() < loading_until {
                Some(loading_until)
            } else {
                self.write_all().await
            };
            if wake.is_none() && self.is_done() {
                return;
            }
            let sleep = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = self.snapshots.changed() => if changed.is_err() { return },
                // The handle is a sender, so this never fails.
                _ = self.state.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Writes what the newest snapshot has, and returns once everything is written.
    ///
    /// # Errors
    ///
    /// When this process does not hold the lease, and when the store has failed five times in a
    /// row, which takes about 15 s if it fails at once.
    pub async fn write_once(mut self) -> Result<(), StoreError> {
        loop {
            let wake = self.write_all().await;
            if self.held_epoch().is_none() {
                return Err(StoreError::LeaseLost);
            }
            let Some(wake) = wake else { return Ok(()) };
            let retries = self.sources.values().map(|recorded| &recorded.retry);
            if retries.chain([&self.retry]).any(|retry| retry.failures() >= MAX_FAILURES) {
                let detail = self.state.borrow().last_error().map(ToString::to_string);
                let unknown = || "what was fetched could not be stored".to_owned();
                return Err(StoreError::Unavailable(detail.unwrap_or_else(unknown)));
            }
            sleep_until(wake).await;
        }
    }

    /// Whether the process is about to give its lease back, and no call that is under way can bring
    /// anything more.
    fn is_done(&self) -> bool {
        let is_under_way = |snapshot: &Snapshot| {
            let mut sources = snapshot.sources.iter();
            sources.any(|source| source.last_attempt.is_some() && source.next_attempt.is_none())
        };
        self.state.borrow().is_leaving
            && !self.snapshots.has_changed().unwrap_or_default()
            && !is_under_way(&self.snapshots.borrow())
    }

    /// Writes what has changed; returns when to try again what has failed.
    async fn write_all(&mut self) -> Option<Instant> {
        let wake = self.write_each().await;
        self.attributions = None;
        wake
    }

    async fn write_each(&mut self) -> Option<Instant> {
        self.forget_removed_sources();
        let mut wake: Option<Instant> = None;
        let mut position = 0;
        while let Some(epoch) = self.held_epoch() {
            let now = Instant::now();
            if let Some(until) = self.retry.waits_until(now) {
                return Some(until);
            }
            let Some(name) = self.name_at(position) else { break };
            let waits_until = self.recorded(&name).retry.waits_until(now);
            let result = match waits_until {
                Some(_) => Ok(()),
                None => self.write_source(epoch, position).await,
            };
            match result {
                Ok(()) => position += 1,
                Err(error @ StoreError::LeaseLost) => {
                    tracing::warn!(%error, "stops writing to the store");
                    self.note_lost_lease(epoch);
                }
                Err(error @ (StoreError::Forgotten | StoreError::Outdated)) => {
                    tracing::info!(%error, "reads again what is stored");
                    self.forget_images();
                    if std::mem::replace(&mut self.was_outdated, true) {
                        self.retry.note_failure(Instant::now(), Duration::ZERO);
                    }
                    position = 0;
                }
                Err(error) => {
                    self.handle.note::<()>(Operation::Write, &Err(error));
                    // If a write took effect nevertheless, the source has another revision now.
                    let retry = match self.heads.take() {
                        Some(_) => &mut self.recorded(&name).retry,
                        None => &mut self.retry,
                    };
                    retry.note_failure(Instant::now(), Duration::ZERO);
                    position += 1;
                }
            }
            wake = earliest(wake, self.recorded(&name).retry.waits_until(now));
        }
        wake
    }

    /// The lease under which this process may write now. With another lease than before, nothing is
    /// known any more of what is stored.
    fn held_epoch(&mut self) -> Option<Epoch> {
        let lease = match self.state.borrow().role {
            Role::Leader { epoch, until } => Some((epoch, until)),
            _ => None,
        };
        let epoch = lease.map(|(epoch, _)| epoch);
        if epoch != self.epoch {
            self.forget_images();
            self.epoch = epoch;
        }
        let (epoch, until) = lease.filter(|lease| self.lost != Some(*lease))?;
        (Instant::now() < until).then_some(epoch)
    }

    /// Notes that this lease is not held any more. It may have run out, so that it is held again
    /// when it is renewed.
    fn note_lost_lease(&mut self, lost: Epoch) {
        if let Role::Leader { epoch, until } = self.state.borrow().role
            && epoch == lost
        {
            self.lost = Some((epoch, until));
        }
        self.forget_images();
    }

    fn forget_images(&mut self) {
        self.heads = None;
        self.sources.clear();
        self.retry.note_success();
    }

    fn forget_removed_sources(&mut self) {
        let snapshot = self.snapshots.borrow();
        if self.sources.len() > snapshot.sources.len() {
            let names = || snapshot.sources.iter().map(|source| &source.name);
            self.sources.retain(|known, _| names().any(|name| name == known));
        }
    }

    /// The name of the source at this position in the newest snapshot, the tables first.
    fn name_at(&self, position: usize) -> Option<Arc<str>> {
        let snapshot = self.snapshots.borrow();
        snapshot.sources.as_slice().get(position).map(|source| Arc::clone(&source.name))
    }

    fn recorded(&mut self, name: &Arc<str>) -> &mut Recorded {
        self.sources.entry_ref(name).or_default()
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
