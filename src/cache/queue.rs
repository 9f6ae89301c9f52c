//! The queue of renders: a bounded number run at once, each question is rendered once, and a render
//! is not begun when no caller waits for it any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RenderError;
use super::answer::Answer;
use super::question::Key;

/// The future that callers wait for; its clones wait for the same render.
pub(super) type PendingAnswer = Shared<BoxFuture<'static, Result<Arc<Answer>, RenderError>>>;

type WeakPendingAnswer = WeakShared<BoxFuture<'static, Result<Arc<Answer>, RenderError>>>;

/// Renders that wait for a permit or are under way.
pub(super) struct RenderQueue {
    permits: Arc<Semaphore>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    next_id: u64,
    // Weak: a render that waits for its permit is dropped with the last caller that waits for it.
    by_key: HashMap<Key, (u64, WeakPendingAnswer)>,
}

impl RenderQueue {
    /// A queue that lets `max_renders` work at once.
    pub(super) fn new(max_renders: usize) -> Arc<Self> {
        Arc::new(Self { permits: Arc::new(Semaphore::new(max_renders)), pending: Mutex::default() })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Every change is a single insertion or removal.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit to render, to be held until the bytes are in the account or dropped.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The render of `key` that is pending, or the one that `start` makes.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &Key,
        start: impl FnOnce(Ticket) -> BoxFuture<'static, Result<Arc<Answer>, RenderError>>,
    ) -> PendingAnswer {
        let mut pending = self.pending();
        if let Some(answer) = pending.by_key.get(key).and_then(|(_, answer)| answer.upgrade()) {
            return answer;
        }
        let id = pending.next_id;
        pending.next_id += 1;
        let ticket = Ticket { queue: Arc::clone(self), key: key.clone(), id };
        let answer = start(ticket).shared();
        let weak = answer.downgrade().expect("it has not been polled yet");
        pending.by_key.insert(key.clone(), (id, weak));
        answer
    }

    #[cfg(test)]
    pub(super) fn pending_count(&self) -> usize {
        self.pending().by_key.len()
    }
}

/// A render's place in the queue, which it leaves when this is dropped.
pub(super) struct Ticket {
    queue: Arc<RenderQueue>,
    key: Key,
    id: u64,
}

impl Ticket {
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        self.queue.permit().await
    }

    /// What the callers of this render wait for.
    pub(super) fn pending_answer(&self) -> Option<PendingAnswer> {
        let pending = self.queue.pending();
        let (id, answer) = pending.by_key.get(&self.key)?;
        if *id == self.id { answer.upgrade() } else { None }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut pending = self.queue.pending();
        if pending.by_key.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            pending.by_key.remove(&self.key);
        }
    }
}
