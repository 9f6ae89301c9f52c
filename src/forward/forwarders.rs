//! Runs the forwards of a gateway.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use futures::future::select_all;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::follow::follow;
use super::settings::{Destination, Outlet};
use super::status::Board;
use super::worker::{Mode, Worker};
use super::{ForwardMetrics, ForwardSettings, ForwardStatuses};
use crate::store::StoreHandle;

/// The forwards of a gateway; [`Forwarders::run`] drives them.
pub struct Forwarders {
    supervisor: Supervisor<Outlet>,
}

/// Directs forwards that run.
pub struct ForwardersHandle {
    destinations: watch::Sender<Vec<Arc<Outlet>>>,
    board: Board,
}

impl Forwarders {
    /// Forwards that are not running yet, and what directs them. `seed` determines all jitter.
    #[must_use]
    pub fn new(
        handle: StoreHandle,
        settings: ForwardSettings,
        metrics: ForwardMetrics,
        seed: u64,
    ) -> (Self, ForwardersHandle) {
        let board = Board::new(watch::Sender::default(), metrics);
        let destinations = watch::Sender::new(settings.outlets);
        let supervisor = Supervisor::new(handle, destinations.subscribe(), board.clone(), seed);
        (Self { supervisor }, ForwardersHandle { destinations, board })
    }

    /// Sends while this process has the lease. It ends when the lease is about to be given back and
    /// no request is under way; callers bound how long that may take.
    ///
    /// # Panics
    ///
    /// When the task of a forward has panicked.
    pub async fn run(self) {
        self.supervisor.run().await;
    }
}

impl ForwardersHandle {
    /// Sets which forwards are configured from now on. Those that have not changed go on.
    pub fn set(&self, settings: ForwardSettings) {
        self.destinations.send_replace(settings.outlets);
    }

    /// The statuses of the forwards that are configured, in the configured order.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<ForwardStatuses> {
        self.board.subscribe()
    }
}

/// Keeps a worker for each forward that is configured.
pub(super) struct Supervisor<D> {
    handle: StoreHandle,
    destinations: watch::Receiver<Vec<Arc<D>>>,
    board: Board,
    jitter: fastrand::Rng,
    running: Vec<Running<D>>,
}

/// A forward with its worker.
struct Running<D> {
    destination: Arc<D>,
    task: Task,
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<D: Destination> Supervisor<D> {
    pub(super) fn new(
        handle: StoreHandle,
        mut destinations: watch::Receiver<Vec<Arc<D>>>,
        board: Board,
        seed: u64,
    ) -> Self {
        board.configure(names(&destinations.borrow_and_update()));
        destinations.mark_changed();
        let jitter = fastrand::Rng::with_seed(seed);
        Self { handle, destinations, board, jitter, running: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        let mut state = self.handle.subscribe();
        loop {
            if self.destinations.has_changed().unwrap_or_default() {
                self.configure().await;
            }
            let destinations: Vec<_> =
                self.running.iter().map(|running| Arc::clone(&running.destination)).collect();
            let (handle, board) = (self.handle.clone(), self.board.clone());
            // A gateway that is dropped configures nothing any more.
            let changed = async {
                if self.destinations.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = changed => self.destinations.mark_changed(),
                ended = first_end(&mut self.running) => match ended {
                    (_, Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                    (index, _) => drop(self.running.swap_remove(index)),
                },
                () = follow(&handle, &board, &destinations) => {}
                _ = state.wait_for(|state| state.is_leaving), if self.running.is_empty() => return,
            }
        }
    }

    /// Starts and stops workers, so that there is one for each forward that is configured.
    async fn configure(&mut self) {
        let configured = self.destinations.borrow_and_update().clone();
        let is_kept = |running: &Running<D>| {
            configured.iter().any(|destination| destination.is_like(&running.destination))
        };
        let (kept, stopped) = std::mem::take(&mut self.running).into_iter().partition(is_kept);
        self.running = kept;
        for mut stopped in stopped as Vec<Running<D>> {
            // The next worker of this name begins when this one has ended.
            stopped.task.0.abort();
            let _ = (&mut stopped.task.0).await;
        }
        self.board.configure(names(&configured));
        for destination in configured {
            let is_like = |running: &Running<D>| running.destination.is_like(&destination);
            if !self.running.iter().any(is_like) {
                self.start(destination);
            }
        }
    }

    fn start(&mut self, destination: Arc<D>) {
        let worker = Worker::new(
            Arc::clone(&destination),
            self.handle.clone(),
            self.board.clone(),
            Mode::Serve,
            self.jitter.u64(..),
        );
        let task = Task(tokio::spawn(worker.serve()));
        self.running.push(Running { destination, task });
    }
}

pub(super) fn names<D: Destination>(destinations: &[Arc<D>]) -> impl Iterator<Item = &str> {
    destinations.iter().map(|destination| destination.config().name.as_str())
}

/// Waits for the end of the first worker that ends.
async fn first_end<D>(running: &mut [Running<D>]) -> (usize, Result<(), JoinError>) {
    if running.is_empty() {
        return pending().await;
    }
    let (result, index, _) =
        select_all(running.iter_mut().map(|running| &mut running.task.0)).await;
    (index, result)
}
