//! The bodies that the demo upstream sends, valid and faulty.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use libdeflater::{CompressionLvl, Compressor};

use super::fault::Fault;

/// The type of all response bodies of the demo upstream.
pub(super) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

/// All of the bytes at once.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The first half of the bytes, then nothing, without an end.
pub(super) fn stalled(bytes: &Bytes) -> Body {
    streamed(stream::iter([Ok(first_half(bytes))]).chain(stream::pending()))
}

/// The first half of the bytes, then an error, which makes the server close the connection.
pub(super) fn cut_off(bytes: &Bytes) -> Body {
    let broken = async {
        // Lets the server flush the first half: an error discards what is not flushed.
        tokio::task::yield_now().await;
        Err(io::Error::other("cut off on purpose"))
    };
    streamed(stream::iter([Ok(first_half(bytes))]).chain(stream::once(broken)))
}

/// The bytes at this rate, in ten chunks per second; below ten bytes per second one by one.
pub(super) fn dripping(bytes: Bytes, per_second: NonZeroU32) -> Body {
    let (chunk, pause) = match per_second.get() {
        few @ ..10 => (1, Duration::from_secs(1) / few),
        many => (many as usize / 10, Duration::from_millis(100)),
    };
    streamed(stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let next = rest.split_to(chunk.min(rest.len()));
        Some((Ok(next), rest))
    }))
}

/// An opening brace, then spaces without end.
pub(super) fn endless() -> Body {
    let spaces = Bytes::from(vec![b' '; 64 << 10]);
    streamed(
        stream::iter([Ok(Bytes::from_static(b"{"))])
            .chain(stream::repeat_with(move || Ok(spaces.clone()))),
    )
}

/// [`Fault::BOMB_BYTES`] spaces as a single gzip member, since many clients read only the first
/// member.
pub(super) fn bomb() -> Bytes {
    gzip(&vec![b' '; Fault::BOMB_BYTES])
}

/// The bytes as one gzip member.
pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    // `fastest()` is level 0, which does not compress.
    let mut compressor = Compressor::new(CompressionLvl::new(1).expect("level 1 exists"));
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("the bound suffices");
    out.truncate(length);
    out.shrink_to_fit();
    out.into()
}

fn first_half(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

fn streamed(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(stream.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}
