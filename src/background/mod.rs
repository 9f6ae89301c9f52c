//! A runtime for background tasks, with threads of low priority for their CPU-bound work.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};

/// How much the niceness of CPU-bound background work exceeds that of the process. At 10, such a
/// thread gets about a tenth of a core that another thread competes for. A refresh thus ends even
/// under full load, and runs at full speed on idle cores.
const NICENESS_INCREMENT: i32 = 10;

/// The largest niceness of Linux.
const MAX_NICENESS: i32 = 19;

thread_local! {
    /// The pool for CPU-bound work, on threads of a [`Background`].
    static CPU_POOL: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// A runtime of its own, whose CPU-bound work has a lower priority than the rest of the process.
///
/// Network I/O, name resolution included, keeps the ordinary priority, so that upstream calls do
/// not time out because requests keep the cores busy. On systems other than Linux all threads have
/// the same priority.
#[derive(Debug)]
pub struct Background {
    /// `None` only during the drop.
    tasks: Option<Runtime>,
    _cpu_pool: CpuPool,
}

/// Threads for CPU-bound or blocking work, of low priority unless said otherwise. They are started
/// when there is work, and end when there has been none for a while.
#[derive(Debug)]
pub struct CpuPool {
    /// Only its blocking pool is used. `None` only during the drop.
    runtime: Option<Runtime>,
}

impl CpuPool {
    /// A pool of at most `max_threads` threads, or of tokio's default.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub fn new(name: &'static str, max_threads: Option<usize>) -> io::Result<Self> {
        let niceness = niceness().map(|own| (own + NICENESS_INCREMENT).min(MAX_NICENESS));
        let mut builder = Builder::new_current_thread();
        builder.on_thread_start(move || niceness.into_iter().for_each(lower_priority));
        Self::build(builder, name, max_threads)
    }

    /// A pool as by [`Self::new`], but of ordinary priority, for work that callers wait for.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub fn of_ordinary_priority(
        name: &'static str,
        max_threads: Option<usize>,
    ) -> io::Result<Self> {
        Self::build(Builder::new_current_thread(), name, max_threads)
    }

    fn build(
        mut builder: Builder,
        name: &'static str,
        max_threads: Option<usize>,
    ) -> io::Result<Self> {
        builder.thread_name(name);
        if let Some(max_threads) = max_threads {
            builder.max_blocking_threads(max_threads);
        }
        Ok(Self { runtime: Some(builder.build()?) })
    }

    /// Runs the work once a thread is free.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle().spawn_blocking(work)
    }

    fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime lives until the drop").handle()
    }
}

impl Drop for CpuPool {
    /// Does not wait for work that is still running.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let cpu_pool = CpuPool::new("background-cpu", None)?;
        let handle = cpu_pool.handle().clone();
        let tasks = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .on_thread_start(move || CPU_POOL.set(Some(handle.clone())))
            .enable_all()
            .build()?;
        Ok(Self { tasks: Some(tasks), _cpu_pool: cpu_pool })
    }

    /// Runs the future on this runtime; [`run_cpu_bound`] and [`spawn_cpu_bound`] within it use
    /// threads of low priority.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.as_ref().expect("the runtime lives until the drop").spawn(future)
    }
}

impl Drop for Background {
    /// Does not wait for work that is still running.
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.take() {
            tasks.shutdown_background();
        }
    }
}

/// Runs CPU-bound work as [`spawn_cpu_bound`] does, and waits for its result. A panic of the work
/// continues in the caller.
pub async fn run_cpu_bound<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_cpu_bound(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and drops this future with it.
            Err(_) => pending().await,
        },
    }
}

/// Runs CPU-bound work on a blocking thread: of low priority when a [`Background`]'s task calls
/// this, else of the current runtime.
pub fn spawn_cpu_bound<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    match CPU_POOL.with_borrow(Clone::clone) {
        Some(pool) => pool.spawn_blocking(work),
        None => spawn_blocking(work),
    }
}

#[cfg(target_os = "linux")]
fn niceness() -> Option<i32> {
    rustix::process::getpriority_process(None).ok()
}

/// Sets the niceness of the calling thread alone, as Linux does where POSIX means the process.
#[cfg(target_os = "linux")]
fn lower_priority(niceness: i32) {
    // A sandbox that forbids this costs callers latency during a refresh and nothing else.
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn niceness() -> Option<i32> {
    None
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn own_niceness() -> i32 {
        niceness().unwrap()
    }

    #[tokio::test]
    async fn only_cpu_bound_work_of_the_background_has_low_priority() {
        let before = own_niceness();
        let background = Background::start().unwrap();
        let lower = (before + NICENESS_INCREMENT).min(MAX_NICENESS);
        let task = || async {
            let cpu_bound = run_cpu_bound(own_niceness).await;
            // Like name resolution; the blocking thread may be a reused one.
            let blocking = spawn_blocking(own_niceness).await.unwrap();
            (own_niceness(), cpu_bound, blocking)
        };
        for _ in 0..3 {
            assert_eq!(background.spawn(task()).await.unwrap(), (before, lower, before));
        }
        assert_eq!(task().await, (before, before, before));
    }

    #[tokio::test]
    async fn a_panic_of_cpu_bound_work_continues_in_the_caller() {
        let caller = tokio::spawn(run_cpu_bound(|| panic!("expected")));
        assert!(caller.await.unwrap_err().is_panic());
    }
}
