//! Threads on which operations run, each with a connection of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::timeout;

use super::fault::Fault;
use super::open::{self, Cache};
use super::opened_file::OpenedFile;
use crate::background::CpuPool;
use crate::store::StoreError;

/// After how many instructions of its virtual machine `SQLite` asks whether to go on: well below a
/// millisecond.
const INSTRUCTIONS_BETWEEN_CHECKS: i32 = 10_000;

/// How much longer than its bound a caller waits for an operation that does not notice its end,
/// because the disk does not answer.
const GRACE: Duration = Duration::from_secs(1);

/// Threads that run operations of one kind.
pub(super) struct Lane {
    pool: CpuPool,
    connections: Arc<Connections>,
    /// Permits to wait or run.
    places: Arc<Semaphore>,
}

/// The connections that no operation uses now; at most one a thread.
struct Connections {
    file: OpenedFile,
    cache: Cache,
    idle: Mutex<Vec<Connection>>,
}

/// The end of an operation: its time is up, or nobody waits for it any more.
struct End {
    deadline: Instant,
    given_up: AtomicBool,
}

impl End {
    fn is_reached(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

/// Gives the operation up when the future that waits for it is dropped.
struct GiveUpOnDrop(Arc<End>);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }
}

impl Connections {
    fn take(&self) -> Result<Connection, Fault> {
        self.file.check()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(connection) = idle else {
            // Another file in its place would be taken for the one that the log belongs to.
            self.file.check_file()?;
            return open::connect(self.file.path(), self.cache);
        };
        Ok(connection)
    }

    fn put(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Runs the work on a connection, unless its end is reached; interrupts it when it is.
    fn run<T>(
        &self,
        end: Option<&Arc<End>>,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let is_reached = {
            let end = end.cloned();
            move || end.as_ref().is_some_and(|end| end.is_reached())
        };
        if is_reached() {
            return Err(StoreError::Unavailable(
                "an operation on the history database waited too long for others".to_owned(),
            )
            .into());
        }
        let mut connection = self.take()?;
        connection.progress_handler(INSTRUCTIONS_BETWEEN_CHECKS, Some(is_reached))?;
        let result = work(&mut connection);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        // A connection whose operation failed is closed, because it may know of files that have
        // been replaced.
        if result.is_ok() && connection.is_autocommit() {
            self.put(connection);
        }
        result
    }
}

impl Lane {
    /// A lane in whose pool at most `places` operations on the file wait or run.
    pub(super) fn new(pool: CpuPool, file: OpenedFile, cache: Cache, places: usize) -> Self {
        let connections = Arc::new(Connections { file, cache, idle: Mutex::default() });
        Self { pool, connections, places: Arc::new(Semaphore::new(places)) }
    }

    /// Adds a connection.
    pub(super) fn put(&self, connection: Connection) {
        self.connections.put(connection);
    }

    /// Runs the work once a thread is free.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bound: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let end = End::after(bound);
        let places = Arc::clone(&self.places);
        let run = async {
            let place = places.acquire_owned().await.expect("it is never closed");
            self.run_at(place, end, work).await
        };
        self.within(bound, run).await
    }

    /// Runs the work once a thread is free, unless too much waits for one already.
    pub(super) async fn try_run<T: Send + 'static>(
        &self,
        bound: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| StoreError::Overloaded)?;
        self.within(bound, self.run_at(place, End::after(bound), work)).await
    }

    /// Runs work that brings its own connection, once a thread is free.
    pub(super) async fn run_unconnected<T: Send + 'static>(
        &self,
        bound: Duration,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let running = self.pool.spawn(work);
        self.within(bound, async { running.await.unwrap_or_else(|error| Err(failed(&error))) })
            .await
    }

    /// Runs work that nobody waits for.
    pub(super) fn start(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<(), Fault> + Send + 'static,
    ) {
        let connections = Arc::clone(&self.connections);
        self.pool.spawn(move || {
            if let Err(fault) = connections.run(None, work) {
                let error = fault.while_running(connections.file.path());
                tracing::warn!(%error, "cannot tidy the history database up");
            }
        });
    }

    async fn run_at<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        end: Arc<End>,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connections = Arc::clone(&self.connections);
        let _guard = GiveUpOnDrop(Arc::clone(&end));
        let running = self.pool.spawn(move || {
            let _place = place;
            let result = connections.run(Some(&end), work);
            result.map_err(|fault| fault.while_running(connections.file.path()))
        });
        running.await.unwrap_or_else(|error| Err(failed(&error)))
    }

    async fn within<T>(
        &self,
        bound: Duration,
        run: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(bound + GRACE, run).await.unwrap_or_else(|_| {
            let path = self.connections.file.path().display();
            let detail = format!("the history database {path} did not answer within {bound:?}");
            Err(StoreError::Unavailable(detail))
        })
    }
}

impl End {
    fn after(bound: Duration) -> Arc<Self> {
        let deadline = Instant::now() + bound;
        Arc::new(Self { deadline, given_up: AtomicBool::new(false) })
    }
}

fn failed(error: &JoinError) -> StoreError {
    StoreError::Unavailable(format!("an operation on the history database failed: {error}"))
}
