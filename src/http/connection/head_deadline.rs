//! The deadline for a request's headers, against clients that send them very slowly (slowloris).
//!
//! hyper's `header_read_timeout` runs from the end of the last response to the end of the next
//! request's headers, so it must be as long as the idle timeout. This deadline runs from the first
//! byte of a request.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

#[derive(Debug)]
pub(super) struct HeadDeadline {
    timeout: Duration,
    /// Whether some but not all bytes of a request's headers have been read.
    is_partial: bool,
    /// Set when a read of incomplete headers first finds no data. Earlier, a pipelined request may
    /// be waiting for the response before it, which is not the client's delay.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadDeadline {
    /// Allows each request's headers `timeout` from their first byte.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, is_partial: false, deadline: None }
    }

    /// Call when a request's headers are complete: later bytes belong to the next request.
    pub(super) fn headers_complete(&mut self) {
        (self.is_partial, self.deadline) = (false, None);
    }

    /// Call when bytes have been read.
    pub(super) fn received(&mut self) {
        self.is_partial = true;
    }

    /// Is ready once the deadline has passed. Call when a read finds no data.
    pub(super) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_partial {
            return Poll::Pending;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        deadline.as_mut().poll(context)
    }
}
