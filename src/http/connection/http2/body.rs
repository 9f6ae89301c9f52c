//! Hands a response's body to hyper in chunks that tell when they were sent.
//!
//! hyper and h2 take a whole chunk as soon as the client's window has room for one byte, and hyper
//! forgets the stream once it has handed over the last one. So chunks are small, and the end of a
//! body of several is held back until all of them were sent: as long as hyper has the stream, it
//! can be reset alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::stream::Sending;
use crate::http::body::Body;

/// The largest chunk. h2 sends it in frames of 16 KiB, unless the client allows more.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// The body of a response on an HTTP/2 stream.
pub(in crate::http) struct StreamBody {
    body: Body,
    /// What is left of the bytes that `body` yielded last.
    rest: Bytes,
    is_end_held_back: bool,
    sending: Arc<Sending>,
}

impl StreamBody {
    pub(super) fn new(body: Body, sending: Arc<Sending>) -> Self {
        let is_end_held_back = body.length().is_none_or(|length| length > MAX_CHUNK_BYTES);
        Self { body, rest: Bytes::new(), is_end_held_back, sending }
    }
}

impl HttpBody for StreamBody {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                None => {
                    if self.is_end_held_back {
                        ready!(self.sending.poll_all_sent(context));
                    }
                    return Poll::Ready(None);
                }
            }
        }
        let length = self.rest.len().min(MAX_CHUNK_BYTES);
        let bytes = self.rest.split_to(length);
        self.sending.hand_over(length);
        Poll::Ready(Some(Ok(Frame::data(Chunk { bytes, sending: Arc::clone(&self.sending) }))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream() && !self.is_end_held_back
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of a body that hyper and h2 send, or drop with the stream.
pub(in crate::http) struct Chunk {
    bytes: Bytes,
    sending: Arc<Sending>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.sending.sent(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.bytes.has_remaining() {
            self.sending.dropped(self.bytes.remaining());
        }
    }
}
