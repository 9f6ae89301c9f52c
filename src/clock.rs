//! Times on two clocks: the monotonic clock, which measures ages while the process runs, and the
//! wall clock, whose times remain valid across a restart.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A source of wall-clock time, which tests can replace.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// A clock whose time is what `now` returns.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now()).finish()
    }
}

/// When data was fetched.
///
/// The age follows the monotonic clock, so that setting the wall clock does not change it. Of data
/// that another process fetched, the store tells the age once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FetchTime {
    wall: SystemTime,
    observed_at: Instant,
    age_when_observed: Duration,
}

impl FetchTime {
    /// Fetched now.
    #[must_use]
    pub fn now(clock: &WallClock) -> Self {
        Self { wall: clock.now(), observed_at: Instant::now(), age_when_observed: Duration::ZERO }
    }

    /// Fetched at `wall` by another clock than this process has, and `age` old at `observed_at`.
    #[must_use]
    pub const fn stored(wall: SystemTime, age: Duration, observed_at: Instant) -> Self {
        Self { wall, observed_at, age_when_observed: age }
    }

    /// The wall-clock time.
    #[must_use]
    pub const fn wall(&self) -> SystemTime {
        self.wall
    }

    /// The age at `now`; never negative.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.age_when_observed.saturating_add(now.saturating_duration_since(self.observed_at))
    }

    /// When the data reaches `age`, which may be in the past; `None` if that is too far in the
    /// future to be represented.
    #[must_use]
    pub fn instant_of_age(&self, age: Duration) -> Option<Instant> {
        self.observed_at.checked_add(age.saturating_sub(self.age_when_observed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A clock that can be set.
    fn settable() -> (WallClock, Arc<Mutex<SystemTime>>) {
        let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)));
        let shown = Arc::clone(&time);
        (WallClock::new(move || *shown.lock().unwrap()), time)
    }

    #[tokio::test(start_paused = true)]
    async fn setting_the_wall_clock_changes_no_age() {
        let (clock, time) = settable();
        let fetched = FetchTime::now(&clock);
        advance(MINUTE).await;
        *time.lock().unwrap() += Duration::from_hours(10_000);
        assert_eq!(fetched.age(Instant::now()), MINUTE);
        *time.lock().unwrap() = SystemTime::UNIX_EPOCH;
        assert_eq!(fetched.age(Instant::now()), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn stored_data_has_the_age_that_the_store_tells() {
        let (clock, time) = settable();
        let observed = Instant::now();
        let fetched = FetchTime::stored(clock.now() - MINUTE * 7, MINUTE * 2, observed);
        assert_eq!(fetched.age(observed), MINUTE * 2, "by the clock of the store");
        advance(MINUTE).await;
        *time.lock().unwrap() = SystemTime::UNIX_EPOCH;
        assert_eq!(fetched.age(Instant::now()), MINUTE * 3);
        assert_eq!(fetched.instant_of_age(MINUTE * 4), Some(Instant::now() + MINUTE));
        let long_ago = FetchTime::stored(SystemTime::UNIX_EPOCH, Duration::MAX, observed);
        assert_eq!(long_ago.age(Instant::now()), Duration::MAX);
    }
}
