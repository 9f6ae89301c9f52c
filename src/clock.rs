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
/// While the process runs, the age follows the monotonic clock, so that setting the wall clock does
/// not change it. For data that an earlier process fetched, only the wall-clock time is known.
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

    /// Fetched at `wall` by an earlier process. A time in the future counts as now, because the
    /// clock must have been set back since.
    #[must_use]
    pub fn restored(wall: SystemTime, clock: &WallClock) -> Self {
        Self {
            wall,
            observed_at: Instant::now(),
            age_when_observed: clock.now().duration_since(wall).unwrap_or_default(),
        }
    }

    /// Fetched this long ago, by another clock than this process has.
    #[must_use]
    pub fn with_age(age: Duration, clock: &WallClock) -> Self {
        let now = clock.now();
        Self {
            wall: now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            observed_at: Instant::now(),
            age_when_observed: age,
        }
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
    async fn restored_data_is_as_old_as_the_wall_clock_says() {
        let (clock, time) = settable();
        let before_restart = FetchTime::now(&clock);
        *time.lock().unwrap() += MINUTE * 2;
        let fetched = FetchTime::restored(before_restart.wall(), &clock);
        assert_eq!(fetched.age(Instant::now()), MINUTE * 2);
        advance(MINUTE).await;
        assert_eq!(fetched.age(Instant::now()), MINUTE * 3);
        assert_eq!(fetched.instant_of_age(MINUTE * 4), Some(Instant::now() + MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn restored_data_from_the_future_is_new() {
        let (clock, time) = settable();
        let future = clock.now() + Duration::from_hours(24);
        assert_eq!(FetchTime::restored(future, &clock).age(Instant::now()), Duration::ZERO);
        *time.lock().unwrap() = SystemTime::UNIX_EPOCH;
        assert_eq!(FetchTime::restored(future, &clock).age(Instant::now()), Duration::ZERO);
    }
}
