//! The I/O wrapper between hyper and the socket.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::head_deadline::HeadDeadline;
use super::peer_probe::PeerProbe;
use super::send_rate::{MinSendRate, SendRate};
use super::{ConnectionHandle, Exchange};

/// The stream of a connection: TCP, or a protocol above it such as TLS.
pub(in crate::http) trait Transport:
    AsyncRead + AsyncWrite + Send + Unpin + 'static
{
    /// Makes dropping the stream reset the connection, so that the kernel discards unsent data at
    /// once and the client learns of the end.
    fn reset_on_drop(&self);
}

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        // This fails only if the socket is already closed.
        let _ = self.set_zero_linger();
    }
}

impl<T: Transport> Transport for TlsStream<T> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

/// An HTTP/1 connection's stream with its deadlines. It also hides a half-close (the client's FIN)
/// from hyper until the response is sent: hyper would take it for the end of the connection.
#[derive(Debug)]
pub(in crate::http) struct ConnectionIo<T: Transport> {
    stream: T,
    handle: ConnectionHandle,
    head: HeadDeadline,
    send_rate: SendRate,
    /// The handle's count of requests at the last read.
    requests: u64,
    is_half_closed: bool,
    probe: PeerProbe,
    /// Wakes hyper's read once the response is sent, so that it sees the half-close.
    reader: Option<Waker>,
}

impl<T: Transport> ConnectionIo<T> {
    pub(in crate::http) fn new(
        stream: T,
        handle: ConnectionHandle,
        header_timeout: Duration,
        min_send_rate: MinSendRate,
    ) -> Self {
        Self {
            stream,
            handle,
            head: HeadDeadline::new(header_timeout),
            send_rate: SendRate::new(min_send_rate),
            requests: 0,
            is_half_closed: false,
            probe: PeerProbe::default(),
            reader: None,
        }
    }

    fn half_close(&mut self) {
        self.is_half_closed = true;
        // It cannot be set already: a half-closed connection is not read from.
        let _ = self.handle.0.half_closed.set(());
    }

    /// Records the result of a write, and ends the connection when the client reads too slowly.
    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.handle.0.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
                self.send_rate.sent(bytes);
                if self.handle.is_in(Exchange::Waiting) {
                    self.handle.enter(Exchange::Writing);
                }
                self.probe.stop();
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => self.poll_too_slow(context).map(Err),
        }
    }

    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.handle.is_exempt_from_min_send_rate() {
            return Poll::Pending;
        }
        ready!(self.send_rate.poll_too_slow(context));
        self.handle.abort();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<T: Transport> AsyncRead for ConnectionIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let requests = this.handle.0.requests.load(Ordering::Relaxed);
        if std::mem::replace(&mut this.requests, requests) != requests {
            this.head.headers_complete();
        }
        if !this.is_half_closed {
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(context, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() == before => this.half_close(),
                Poll::Ready(Ok(())) => {
                    this.head.received();
                    return Poll::Ready(Ok(()));
                }
                // Many clients close a TLS connection without telling so in TLS.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    this.half_close();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.head.poll_expired(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        if this.handle.is_in(Exchange::Idle) {
            return Poll::Ready(Ok(()));
        }
        this.reader = Some(context.waker().clone());
        if this.handle.is_in(Exchange::Waiting) {
            return this.probe.poll_gone(&mut this.stream, context).map(Err);
        }
        Poll::Pending
    }
}

impl<T: Transport> AsyncWrite for ConnectionIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let ahead = this.probe.bytes_ahead().min(bytes.len());
        let written = Pin::new(&mut this.stream).poll_write(context, &bytes[ahead..]);
        this.after_write(written.map_ok(|written| written + ahead), context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.probe.bytes_ahead() > 0 {
            let first = bytes.iter().find(|bytes| !bytes.is_empty());
            return self.poll_write(context, first.map_or(&[], |bytes| bytes));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.after_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return self.poll_too_slow(context).map(Err),
        }
        self.send_rate.finished();
        // hyper flushes only after it has written all that it was given.
        if self.handle.is_in(Exchange::Flushing) {
            self.handle.enter(Exchange::Idle);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.poll_too_slow(context).map(Err),
            shut_down @ Poll::Ready(_) => shut_down,
        }
    }
}

impl<T: Transport> Drop for ConnectionIo<T> {
    fn drop(&mut self) {
        if self.handle.is_aborted() {
            self.stream.reset_on_drop();
        }
    }
}

#[cfg(test)]
mod tests;
