//! The I/O wrapper between hyper and the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Http2Connection;
use super::frames::InboundFrames;
use crate::http::connection::Transport;
use crate::http::connection::head_deadline::HeadDeadline;
use crate::http::connection::send_rate::{MinSendRate, SendRate};

/// An HTTP/2 connection's stream with its deadlines: the client must complete what it has begun to
/// send, and must read. h2 has neither deadline; hyper's keep-alive pings begin only after the
/// preface.
#[derive(Debug)]
pub(in crate::http) struct Http2Io<T: Transport> {
    stream: T,
    connection: Arc<Http2Connection>,
    frames: InboundFrames,
    deadline: HeadDeadline,
    send_rate: SendRate,
}

impl<T: Transport> Http2Io<T> {
    pub(in crate::http) fn new(
        stream: T,
        connection: Arc<Http2Connection>,
        header_timeout: Duration,
        min_send_rate: MinSendRate,
    ) -> Self {
        let mut deadline = HeadDeadline::new(header_timeout);
        // For the preface, whether any of it has come or not.
        deadline.received();
        let send_rate = SendRate::new(min_send_rate);
        Self { stream, connection, frames: InboundFrames::new(), deadline, send_rate }
    }

    fn received(&mut self, bytes: &[u8]) {
        let completed_before = self.frames.completed_units();
        self.frames.received(bytes);
        if self.frames.completed_units() > completed_before {
            self.deadline.headers_complete();
        }
        if self.frames.is_within_unit() {
            self.deadline.received();
        }
    }

    /// Ends the connection when the client reads nothing or next to nothing of it, unless it has a
    /// stream that may be read as slowly as the client likes.
    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => self.send_rate.sent(bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.poll_too_slow(context).map(Err),
        }
        written
    }

    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.connection.has_exempt_streams() {
            return Poll::Pending;
        }
        ready!(self.send_rate.poll_too_slow(context));
        self.connection.abort();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<T: Transport> AsyncRead for Http2Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => self.received(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.deadline.poll_expired(context));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<T: Transport> AsyncWrite for Http2Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.after_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.poll_too_slow(context).map(Err),
            flushed @ Poll::Ready(_) => {
                self.send_rate.finished();
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.poll_too_slow(context).map(Err),
            shut_down @ Poll::Ready(_) => shut_down,
        }
    }
}

impl<T: Transport> Drop for Http2Io<T> {
    fn drop(&mut self) {
        if self.connection.is_aborted() {
            self.stream.reset_on_drop();
        }
    }
}
