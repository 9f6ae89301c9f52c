//! The timer by which hyper ends a connection that idles: set anew for each request, and nearly
//! never due.
//!
//! tokio's own would be entered into the runtime's timers and taken out again each time, under a
//! lock that all threads share. This one stays in; when it is due before the deadline of the time,
//! it is set to that.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::time::{Instant, sleep_until};

/// One connection's timer.
#[derive(Clone, Debug)]
pub(super) struct IdleTimer(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

impl IdleTimer {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Box::pin(sleep_until(Instant::now())))))
    }
}

impl Timer for IdleTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), timer: self.clone() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

/// The end of one wait.
#[derive(Debug)]
struct Deadline {
    at: Instant,
    timer: IdleTimer,
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.deadline() > self.at {
            timer.as_mut().reset(self.at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

impl Sleep for Deadline {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_at_its_own_deadline() {
        let (timer, start) = (IdleTimer::new(), Instant::now());
        let seconds = Duration::from_secs;
        // One that is given up, as hyper does when a request has come; a later one; and one that is
        // earlier than that.
        let given_up = timer.sleep(seconds(10));
        assert!(tokio::time::timeout(seconds(4), given_up).await.is_err());
        timer.sleep(seconds(10)).await;
        assert_eq!(start.elapsed().as_secs(), 14);
        let long = timer.sleep(seconds(100));
        assert!(tokio::time::timeout(seconds(1), long).await.is_err());
        timer.sleep(seconds(5)).await;
        assert_eq!(start.elapsed().as_secs(), 20);
    }
}
