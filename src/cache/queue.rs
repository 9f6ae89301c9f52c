//! The render queue. It bounds how many renders run at once, lets callers of the same key share
//! one, and drops a queued render when its last caller has left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RenderError;
use super::key::Key;
use super::rendered_body::RenderedBody;

/// The future that callers await. Its clones share one render.
pub(super) type PendingRender = Shared<BoxFuture<'static, Result<Arc<RenderedBody>, RenderError>>>;

type WeakPendingRender = WeakShared<BoxFuture<'static, Result<Arc<RenderedBody>, RenderError>>>;

/// The renders that wait for a permit or are running.
pub(super) struct RenderQueue {
    permits: Arc<Semaphore>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    next_id: u64,
    // Weak, so that a render that waits for its permit is dropped with its last caller.
    by_key: HashMap<Key, (u64, WeakPendingRender)>,
}

impl RenderQueue {
    /// A queue that runs at most `max_renders` at once.
    pub(super) fn new(max_renders: usize) -> Arc<Self> {
        Arc::new(Self { permits: Arc::new(Semaphore::new(max_renders)), pending: Mutex::default() })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Every change is a single insertion or removal.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit to render. Hold it until the rendered bytes are charged to the account or dropped.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The pending render of `key`, or a new one made by `start`.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &Key,
        start: impl FnOnce(Ticket) -> BoxFuture<'static, Result<Arc<RenderedBody>, RenderError>>,
    ) -> PendingRender {
        let mut pending = self.pending();
        if let Some(render) = pending.by_key.get(key).and_then(|(_, render)| render.upgrade()) {
            return render;
        }
        let id = pending.next_id;
        pending.next_id += 1;
        let ticket = Ticket { queue: Arc::clone(self), key: key.clone(), id };
        let render = start(ticket).shared();
        let weak = render.downgrade().expect("it has not been polled yet");
        pending.by_key.insert(key.clone(), (id, weak));
        render
    }

    #[cfg(test)]
    pub(super) fn pending_count(&self) -> usize {
        self.pending().by_key.len()
    }
}

/// A render's entry in the queue, removed when this is dropped.
pub(super) struct Ticket {
    queue: Arc<RenderQueue>,
    key: Key,
    id: u64,
}

impl Ticket {
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        self.queue.permit().await
    }

    /// The future that the callers of this render await.
    pub(super) fn pending_render(&self) -> Option<PendingRender> {
        let pending = self.queue.pending();
        let (id, render) = pending.by_key.get(&self.key)?;
        if *id == self.id { render.upgrade() } else { None }
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
