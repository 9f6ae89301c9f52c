//! The I/O wrapper between hyper and the socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Http2Connection;
use super::control_frames::ControlFrameAllowance;
use super::frames::InboundFrames;
use crate::http::connection::Transport;
use crate::http::connection::head_deadline::HeadDeadline;
use crate::http::connection::send_rate::{MinSendRate, SendRate};

/// How much is read before other tasks have their turn. tokio's budget counts reads, of which one
/// can bring a thousand frames.
const MAX_BYTES_PER_TURN: usize = 64 << 10;

/// An HTTP/2 connection's stream with its deadlines and bounds: the client must complete what it
/// has begun to send, must read, and may not send control frames without end. h2 has no such
/// deadline or bound; hyper's keep-alive pings begin only after the preface.
#[derive(Debug)]
pub(in crate::http) struct Http2Io<T: Transport> {
    stream: T,
    connection: Arc<Http2Connection>,
    peer: SocketAddr,
    frames: InboundFrames,
    control_frames: ControlFrameAllowance,
    /// What was read since a read last found no data, or let other tasks have their turn.
    bytes_of_turn: usize,
    deadline: HeadDeadline,
    send_rate: SendRate,
}

impl<T: Transport> Http2Io<T> {
    pub(in crate::http) fn new(
        stream: T,
        connection: Arc<Http2Connection>,
        peer: SocketAddr,
        header_timeout: Duration,
        min_send_rate: MinSendRate,
    ) -> Self {
        let mut deadline = HeadDeadline::new(header_timeout);
        // For the preface, whether any of it has come or not.
        deadline.received();
        Self {
            stream,
            connection,
            peer,
            frames: InboundFrames::new(),
            control_frames: ControlFrameAllowance::new(),
            bytes_of_turn: 0,
            deadline,
            send_rate: SendRate::new(min_send_rate),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes_of_turn += bytes.len();
        let completed_before = self.frames.completed_units();
        let control_bytes_before = self.frames.control_bytes();
        self.frames.received(bytes);
        let control_bytes = self.frames.control_bytes() - control_bytes_before;
        if control_bytes > 0
            && !self.control_frames.spend(control_bytes, &self.connection.earned_bytes)
        {
            tracing::debug!(peer = %self.peer, "an HTTP/2 client sends too many control frames");
            self.connection.abort();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.frames.completed_units() > completed_before {
            self.deadline.headers_complete();
        }
        if self.frames.is_within_unit() {
            self.deadline.received();
        }
        Ok(())
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
        if self.bytes_of_turn >= MAX_BYTES_PER_TURN {
            self.bytes_of_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => self.received(&buffer.filled()[before..])?,
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.bytes_of_turn = 0;
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::http::connection::testing::Pipe;

    #[tokio::test(start_paused = true)]
    async fn other_tasks_have_their_turn_between_reads() {
        const SENT_BYTES: usize = 200 << 10;
        let (mut client, pipe) = Pipe::new(SENT_BYTES);
        let rate = MinSendRate { bytes_per_second: 0, grace: Duration::ZERO };
        let (connection, _aborted) = Http2Connection::new();
        let peer = ([127, 0, 0, 1], 1).into();
        let mut io = Http2Io::new(pipe, connection, peer, Duration::from_secs(10), rate);
        // One long frame.
        let mut bytes = vec![0; SENT_BYTES];
        bytes[24] = 0xff;
        client.write_all(&bytes).await.unwrap();
        let (mut turns, mut read) = (vec![0], 0);
        let mut chunk = [0; 16 << 10];
        poll_fn(|context| {
            while read < SENT_BYTES {
                let mut buffer = ReadBuf::new(&mut chunk);
                if Pin::new(&mut io).poll_read(context, &mut buffer)?.is_pending() {
                    turns.push(0);
                    return Poll::Pending;
                }
                *turns.last_mut().unwrap() += buffer.filled().len();
                read += buffer.filled().len();
            }
            Poll::Ready(io::Result::Ok(()))
        })
        .await
        .unwrap();
        assert_eq!(turns, [64 << 10, 64 << 10, 64 << 10, 8 << 10]);
    }
}
