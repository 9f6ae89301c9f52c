//! The deadline of a call, which is put off while the call waits for its turn.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lock;

/// A deadline that can be put off. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + timeout)))
    }

    /// Puts the deadline off.
    pub(super) fn put_off(&self, by: Duration) {
        *lock(&self.0) += by;
    }

    /// Waits until the deadline has passed.
    pub(super) async fn passed(&self) {
        loop {
            let deadline = *lock(&self.0);
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_when_it_is_no_longer_put_off() {
        let (started, deadline) = (Instant::now(), Deadline::after(Duration::from_secs(2)));
        let other = deadline.clone();
        tokio::join!(deadline.passed(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            other.put_off(Duration::from_secs(5));
        });
        assert_eq!(started.elapsed().as_secs(), 7);
    }
}
