//! Rendered answers.
//!
//! # Bounds
//!
//! Callers choose what is rendered, so that memory and processor time must be bounded here. One
//! account ([`account`]) counts the bytes of all answers, keys included, that are in the cache or
//! still being sent. The whole documents of the present data are exempt until that data is
//! superseded. A render holds a permit ([`queue`]) until its bytes are in the account or dropped.
//! When an answer has no room, cached answers are dropped first; then the slowest responses are
//! ended ([`responses`]).

mod account;
mod answer;
mod demand;
mod question;
mod queue;
mod responses;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::Shared;
use moka::future::Cache as Moka;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use answer::Answer;
pub use question::Question;
pub use responses::Connection;

use self::account::{Account, Charge, SMALL_ANSWER_BYTES};
use self::demand::Demand;
use self::question::Key;
use self::queue::{RenderQueue, Ticket};
use self::responses::{RECLAIM_INTERVAL, Responses};
use crate::background::spawn_cpu_bound;
use crate::render::compress::{Coding, compress};
use crate::snapshot::View;

/// Why an answer cannot be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenderError {
    /// Rendering panicked.
    Panicked,
    /// There was no permit, or no room for the answer, before the deadline.
    Overloaded,
}

/// A response that is slower than this, in bytes a second, may be ended to make room for another
/// answer. When superseded documents take more than the bound, any response may be.
const SLOW_RESPONSE_RATE: f64 = (256 << 10) as f64;

/// The gateway's cache.
pub struct Cache {
    answers: Moka<Key, Arc<Answer>>,
    account: Arc<Account>,
    responses: Arc<Responses>,
    queue: Arc<RenderQueue>,
    demand: Demand,
    documents: Mutex<PresentDocuments>,
    is_enforcing: AtomicBool,
}

/// The whole documents of views that are served or about to be.
#[derive(Default)]
struct PresentDocuments {
    /// Views with a smaller id are retired.
    oldest_view: u64,
    documents: Vec<(u64, Weak<Answer>)>,
}

impl Cache {
    /// An empty cache: answers take at most `max_bytes` together, and `max_renders` are made at
    /// once.
    #[must_use]
    pub fn new(max_bytes: u64, max_renders: usize) -> Self {
        let weight = |_: &Key, answer: &Arc<Answer>| {
            let charge = answer.charge();
            if charge.is_counted() { u32::try_from(charge.bytes()).unwrap_or(u32::MAX) } else { 0 }
        };
        Self {
            answers: Moka::builder().weigher(weight).max_capacity(max_bytes).build(),
            account: Account::new(max_bytes),
            responses: Arc::default(),
            queue: RenderQueue::new(max_renders),
            demand: Demand::new(),
            documents: Mutex::default(),
            is_enforcing: AtomicBool::new(false),
        }
    }

    /// Notes that a caller asks for this. Done before the caller waits for data, it has the answer
    /// rendered before the snapshot is published that ends the waiting.
    pub fn record_demand(&self, question: &Question, coding: Coding) {
        self.demand.record(question, coding);
    }

    /// The bytes that count towards the bound: those of answers in the cache or still being sent,
    /// with their keys.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.account.used_bytes()
    }

    /// The bytes of an answer to send. The answer stays in the account until they are dropped.
    /// Without a `connection` the response cannot be ended to make room.
    #[must_use]
    pub fn send(&self, answer: &Arc<Answer>, connection: Option<Arc<dyn Connection>>) -> Bytes {
        self.responses.send(answer, connection)
    }

    /// The answer to a question about a view. However many callers ask at once, it is rendered once.
    /// A render that has begun goes on when its callers leave; one that still waits for a permit is
    /// dropped with the last of them.
    ///
    /// # Errors
    ///
    /// When rendering panicked, or did not come to its turn before the deadline.
    pub async fn answer(
        self: &Arc<Self>,
        view: &View,
        question: Question,
        coding: Coding,
        deadline: Instant,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Answer>, RenderError> {
        self.demand.record(&question, coding);
        let key = Key { view: view.id(), question, coding };
        if let Some(answer) = self.answers.get(&key).await {
            return Ok(answer);
        }
        let pending = self.queue.join(&key, |ticket| {
            Arc::clone(self).render_in_turn(ticket, key.clone(), render).boxed()
        });
        timeout_at(deadline, pending).await.unwrap_or(Err(RenderError::Overloaded))
    }

    /// The answer to a question that takes less time to render than to hand to another thread. It
    /// needs no permit: the calling thread renders it, so that no more are rendered at once than
    /// there are threads.
    ///
    /// # Errors
    ///
    /// When there was no room for it before the deadline.
    pub async fn small_answer(
        &self,
        view: &View,
        question: Question,
        coding: Coding,
        deadline: Instant,
        render: impl FnOnce() -> Vec<u8>,
    ) -> Result<Arc<Answer>, RenderError> {
        let key = Key { view: view.id(), question, coding };
        if let Some(answer) = self.answers.get(&key).await {
            return Ok(answer);
        }
        // Room comes first, so that no rendered bytes are held while waiting for it.
        let room = timeout_at(deadline, self.room(SMALL_ANSWER_BYTES, || true)).await;
        let Ok(Some(mut charge)) = room else { return Err(RenderError::Overloaded) };
        let bytes = compress(Bytes::from(render()), coding);
        charge.set_bytes(key.weight(bytes.len()));
        let answer = match self.present_document(&key, &bytes) {
            Some(document) => document,
            None => Arc::new(Answer::new(bytes, charge)),
        };
        self.insert(key, &answer).await;
        Ok(answer)
    }

    /// An answer that is not kept, such as a page. It takes a permit and room like others.
    ///
    /// # Errors
    ///
    /// When rendering panicked, or did not come to its turn before the deadline.
    pub async fn uncached_answer(
        &self,
        deadline: Instant,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Result<Arc<Answer>, RenderError> {
        let answer = async {
            let permit = self.queue.permit().await;
            // The work owns the permit, because it goes on when the caller leaves.
            let work = spawn_cpu_bound(move || (render(), permit)).await;
            let (bytes, permit) = work.map_err(|_| RenderError::Panicked)?;
            let charge = self.room(bytes.len() as u64, || true).await;
            drop(permit);
            let charge = charge.ok_or(RenderError::Overloaded)?;
            Ok(Arc::new(Answer::new(bytes, charge)))
        };
        timeout_at(deadline, answer).await.unwrap_or(Err(RenderError::Overloaded))
    }

    async fn render_in_turn(
        self: Arc<Self>,
        ticket: Ticket,
        key: Key,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Answer>, RenderError> {
        let permit = ticket.permit().await;
        if let Some(answer) = self.answers.get(&key).await {
            return Ok(answer);
        }
        // It keeps the pending answer alive, so that later callers join this render although the
        // first ones have left.
        let pending = ticket.pending_answer();
        let rendering = tokio::spawn(async move {
            let waiting = || pending.as_ref().and_then(Shared::strong_count).unwrap_or(0);
            // One of them is the clone above.
            let answer = self.render(key, render, || waiting() > 1).await;
            drop(permit);
            answer
        });
        rendering.await.unwrap_or(Err(RenderError::Panicked))
    }

    async fn render(
        &self,
        key: Key,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
        is_awaited: impl Fn() -> bool,
    ) -> Result<Arc<Answer>, RenderError> {
        let coding = key.coding;
        let plain = match coding {
            Coding::Identity => None,
            Coding::Gzip | Coding::Zstd => {
                self.answers.get(&Key { coding: Coding::Identity, ..key.clone() }).await
            }
        };
        let work = move || {
            let plain = plain.map_or_else(|| Bytes::from(render()), |answer| answer.shared_bytes());
            compress(plain, coding)
        };
        let bytes = spawn_cpu_bound(work).await.map_err(|_| RenderError::Panicked)?;
        let answer = match self.present_document(&key, &bytes) {
            Some(document) => document,
            None => {
                let charge = self.room(key.weight(bytes.len()), is_awaited).await;
                Arc::new(Answer::new(bytes, charge.ok_or(RenderError::Overloaded)?))
            }
        };
        self.insert(key, &answer).await;
        // moka evicts in batches; without this, dozens of large answers could gather first.
        self.answers.run_pending_tasks().await;
        Ok(answer)
    }

    /// Renders the documents that callers have asked for lately, before the view is published. They
    /// need no permit, because they are rendered one after another.
    pub async fn prerender(&self, view: &Arc<View>) {
        for (document, coding) in self.demand.recent() {
            let key = Key { view: view.id(), question: Question::Document(document), coding };
            let view = Arc::clone(view);
            // After a failure, the next caller has it rendered again and gets the error.
            let _ = self.render(key, move || document.render(&view), || false).await;
        }
    }

    fn documents(&self) -> MutexGuard<'_, PresentDocuments> {
        // Every change is whole before anything can panic.
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_retired(&self, view: u64) -> bool {
        view < self.documents().oldest_view
    }

    /// The answer to a key, exempt from the account, if it is a whole document of present data.
    fn present_document(&self, key: &Key, bytes: &Bytes) -> Option<Arc<Answer>> {
        if !key.is_document() {
            return None;
        }
        let mut present = self.documents();
        if key.view < present.oldest_view {
            return None;
        }
        let charge = self.account.exempt(key.weight(bytes.len()));
        let answer = Arc::new(Answer::new(bytes.clone(), charge));
        present.documents.retain(|(_, document)| document.strong_count() > 0);
        present.documents.push((key.view, Arc::downgrade(&answer)));
        Some(answer)
    }

    /// Keeps an answer, unless its view has been retired meanwhile.
    async fn insert(&self, key: Key, answer: &Arc<Answer>) {
        if self.is_retired(key.view) {
            return;
        }
        self.answers.insert(key.clone(), Arc::clone(answer)).await;
        // It may have been retired between the two.
        if self.is_retired(key.view) {
            self.answers.invalidate(&key).await;
            self.answers.run_pending_tasks().await;
        }
    }

    /// Waits for room for `bytes` in the account; `None` when there is none and nobody is waiting
    /// for the answer.
    async fn room(&self, bytes: u64, is_awaited: impl Fn() -> bool) -> Option<Charge> {
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
            self.responses.abort_slowest(missing, SLOW_RESPONSE_RATE, Instant::now());
            // With a timeout, because responses must be measured again and callers may have left.
            let _ = timeout(RECLAIM_INTERVAL, freed).await;
        }
    }

    /// Drops cached answers until about `bytes` are free; those that are being sent free nothing
    /// yet.
    async fn evict(&self, bytes: u64) {
        // The cache has one reference, the iterator another.
        const UNREAD: usize = 2;
        let mut freed = 0;
        for (key, answer) in &self.answers {
            if freed >= bytes {
                break;
            }
            if !answer.charge().is_counted() {
                continue;
            }
            if Arc::strong_count(&answer) <= UNREAD {
                freed += answer.charge().bytes();
            }
            self.answers.invalidate(&*key).await;
        }
        // In any case: moka may still hold what it evicted by itself.
        self.answers.run_pending_tasks().await;
    }

    /// Drops all answers of views before this one. Those of their documents that are still being
    /// sent count towards the bound from now on.
    pub async fn retire_before(self: &Arc<Self>, view: u64) {
        {
            let mut present = self.documents();
            present.oldest_view = view;
            present.documents.retain(|(of, document)| {
                if *of < view
                    && let Some(document) = document.upgrade()
                {
                    document.charge().count();
                }
                *of >= view
            });
        }
        let retired: Vec<_> =
            self.answers.iter().filter(|(key, _)| key.view < view).map(|(key, _)| key).collect();
        for key in retired {
            self.answers.invalidate(&*key).await;
        }
        self.answers.run_pending_tasks().await;
        self.enforce_bound();
    }

    /// While the bound is exceeded, has a task end the slowest responses.
    fn enforce_bound(self: &Arc<Self>) {
        if self.account.excess_bytes() == 0 || self.is_enforcing.swap(true, Ordering::Relaxed) {
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
            cache.is_enforcing.store(false, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests;
