//! The wait that an upstream has asked for (429, 503), which holds for all its sources.

use std::sync::Mutex;

use tokio::time::{Instant, sleep_until};

use super::{UpstreamError, lock};
use crate::outcome::Outcome;

/// Until when an upstream is not called, because it asked for that.
#[derive(Debug, Default)]
pub(super) struct RateLimitWait(Mutex<Option<Instant>>);

impl RateLimitWait {
    /// When the wait ends; `None` if there is none.
    pub(super) fn until(&self) -> Option<Instant> {
        lock(&self.0).filter(|until| *until > Instant::now())
    }

    /// Starts a wait if the call failed because the upstream asked for one. A wait that has begun
    /// is never shortened.
    pub(super) fn note(&self, error: &UpstreamError) {
        if let Some(wait) = error.retry_after {
            let until = Instant::now() + wait;
            let mut current = lock(&self.0);
            *current = Some(current.map_or(until, |current| current.max(until)));
        }
    }

    /// Returns when the wait has ended, or fails at once if it ends after `give_up`.
    pub(super) async fn end(&self, give_up: Instant) -> Result<(), UpstreamError> {
        // The wait may have been prolonged meanwhile.
        while let Some(until) = self.until() {
            if until > give_up {
                let detail = "the upstream asked for fewer calls, and the wait has not ended; it \
                              was not called";
                return Err(UpstreamError::new(Outcome::RateLimited, detail)
                    .with_retry_after(Some(until - Instant::now())));
            }
            sleep_until(until).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    fn asked(status: u16, seconds: u64) -> UpstreamError {
        UpstreamError::new(Outcome::RateLimited, "asked")
            .with_status(StatusCode::from_u16(status).unwrap())
            .with_retry_after(Some(Duration::from_secs(seconds)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_waited_out_or_refused_and_never_shortened() {
        let wait = RateLimitWait::default();
        let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
        wait.end(Instant::now()).await.unwrap();
        wait.note(&asked(429, 3));
        wait.note(&asked(503, 4));
        wait.note(&asked(429, 1));
        wait.note(&UpstreamError::new(Outcome::CircuitOpen, "open"));
        assert_eq!(wait.until(), Some(in_seconds(4)));
        let refused = wait.end(in_seconds(3)).await.unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(4)));
        assert!(refused.is_refusal());
        let started = Instant::now();
        wait.end(in_seconds(5)).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 4);
        assert_eq!(wait.until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_prolonged_is_waited_out_to_its_end() {
        let wait = RateLimitWait::default();
        wait.note(&asked(429, 2));
        let started = Instant::now();
        let (first, ()) = tokio::join!(wait.end(started + Duration::from_secs(9)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            wait.note(&asked(429, 4));
        });
        first.unwrap();
        assert_eq!(started.elapsed().as_secs(), 5);
    }
}
