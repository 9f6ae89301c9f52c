//! The deadline for a request's headers, against clients that send them drop by drop (slowloris).
//!
//! hyper's own timer runs from the end of the last response to the end of the next headers, so it
//! has to be as long as a kept-alive connection may idle. This one runs only from a request's first
//! byte on.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

#[derive(Debug)]
pub(super) struct HeadDeadline {
    timeout: Duration,
    /// Whether bytes of a request have been read whose headers are not complete.
    is_partial: bool,
    /// Set at the first read that finds nothing more of incomplete headers. Until then a pipelined
    /// request may be waiting for the response before it, which is not the client's delay.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadDeadline {
    /// Gives each request's headers `timeout` from their first byte on.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, is_partial: false, deadline: None }
    }

    /// Headers are complete; what is read from now on belongs to the next request.
    pub(super) fn headers_complete(&mut self) {
        (self.is_partial, self.deadline) = (false, None);
    }

    /// Bytes of a request were read.
    pub(super) fn received(&mut self) {
        self.is_partial = true;
    }

    /// Is ready when the headers that the connection waits for are overdue.
    pub(super) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_partial {
            return Poll::Pending;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        deadline.as_mut().poll(context)
    }
}
