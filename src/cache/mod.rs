//! The cache of rendered response bodies.
//!
//! # Bounds
//!
//! Callers choose what is rendered, so memory and processor time must be bounded here:
//!
//! - An `account` counts the bytes of all bodies, with their keys, that are cached or being sent.
//!   The whole documents of current views are exempt until their view is retired.
//! - A render holds a permit of the `queue` until its bytes are charged to the account or
//!   dropped.
//! - When a new body does not fit, cached bodies are evicted first; then the slowest `responses`
//!   are aborted.

mod account;
mod demand;
mod key;
mod queue;
mod rendered_body;
mod responses;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::Shared;
use moka::future::Cache as Moka;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use key::Resource;
pub use rendered_body::RenderedBody;
pub use responses::Connection;

use self::account::{Account, Charge, SMALL_BODY_BYTES};
use self::demand::Demand;
use self::key::Key;
use self::queue::{RenderQueue, Ticket};
use self::responses::{RECLAIM_INTERVAL, Responses};
use crate::background::spawn_cpu_bound;
use crate::render::compress::{Coding, compress};
use crate::snapshot::View;

/// Why there is no rendered body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenderError {
    /// Rendering panicked.
    Panicked,
    /// No permit or no memory became available before the deadline.
    Overloaded,
}

/// A response slower than this may be aborted to make room for a new body. When the documents of
/// retired views exceed the bound, any response may be.
const SLOW_RESPONSE_BYTES_PER_SECOND: f64 = (256 << 10) as f64;

/// The gateway's cache.
pub struct Cache {
    bodies: Moka<Key, Arc<RenderedBody>>,
    account: Arc<Account>,
    responses: Arc<Responses>,
    queue: Arc<RenderQueue>,
    demand: Demand,
    documents: Mutex<CurrentDocuments>,
    /// Whether a task of [`Cache::enforce_bound`] is running.
    is_enforcing_bound: AtomicBool,
}

/// The whole documents of current views: those that are served, or about to be published.
#[derive(Default)]
struct CurrentDocuments {
    /// Views with a smaller id are retired.
    oldest_view: u64,
    /// Each with the id of its view.
    documents: Vec<(u64, Weak<RenderedBody>)>,
}

impl Cache {
    /// An empty cache, in which bodies take at most `max_bytes` together and at most `max_renders`
    /// renders run at once.
    #[must_use]
    pub fn new(max_bytes: u64, max_renders: usize) -> Self {
        let weight = |_: &Key, body: &Arc<RenderedBody>| {
            let charge = body.charge();
            if charge.is_counted() { u32::try_from(charge.bytes()).unwrap_or(u32::MAX) } else { 0 }
        };
        Self {
            bodies: Moka::builder().weigher(weight).max_capacity(max_bytes).build(),
            account: Account::new(max_bytes),
            responses: Arc::default(),
            queue: RenderQueue::new(max_renders),
            demand: Demand::new(),
            documents: Mutex::default(),
            is_enforcing_bound: AtomicBool::new(false),
        }
    }

    /// Records that a caller requests this. Call it before the caller waits for data: the body is
    /// then rendered before the snapshot that the caller waits for is published.
    pub fn record_demand(&self, resource: &Resource, coding: Coding) {
        self.demand.record(resource, coding);
    }

    /// The bytes that count towards the bound: those of bodies that are cached or being sent, with
    /// their keys.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.account.used_bytes()
    }

    /// The bytes of a body, to be sent in a response. They stay charged to the account until they
    /// are dropped. Without a `connection` the response cannot be aborted to free them.
    #[must_use]
    pub fn response_bytes(
        &self,
        body: &Arc<RenderedBody>,
        connection: Option<Arc<dyn Connection>>,
    ) -> Bytes {
        self.responses.track(body, connection)
    }

    /// The body of a resource, from the cache or rendered. Concurrent callers share one render. A
    /// render that has begun goes on when its callers leave; one that still waits for a permit is
    /// dropped with the last of them.
    ///
    /// # Errors
    ///
    /// [`RenderError`]
    pub async fn get_or_render(
        self: &Arc<Self>,
        view: &View,
        resource: Resource,
        coding: Coding,
        deadline: Instant,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<RenderedBody>, RenderError> {
        self.demand.record(&resource, coding);
        let key = Key { view: view.id(), resource, coding };
        if let Some(body) = self.bodies.get(&key).await {
            return Ok(body);
        }
        let pending = self.queue.join(&key, |ticket| {
            Arc::clone(self).render_in_turn(ticket, key.clone(), render).boxed()
        });
        timeout_at(deadline, pending).await.unwrap_or(Err(RenderError::Overloaded))
    }

    /// The same for a resource that takes less time to render than to hand to another thread. It
    /// needs no permit: it is rendered on the calling thread, so the number of threads bounds how
    /// many run at once.
    ///
    /// # Errors
    ///
    /// [`RenderError::Overloaded`]
    pub async fn get_or_render_inline(
        &self,
        view: &View,
        resource: Resource,
        coding: Coding,
        deadline: Instant,
        render: impl FnOnce() -> Vec<u8>,
    ) -> Result<Arc<RenderedBody>, RenderError> {
        let key = Key { view: view.id(), resource, coding };
        if let Some(body) = self.bodies.get(&key).await {
            return Ok(body);
        }
        // The memory is reserved first, so that no uncounted bytes exist while waiting for it.
        let reserved = timeout_at(deadline, self.reserve(SMALL_BODY_BYTES, || true)).await;
        let Ok(Some(mut charge)) = reserved else { return Err(RenderError::Overloaded) };
        let bytes = compress(Bytes::from(render()), coding);
        charge.set_bytes(key.weight(bytes.len()));
        let body = match self.current_document(&key, &bytes) {
            Some(document) => document,
            None => Arc::new(RenderedBody::new(bytes, charge)),
        };
        self.insert(key, &body).await;
        Ok(body)
    }

    /// Renders a body that is not cached, such as a page. It needs a permit and memory like others.
    ///
    /// # Errors
    ///
    /// [`RenderError`]
    pub async fn render_uncached(
        &self,
        deadline: Instant,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Result<Arc<RenderedBody>, RenderError> {
        let body = async {
            let permit = self.queue.permit().await;
            // The render owns the permit, because it goes on when the caller leaves.
            let rendering = spawn_cpu_bound(move || (render(), permit));
            let (bytes, permit) = rendering.await.map_err(|_| RenderError::Panicked)?;
            let charge = self.reserve(bytes.len() as u64, || true).await;
            drop(permit);
            let charge = charge.ok_or(RenderError::Overloaded)?;
            Ok(Arc::new(RenderedBody::new(bytes, charge)))
        };
        timeout_at(deadline, body).await.unwrap_or(Err(RenderError::Overloaded))
    }

    async fn render_in_turn(
        self: Arc<Self>,
        ticket: Ticket,
        key: Key,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<RenderedBody>, RenderError> {
        let permit = ticket.permit().await;
        if let Some(body) = self.bodies.get(&key).await {
            return Ok(body);
        }
        // This clone keeps the pending render alive, so that later callers can join it after the
        // first ones have left.
        let pending = ticket.pending_render();
        let rendering = tokio::spawn(async move {
            let clones = || pending.as_ref().and_then(Shared::strong_count).unwrap_or(0);
            // All clones but the one above belong to callers.
            let body = self.render(key, render, || clones() > 1).await;
            drop(permit);
            body
        });
        rendering.await.unwrap_or(Err(RenderError::Panicked))
    }

    async fn render(
        &self,
        key: Key,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
        is_awaited: impl Fn() -> bool,
    ) -> Result<Arc<RenderedBody>, RenderError> {
        let coding = key.coding;
        let plain = match coding {
            Coding::Identity => None,
            Coding::Gzip | Coding::Zstd => {
                self.bodies.get(&Key { coding: Coding::Identity, ..key.clone() }).await
            }
        };
        let work = move || {
            let plain = plain.map_or_else(|| Bytes::from(render()), |body| body.shared_bytes());
            compress(plain, coding)
        };
        let bytes = spawn_cpu_bound(work).await.map_err(|_| RenderError::Panicked)?;
        let body = match self.current_document(&key, &bytes) {
            Some(document) => document,
            None => {
                let charge = self.reserve(key.weight(bytes.len()), is_awaited).await;
                Arc::new(RenderedBody::new(bytes, charge.ok_or(RenderError::Overloaded)?))
            }
        };
        self.insert(key, &body).await;
        // moka evicts in batches; without this call, dozens of large bodies could accumulate first.
        self.bodies.run_pending_tasks().await;
        Ok(body)
    }

    /// Renders the recently requested documents of a view that is about to be published. They need
    /// no permit, because they are rendered one after another.
    pub async fn prerender(&self, view: &Arc<View>) {
        for (document, coding) in self.demand.recent() {
            let key = Key { view: view.id(), resource: Resource::Document(document), coding };
            let view = Arc::clone(view);
            // An error is ignored: the next caller renders the document again and gets the error.
            let _ = self.render(key, move || document.render(&view), || false).await;
        }
    }

    fn documents(&self) -> MutexGuard<'_, CurrentDocuments> {
        // No change can be interrupted half-way by a panic.
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_retired(&self, view: u64) -> bool {
        view < self.documents().oldest_view
    }

    /// The body, exempt from the account, if the key is that of a whole document of a current view.
    fn current_document(&self, key: &Key, bytes: &Bytes) -> Option<Arc<RenderedBody>> {
        if !key.is_document() {
            return None;
        }
        let mut current = self.documents();
        if key.view < current.oldest_view {
            return None;
        }
        let charge = self.account.exempt(key.weight(bytes.len()));
        let body = Arc::new(RenderedBody::new(bytes.clone(), charge));
        current.documents.retain(|(_, document)| document.strong_count() > 0);
        current.documents.push((key.view, Arc::downgrade(&body)));
        Some(body)
    }

    /// Caches a body, unless its view has been retired.
    async fn insert(&self, key: Key, body: &Arc<RenderedBody>) {
        if self.is_retired(key.view) {
            return;
        }
        self.bodies.insert(key.clone(), Arc::clone(body)).await;
        // The view may have been retired between the check and the insertion.
        if self.is_retired(key.view) {
            self.bodies.invalidate(&key).await;
            self.bodies.run_pending_tasks().await;
        }
    }

    /// Charges `bytes` to the account, and waits until they fit. Gives up and returns `None` once
    /// `is_awaited` says that no caller is left.
    async fn reserve(&self, bytes: u64, is_awaited: impl Fn() -> bool) -> Option<Charge> {
        loop {
            let freed = self.account.freed();
            if let Some(charge) = self.account.try_charge(bytes) {
                return Some(charge);
            }
            self.evict(self.account.missing_bytes(bytes)).await;
            if let Some(charge) = self.account.try_charge(bytes) {
                return Some(charge);
            }
            if !is_awaited() {
                return None;
            }
            let missing = self.account.missing_bytes(bytes);
            let now = Instant::now();
            self.responses.abort_slowest(missing, SLOW_RESPONSE_BYTES_PER_SECOND, now);
            // With a timeout, so that rates are measured again and `is_awaited` is checked again.
            let _ = timeout(RECLAIM_INTERVAL, freed).await;
        }
    }

    /// Evicts cached bodies until about `bytes` are free. A body that is being sent is evicted too,
    /// but frees its memory only at the end of its responses.
    async fn evict(&self, bytes: u64) {
        // The references of the cache and of the iterator.
        const REFERENCES_WHEN_NOT_SENT: usize = 2;
        let mut freed = 0;
        for (key, body) in &self.bodies {
            if freed >= bytes {
                break;
            }
            if !body.charge().is_counted() {
                continue;
            }
            if Arc::strong_count(&body) <= REFERENCES_WHEN_NOT_SENT {
                freed += body.charge().bytes();
            }
            self.bodies.invalidate(&*key).await;
        }
        // Even if nothing was evicted here: moka may still hold bodies that it evicted itself.
        self.bodies.run_pending_tasks().await;
    }

    /// Evicts all bodies of views before this one. Those of their documents that are still being
    /// sent count towards the bound from now on.
    pub async fn retire_before(self: &Arc<Self>, view: u64) {
        {
            let mut current = self.documents();
            current.oldest_view = view;
            current.documents.retain(|(its_view, document)| {
                if *its_view < view
                    && let Some(document) = document.upgrade()
                {
                    document.charge().count();
                }
                *its_view >= view
            });
        }
        let retired: Vec<_> =
            self.bodies.iter().filter(|(key, _)| key.view < view).map(|(key, _)| key).collect();
        for key in retired {
            self.bodies.invalidate(&*key).await;
        }
        self.bodies.run_pending_tasks().await;
        self.enforce_bound();
    }

    /// Spawns a task that aborts the slowest responses for as long as the bound is exceeded.
    fn enforce_bound(self: &Arc<Self>) {
        if self.account.excess_bytes() == 0 || self.is_enforcing_bound.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            while cache.account.excess_bytes() > 0 {
                cache.evict(cache.account.excess_bytes()).await;
                let excess = cache.account.excess_bytes();
                cache.responses.abort_slowest(excess, f64::INFINITY, Instant::now());
                sleep(RECLAIM_INTERVAL).await;
            }
            cache.is_enforcing_bound.store(false, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests;
