//! Detects, while a request waits for its response, that the client of a half-closed connection is
//! gone, so that its request can be dropped.
//!
//! A client that shuts down its sending side and one that closes the connection both send a FIN.
//! Only a write tells them apart: a closed socket replies to data with a reset. The probe therefore
//! sends the first bytes of the response, which are the same for every response, one at a time
//! ahead of the rest, and [`ConnectionIo`](super::ConnectionIo) skips them when it writes the
//! response.
//!
//! With the default `response_budget` no request waits for as long as [`FIRST_PROBE_DELAY`]. The
//! probe matters where the budget is longer.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

/// The common beginning of all HTTP/1 responses.
const PREFIX: &[u8] = b"HTTP/1.";

/// Longer than a response usually takes, so that it is usually not split.
const FIRST_PROBE_DELAY: Duration = Duration::from_secs(2);

const PROBE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct PeerProbe {
    /// How many bytes of [`PREFIX`] have been sent ahead of the response.
    bytes_ahead: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl PeerProbe {
    /// Sends the next byte when it is due. Is ready, with the error of the write, once the client
    /// is gone.
    pub(super) fn poll_gone<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Error> {
        while let Some(byte) = PREFIX.get(self.bytes_ahead..=self.bytes_ahead) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(FIRST_PROBE_DELAY)));
            ready!(timer.as_mut().poll(context));
            match ready!(Pin::new(&mut *stream).poll_write(context, byte)) {
                Ok(written) => self.bytes_ahead += written,
                Err(error) => return Poll::Ready(error),
            }
            if let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(context) {
                return Poll::Ready(error);
            }
            self.timer = Some(Box::pin(sleep(PROBE_INTERVAL)));
        }
        Poll::Pending
    }

    /// How many of the response's first bytes have already been sent.
    pub(super) fn bytes_ahead(&self) -> usize {
        self.bytes_ahead
    }

    /// Ends probing. Call when the response is being written.
    pub(super) fn stop(&mut self) {
        (self.bytes_ahead, self.timer) = (0, None);
    }
}
