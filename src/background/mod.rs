//! A runtime for work that no caller waits for, and threads of low priority for its computing.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};

/// How much the niceness of CPU-bound background work exceeds that of the process. At 10 the kernel
/// gives such a thread about a tenth of a core that another thread wants too: a refresh still ends
/// under full load, and runs at full speed on idle cores.
const NICENESS_INCREMENT: i32 = 10;

/// The largest niceness that Linux knows.
const MAX_NICENESS: i32 = 19;

thread_local! {
    /// The niceness of CPU-bound work on this thread, if it is one of a [`Background`].
    static CPU_BOUND_NICENESS: Cell<Option<i32>> = const { Cell::new(None) };
}

/// A runtime of its own, on which CPU-bound work has a lower priority than the rest of the process.
///
/// Its one worker thread, which does the network I/O, keeps the ordinary priority: upstream calls
/// must not time out because callers keep the cores busy. On systems other than Linux all threads
/// have the same priority.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let niceness = niceness().map(|own| (own + NICENESS_INCREMENT).min(MAX_NICENESS));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .on_thread_start(move || CPU_BOUND_NICENESS.set(niceness))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs the future on this runtime; [`run_cpu_bound`] and [`spawn_cpu_bound`] within it use
    /// threads of low priority.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.as_ref().expect("the runtime lives until the drop").spawn(future)
    }
}

impl Drop for Background {
    /// Does not wait for blocking work that is still running.
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
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

/// Runs CPU-bound work on the blocking pool of the current runtime; with a lower priority if that
/// is a [`Background`]'s.
pub fn spawn_cpu_bound<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn_blocking(|| {
        if let Some(niceness) = CPU_BOUND_NICENESS.get() {
            lower_priority(niceness);
        }
        work()
    })
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
        let task = async { (own_niceness(), run_cpu_bound(own_niceness).await) };
        let lower = (before + NICENESS_INCREMENT).min(MAX_NICENESS);
        assert_eq!(background.spawn(task).await.unwrap(), (before, lower));
        assert_eq!((own_niceness(), run_cpu_bound(own_niceness).await), (before, before));
    }

    #[tokio::test]
    async fn a_panic_of_cpu_bound_work_continues_in_the_caller() {
        let caller = tokio::spawn(run_cpu_bound(|| panic!("expected")));
        assert!(caller.await.unwrap_err().is_panic());
    }
}
