//! The body of a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The body of a response: bytes in memory, or a stream of them.
pub struct Body {
    content: Content,
    /// The permit of the request, which counts as in flight until its body is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

enum Content {
    Full(Bytes),
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// A body with these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Full(bytes.into()), _permit: None }
    }

    /// A body of the bytes that a stream yields.
    #[must_use]
    pub fn stream(stream: BoxStream<'static, Bytes>) -> Self {
        Self { content: Content::Stream(stream), _permit: None }
    }

    /// The same body, which holds `permit` until it is dropped.
    #[must_use]
    pub fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// The length in bytes, when it is known.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        match &self.content {
            Content::Full(bytes) => Some(bytes.len()),
            Content::Stream(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream(stream) => {
                stream.poll_next_unpin(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
