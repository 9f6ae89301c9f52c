//! Threads for what no caller waits for, which yield to those that answer.

#[cfg(target_os = "linux")]
mod metronome;
#[cfg(target_os = "linux")]
mod priority;
mod turns;

use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};

pub use turns::{GIVE_WAY_EVERY, give_way};

/// A runtime of its own, blocking pool included, whose threads have a lower priority than others of
/// the process.
///
/// That is so on Linux; elsewhere it is only a runtime.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        // One thread for tasks: what is heavy goes to the blocking pool.
        builder.worker_threads(1).thread_name("background").enable_all();
        #[cfg(target_os = "linux")]
        builder.on_thread_start(priority::lower());
        Ok(Self(Some(builder.build()?)))
    }

    /// Runs the future there, heavy work that it starts included.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.as_ref().expect("it is there until it is dropped").spawn(future)
    }
}

impl Drop for Background {
    /// Nobody waits for what still runs.
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// What [`spawn_heavy`] comes to; a panic there goes on here.
pub async fn heavy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_heavy(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is being shut down, and whoever waits here with it.
            Err(_) => pending().await,
        },
    }
}

/// Runs what computes for long on a thread of the blocking pool of the runtime that calls this; if
/// that is the [`Background`]'s, requests go first.
pub fn spawn_heavy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(|| {
        #[cfg(target_os = "linux")]
        let _preemptible = priority::preemptible();
        work()
    })
}
