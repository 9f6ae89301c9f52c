//! A database in memory that several processes share, with connections that can be cut or hang.

use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::config::ForwardFrom;
use crate::sources::Fingerprint;
use crate::store::{
    Advance, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, ForwardStore, Heads, HistoryFilter,
    HistoryPage, HistoryQuery, HistorySummary, KeptUp, Lease, RecordChunk, SourceHead,
    SourceReport, SourceWrite, Store, StoreError, StoreFuture, StoreKey, StoredForward, Version,
    Written,
};

pub(super) const LEASE: Duration = Duration::from_secs(10);

/// One round trip.
const LATENCY: Duration = Duration::from_millis(10);

/// What all processes share.
#[derive(Default)]
pub(super) struct Database {
    data: Mutex<Data>,
    written: Notify,
    pub(super) notifies: Mutex<bool>,
}

#[derive(Default)]
pub(super) struct Data {
    epoch: u64,
    generation: u64,
    holder: Option<(u32, Instant, KeptUp)>,
    pub(super) heads: Heads,
    pub(super) expired: u64,
    pub(super) records: u64,
    pub(super) retained: Vec<BTreeSet<String>>,
    pub(super) deletions: Vec<(Instant, u64)>,
    pub(super) counts: usize,
    pub(super) limit_saves: usize,
    /// The epoch and the forwards of each call that began some.
    pub(super) begun: Vec<(u64, Vec<(String, ForwardFrom)>)>,
}

/// How a process reaches the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    Good,
    Refused,
    /// Nothing that was sent is ever answered.
    Silent,
    /// The lease answers, but reading the sources does not.
    WithoutHeads,
    /// No position of a forward can be written.
    Full,
    /// The schema is newer.
    Unusable,
}

pub(super) struct FakeStore {
    database: Arc<Database>,
    process: u32,
    link: Arc<Mutex<Link>>,
}

impl Database {
    pub(super) fn connect(self: &Arc<Self>, process: u32) -> (Arc<FakeStore>, Arc<Mutex<Link>>) {
        let link = Arc::new(Mutex::new(Link::Good));
        let store = FakeStore { database: Arc::clone(self), process, link: Arc::clone(&link) };
        (Arc::new(store), link)
    }

    pub(super) fn with<T>(&self, access: impl FnOnce(&mut Data) -> T) -> T {
        access(&mut self.data.lock().unwrap())
    }

    /// Another process stores another revision of the source.
    pub(super) fn store_revision(&self, revision: i64) {
        self.with(|data| {
            data.heads.sources = vec![SourceHead {
                name: "denial".to_owned(),
                fingerprint: Fingerprint([7; 32]),
                revision,
                age: Duration::ZERO,
                fetched_at: SystemTime::UNIX_EPOCH,
                report: SourceReport::default(),
            }];
        });
        if *self.notifies.lock().unwrap() {
            self.written.notify_waiters();
        }
    }

    pub(super) fn holder(&self) -> Option<u32> {
        self.with(|data| {
            let holder = data.holder.as_ref().filter(|(_, until, _)| Instant::now() < *until);
            holder.map(|(process, ..)| *process)
        })
    }
}

impl FakeStore {
    fn answer<'a, T: Send + 'static>(
        &'a self,
        needs_heads: bool,
        operation: impl FnOnce(&mut Data) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        async move {
            sleep(LATENCY).await;
            let link = *self.link.lock().unwrap();
            match link {
                Link::Good | Link::Full => {}
                Link::WithoutHeads if !needs_heads => {}
                Link::Refused => return Err(StoreError::Unavailable("refused".to_owned())),
                Link::Unusable => return Err(StoreError::Unusable("a newer schema".to_owned())),
                Link::WithoutHeads | Link::Silent => return pending().await,
            }
            let result = self.database.with(operation);
            sleep(LATENCY).await;
            if *self.link.lock().unwrap() == Link::Silent { pending().await } else { result }
        }
        .boxed()
    }

    /// Only for the holder of this lease.
    fn held<'a, T: Send + 'static>(
        &'a self,
        epoch: Epoch,
        operation: impl FnOnce(&mut Data) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        self.answer(false, move |data| {
            let is_held = data.epoch == epoch.0
                && data.holder.as_ref().is_some_and(|(holder, until, _)| {
                    *holder == self.process && Instant::now() < *until
                });
            if is_held { Ok(operation(data)) } else { Err(StoreError::LeaseLost) }
        })
    }
}

impl Store for FakeStore {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        self.answer(false, |_| Ok(()))
    }

    fn take_generation(&self, at_least: u64) -> StoreFuture<'_, u64> {
        self.answer(false, move |data| {
            data.generation = at_least.max(data.generation + 1);
            Ok(data.generation)
        })
    }

    fn acquire_or_renew<'a>(&'a self, kept_up: &'a KeptUp) -> StoreFuture<'a, Lease> {
        let asked = Instant::now();
        self.answer(false, move |data| {
            let now = Instant::now();
            match &mut data.holder {
                Some((holder, until, of)) if now < *until && *holder != self.process => {
                    return Ok(Lease::Other { kept_up: of.clone() });
                }
                Some((holder, until, of)) if now < *until => {
                    debug_assert_eq!(*holder, self.process);
                    (*until, *of) = (now + LEASE, kept_up.clone());
                }
                _ => {
                    data.epoch += 1;
                    data.holder = Some((self.process, now + LEASE, kept_up.clone()));
                }
            }
            Ok(Lease::Held { epoch: Epoch(data.epoch), until: asked + LEASE })
        })
    }

    fn release(&self, epoch: Epoch) -> StoreFuture<'_, ()> {
        self.held(epoch, |data| data.holder = None)
    }

    fn notified(&self) -> BoxFuture<'_, ()> {
        async {
            self.database.written.notified().await;
            if *self.link.lock().unwrap() != Link::Good {
                pending::<()>().await;
            }
        }
        .boxed()
    }

    fn heads(&self) -> StoreFuture<'_, Heads> {
        self.answer(true, |data| Ok(data.heads.clone()))
    }

    fn sequence<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Vec<Version>> {
        unused()
    }

    fn records<'a>(&'a self, _: &'a [Version]) -> StoreFuture<'a, RecordChunk> {
        unused()
    }

    fn table<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        unused()
    }

    fn write(&self, _: Epoch, _: SourceWrite) -> StoreFuture<'_, Written> {
        unused()
    }

    fn retain_sources<'a>(&'a self, epoch: Epoch, names: &'a [String]) -> StoreFuture<'a, ()> {
        self.held(epoch, |data| data.retained.push(names.iter().cloned().collect()))
    }

    fn save_limits<'a>(
        &'a self,
        epoch: Epoch,
        limits: &'a [(String, usize)],
    ) -> StoreFuture<'a, ()> {
        self.held(epoch, |data| {
            data.heads.limits = limits.to_vec();
            data.limit_saves += 1;
        })
    }

    fn delete_expired<'a>(
        &'a self,
        epoch: Epoch,
        _: Duration,
        _: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64> {
        self.held(epoch, |data| {
            let deleted = data.expired.min(100);
            data.expired -= deleted;
            data.deletions.push((Instant::now(), deleted));
            deleted
        })
    }

    fn key(&self) -> StoreFuture<'_, StoreKey> {
        unused()
    }

    fn history(&self, _: HistoryQuery) -> StoreFuture<'_, HistoryPage> {
        unused()
    }

    fn summary(&self, _: HistoryFilter) -> StoreFuture<'_, HistorySummary> {
        unused()
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        self.answer(false, |data| {
            data.counts += 1;
            Ok(data.records)
        })
    }

    fn forget<'a>(&'a self, _: &'a str) -> StoreFuture<'a, u64> {
        unused()
    }
}

impl ForwardStore for FakeStore {
    fn begin_forwards<'a>(
        &'a self,
        epoch: Epoch,
        forwards: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()> {
        if *self.link.lock().unwrap() == Link::Full {
            return self.answer(false, |_| Err(StoreError::Unavailable("disk full".to_owned())));
        }
        self.held(epoch, move |data| data.begun.push((epoch.0, forwards.to_vec())))
    }

    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>> {
        unused()
    }

    fn due(&self, _: DueQuery) -> StoreFuture<'_, DuePage> {
        unused()
    }

    fn count_due(&self, _: DueRange) -> StoreFuture<'_, u64> {
        unused()
    }

    fn advance(&self, _: Epoch, _: Advance) -> StoreFuture<'_, ()> {
        unused()
    }
}

/// Sessions do not use the operation.
fn unused<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    ready(Err(StoreError::Unavailable("no session uses this".to_owned()))).boxed()
}
