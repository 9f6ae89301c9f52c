//! Connections in memory, under paused time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::Transport;

/// The server's end of an in-memory connection; notes whether a drop would reset it.
pub(in crate::http) struct Pipe {
    stream: DuplexStream,
    pub(in crate::http) is_reset: Arc<AtomicBool>,
}

impl Pipe {
    /// The client's end and the server's, with `buffer_bytes` in flight each way at most.
    pub(in crate::http) fn new(buffer_bytes: usize) -> (DuplexStream, Self) {
        let (client, stream) = duplex(buffer_bytes);
        (client, Self { stream, is_reset: Arc::default() })
    }
}

impl Transport for Pipe {
    fn reset_on_drop(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
