//! Finds out, while a response is awaited, whether a half-closed connection still has a client.
//!
//! A client that shuts down its sending side and one that closes the connection look alike: both
//! send a FIN. Only data tells them apart, which a closed socket answers with a reset. So the first
//! bytes of the response, which are the same for every response, are sent ahead one by one, and
//! left out when the response is written.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

/// What every HTTP/1 response begins with.
const PREFIX: &[u8] = b"HTTP/1.";

/// Longer than a response usually takes, so that it is usually sent in one piece.
const FIRST_PROBE_DELAY: Duration = Duration::from_secs(2);

const PROBE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct PeerProbe {
    /// How many bytes of [`PREFIX`] were sent ahead of the response.
    bytes_ahead: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl PeerProbe {
    /// Sends the next byte when it is due; is ready with an error when the client is gone.
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

    /// How many of the response's first bytes are already sent.
    pub(super) fn bytes_ahead(&self) -> usize {
        self.bytes_ahead
    }

    /// The response is being written.
    pub(super) fn finished(&mut self) {
        (self.bytes_ahead, self.timer) = (0, None);
    }
}
