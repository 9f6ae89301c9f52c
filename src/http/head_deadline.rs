//! A connection that ends when a request's headers drip in (slowloris).
//!
//! hyper's own timer runs from the end of the last answer to the end of the next headers, so it has
//! to be as patient as a kept-alive connection may idle. This one runs only while part of a request
//! has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Says that the headers that were coming in are whole.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadDone(Arc<AtomicBool>);

impl HeadDone {
    /// A request's headers have come. What is read from now on belongs to the next request.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct HeadDeadline {
    stream: TcpStream,
    limit: Duration,
    done: HeadDone,
    /// Whether bytes of a request have come whose headers are not whole yet.
    begun: bool,
    /// Set once a read finds nothing while a request has begun. Until then a pipelined request may
    /// be waiting here for the answer to the one before, which is no fault of the client's.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadDeadline {
    /// Gives each request's headers `limit` from when their first byte was read.
    pub(super) fn new(stream: TcpStream, limit: Duration, done: HeadDone) -> Self {
        Self { stream, limit, done, begun: false, deadline: None }
    }
}

impl AsyncRead for HeadDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.done.0.swap(false, Ordering::Relaxed) {
            (this.begun, this.deadline) = (false, None);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.begun |= buffer.filled().len() > before;
        if read.is_ready() || !this.begun {
            return read;
        }
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for HeadDeadline {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
