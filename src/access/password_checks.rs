//! Checks passwords on threads of low priority, a bounded number at a time.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::SetupError;
use super::attempts::{Address, Attempt, Attempts, Refused};
use super::passwords::random_key;
use crate::background::CpuPool;

/// The most checks that wait or run.
const MAX_CHECKS: usize = 1024;

/// The longest time until a check begins. Beyond it the caller is refused.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The threads that check passwords, and the failed attempts of each address. Both outlive a
/// reload.
#[derive(Debug)]
pub(super) struct PasswordChecks {
    pub(super) attempts: Arc<Attempts>,
    /// Decides which hash the password of somebody unknown is compared with.
    pub(super) pick_key: hmac::Key,
    pool: CpuPool,
    /// Permits to run.
    threads: Arc<Semaphore>,
    /// Permits to wait or run.
    places: Arc<Semaphore>,
}

/// A check that may begin.
#[derive(Debug)]
pub(super) struct Turn {
    attempt: Attempt,
    _thread: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl PasswordChecks {
    /// At most half of the cores check passwords, at least one.
    ///
    /// # Errors
    ///
    /// When the system refuses the threads.
    pub(super) fn new() -> Result<Self, SetupError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (cores / 2).max(1);
        let pool = CpuPool::new("passwords", Some(threads)).map_err(|error| SetupError {
            setting: "auth",
            detail: format!("cannot start the threads that check passwords: {error}"),
        })?;
        Ok(Self {
            attempts: Arc::default(),
            pick_key: random_key(),
            pool,
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(MAX_CHECKS)),
        })
    }

    /// Waits for the turn of a check from `address`. A caller that leaves gives up its place.
    pub(super) async fn turn(&self, address: Address) -> Result<Turn, Refused> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Overloaded)?;
        let turn = async {
            let attempt = self.attempts.begin(address).await?;
            let thread = Arc::clone(&self.threads).acquire_owned().await;
            let thread = thread.expect("the semaphore is never closed");
            Ok(Turn { attempt, _thread: thread, _place: place })
        };
        timeout(MAX_WAIT, turn).await.unwrap_or(Err(Refused::Overloaded))
    }

    /// Runs a check, to its end even if the caller leaves: a failed attempt counts in any case.
    /// Continues a panic of the check.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        check: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let job = self.pool.spawn(move || {
            let Turn { attempt, _thread, _place } = turn;
            let result = check();
            if result.is_none() {
                attempt.fail();
            }
            result
        });
        match job.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process is exiting.
                Err(_) => None,
            },
        }
    }
}
