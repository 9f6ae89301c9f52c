//! Checks passwords on threads of low priority, a bounded number at a time.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::SetupError;
use super::attempts::{Address, Attempt, Attempts, Limited};
use super::keyed_hash::KeyedHash;
use crate::background::CpuPool;

/// The most checks that wait or run.
const MAX_CHECKS: usize = 4096;

/// The threads that check passwords, and the failed attempts of each address. Both outlive a
/// reload.
#[derive(Debug)]
pub(super) struct PasswordChecks {
    pub(super) attempts: Arc<Attempts>,
    /// Decides which hash the password of somebody unknown is compared with.
    pub(super) pick: KeyedHash,
    pool: CpuPool,
    /// Permits to run.
    threads: Arc<Semaphore>,
    /// Permits to wait or run.
    places: Arc<Semaphore>,
    /// How many checks have begun.
    #[cfg(test)]
    pub(super) begun: std::sync::atomic::AtomicUsize,
}

/// A check that may begin.
#[derive(Debug)]
pub(super) struct Turn {
    attempt: Attempt,
    _thread: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// Why a check does not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The address has made too many attempts.
    Limited(Limited),
    /// Too many checks wait, of all addresses.
    Overloaded,
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
            // No more than can run, so that the checks of one address never fill the queue for
            // threads: those of others wait for one of its checks, not for ten.
            attempts: Arc::new(Attempts::new(threads)),
            pick: KeyedHash::new(),
            pool,
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(MAX_CHECKS)),
            #[cfg(test)]
            begun: 0.into(),
        })
    }

    /// Waits at most `max_wait` for the turn of a check from `address`. A caller that leaves gives
    /// up its place.
    ///
    /// # Errors
    ///
    /// When the address has made too many attempts, or when too many checks wait.
    pub(super) async fn turn(&self, address: Address, max_wait: Duration) -> Result<Turn, Refused> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Overloaded)?;
        let turn = async {
            let attempt = self.attempts.begin(address).await.map_err(Refused::Limited)?;
            let thread = Arc::clone(&self.threads).acquire_owned().await;
            let thread = thread.expect("the semaphore is never closed");
            Ok(Turn { attempt, _thread: thread, _place: place })
        };
        timeout(max_wait, turn).await.unwrap_or(Err(Refused::Overloaded))
    }

    /// Runs a check, to its end even if the caller leaves: a failed attempt counts in any case.
    /// Continues a panic of the check.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        check: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        #[cfg(test)]
        self.begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // The threads of the pool have no tokio clock of their own.
        let began = Instant::now();
        let job = self.pool.spawn(move || {
            let Turn { attempt, _thread, _place } = turn;
            let result = check();
            if result.is_none() {
                attempt.fail(began);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;

    use super::super::attempts::MAX_FAILURES;
    use super::*;

    const MAX_WAIT: Duration = Duration::from_secs(2);

    fn address(number: u64) -> Address {
        Address::V6Network(number)
    }

    /// Keeps all threads busy until the sender is dropped.
    async fn occupy(checks: &PasswordChecks) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        for number in 0..checks.threads.available_permits() {
            let turn = checks.turn(address(number as u64), MAX_WAIT).await.unwrap();
            let receiver = Arc::clone(&receiver);
            let check = move || receiver.lock().unwrap().recv().ok();
            // The caller leaves.
            assert!(checks.run(turn, check).now_or_never().is_none());
        }
        sender
    }

    #[tokio::test]
    async fn a_check_that_fails_counts_even_if_its_caller_leaves() {
        let checks = PasswordChecks::new().unwrap();
        let release = occupy(&checks).await;
        assert_eq!(checks.threads.available_permits(), 0);
        drop(release);
        while checks.places.available_permits() < MAX_CHECKS {
            tokio::task::yield_now().await;
        }
        for _ in 1..MAX_FAILURES {
            checks.attempts.fail(address(0)).unwrap();
        }
        assert!(checks.attempts.limited_for(address(0)).is_some());
    }

    #[tokio::test]
    async fn places_are_bounded_and_a_caller_that_leaves_frees_its_own() {
        let checks = PasswordChecks::new().unwrap();
        let _release = occupy(&checks).await;
        let mut waiting: Vec<_> = (0..checks.places.available_permits() as u64)
            .map(|number| checks.turn(address(100 + number), MAX_WAIT).boxed())
            .collect();
        for waiting in &mut waiting {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(checks.turn(address(1), MAX_WAIT).await.unwrap_err(), Refused::Overloaded);
        waiting.pop();
        assert!(checks.turn(address(1), MAX_WAIT).now_or_never().is_none(), "it waits");
        assert_eq!(checks.attempts.limited_for(address(1)), None);
        drop(waiting);
        let running = MAX_CHECKS - checks.places.available_permits();
        assert!(running <= thread::available_parallelism().unwrap().get());
    }

    #[tokio::test]
    async fn an_address_with_many_checks_lets_another_go_before_its_next_one() {
        let checks = PasswordChecks::new().unwrap();
        let threads = checks.threads.available_permits();
        let mut own: Vec<_> = (0..threads + MAX_FAILURES)
            .map(|_| checks.turn(address(1), MAX_WAIT).boxed())
            .collect();
        let mut running: Vec<Turn> =
            own.iter_mut().filter_map(|turn| turn.now_or_never()?.ok()).collect();
        for number in running.len()..threads {
            running.push(checks.turn(address(100 + number as u64), MAX_WAIT).await.unwrap());
        }
        let mut other = checks.turn(address(2), MAX_WAIT).boxed();
        assert!(other.as_mut().now_or_never().is_none(), "all threads are busy");
        running.pop();
        assert!(other.now_or_never().expect("it is next").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_does_not_begin_in_time_is_given_up() {
        let checks = PasswordChecks::new().unwrap();
        let _release = occupy(&checks).await;
        let began = Instant::now();
        assert_eq!(checks.turn(address(100), MAX_WAIT).await.unwrap_err(), Refused::Overloaded);
        assert_eq!(began.elapsed(), MAX_WAIT);
    }

    #[tokio::test]
    async fn a_panic_of_a_check_continues_in_the_caller_and_frees_its_place() {
        let checks = Arc::new(PasswordChecks::new().unwrap());
        let turn = checks.turn(address(0), MAX_WAIT).await.unwrap();
        let checking = Arc::clone(&checks);
        let check = || -> Option<()> { panic!("expected") };
        let caller = tokio::spawn(async move { checking.run(turn, check).await });
        assert!(caller.await.unwrap_err().is_panic());
        assert_eq!(checks.places.available_permits(), MAX_CHECKS);
    }
}
