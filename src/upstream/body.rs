//! Reads the whole body of an answer, decoded and bounded in size.

use std::future::ready;
use std::io;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http_body_util::BodyDataStream;
use reqwest::Response;
use tokio::io::AsyncReadExt as _;
use tokio::task::yield_now;
use tokio_util::io::StreamReader;

use super::content_coding::{ContentCoding, DecodedBody, decoded};
use super::setting_names::SettingNames;
use super::{UpstreamError, classify};
use crate::outcome::Outcome;

/// The most bytes that are reserved because of `Content-Length` alone. The header may be false, so
/// the rest is reserved only after this many bytes were received.
const MAX_RESERVED_BYTES: usize = 1 << 20;

/// The smallest growth of the buffer.
const MIN_GROWTH_BYTES: usize = 16 << 10;

/// How large a body may be.
pub(super) struct BodyLimit<'a> {
    /// The bytes that the caller allows, which may be fewer than `max_body`: those of the list's
    /// earlier pages count, too.
    pub(super) left: u64,
    /// The upstream's `max_body`.
    pub(super) max_body: u64,
    pub(super) names: &'a SettingNames,
}

impl BodyLimit<'_> {
    fn exceeded(&self) -> UpstreamError {
        let what = if self.left < self.max_body { "the pages are" } else { "the body is" };
        let (setting, max_body) = (self.names.setting("max_body"), self.max_body);
        let detail = format!("{what} larger than {setting} allows ({max_body} bytes)");
        UpstreamError::new(Outcome::TooLarge, detail)
    }
}

/// Reads and decodes a body, and uses little more memory than it has.
pub(super) async fn read(
    response: Response,
    limit: &BodyLimit<'_>,
) -> Result<Bytes, UpstreamError> {
    let codings = ContentCoding::from_headers(response.headers()).ok_or_else(unknown_coding)?;
    let announced = response.content_length();
    let body = BodyDataStream::new(http::Response::<reqwest::Body>::from(response).into_body());
    decode(body.map_err(io::Error::other), announced, &codings, limit.left.min(limit.max_body))
        .await
        .map_err(|error| classify_read(&error, limit))
}

/// Concatenates and decodes the chunks of a body. `announced` is its `Content-Length`. A body that
/// is too large fails with [`io::ErrorKind::FileTooLarge`].
async fn decode(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    announced: Option<u64>,
    codings: &[ContentCoding],
    max_body: u64,
) -> io::Result<Bytes> {
    let max_announced = if codings.is_empty() { max_body } else { max_encoded(max_body) };
    if announced.is_some_and(|announced| announced > max_announced) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut reader = reader(chunks, codings, max_body).take(max_body.saturating_add(1));

    let max = usize::try_from(max_body).unwrap_or(usize::MAX - 1);
    // The length of an encoded body says nothing about the decoded length.
    let expected = announced.filter(|_| codings.is_empty());
    let expected = expected.and_then(|expected| usize::try_from(expected).ok()).unwrap_or_default();
    // One byte more than expected, so that the buffer need not grow for the end to be detected.
    let mut body = Vec::with_capacity((expected + 1).min(MAX_RESERVED_BYTES));
    loop {
        if body.len() == body.capacity() {
            let more = if body.len() <= expected {
                expected + 1 - body.len()
            } else {
                body.len().max(MIN_GROWTH_BYTES).min(max + 1 - body.len())
            };
            body.reserve_exact(more);
        }
        if reader.read_buf(&mut body).await? == 0 {
            break;
        }
        if body.len() > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Decoding a large chunk never returns `Pending`, so other tasks would not run meanwhile.
        yield_now().await;
    }
    if body.capacity() - body.len() > body.len() / 8 {
        body.shrink_to_fit();
    }
    Ok(Bytes::from(body))
}

/// Encoded bytes are not kept, but take time to decode. Even a poor encoder adds less than this to
/// a body that cannot be compressed.
fn max_encoded(max_body: u64) -> u64 {
    max_body.saturating_mul(2).saturating_add(64 << 10)
}

/// Decodes the chunks of a body, at most as many as one of `max_body` bytes may need.
fn reader(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    codings: &[ContentCoding],
    max_body: u64,
) -> DecodedBody {
    let max_encoded = max_encoded(max_body);
    let mut left = max_encoded;
    let chunks = chunks.and_then(move |chunk| {
        let rest = left.checked_sub(chunk.len() as u64);
        left = rest.unwrap_or_default();
        ready(rest.map(|_| chunk).ok_or_else(|| io::ErrorKind::FileTooLarge.into()))
    });
    decoded(StreamReader::new(Box::pin(chunks)), codings, max_encoded)
}

/// How far a body was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyEnd {
    /// To its end.
    Whole,
    /// To the limit; there is more.
    Limit,
}

/// Reads and decodes the begin of a body into `begin`, at most `max_bytes`. What was read stays
/// there when it fails or is dropped.
pub(crate) async fn read_begin(
    response: Response,
    max_bytes: usize,
    begin: &mut Vec<u8>,
) -> Result<BodyEnd, UpstreamError> {
    let codings = ContentCoding::from_headers(response.headers()).ok_or_else(unknown_coding)?;
    let body = BodyDataStream::new(http::Response::<reqwest::Body>::from(response).into_body());
    let mut reader = reader(body.map_err(io::Error::other), &codings, max_bytes as u64);
    loop {
        let left = max_bytes - begin.len();
        if left == 0 {
            let mut more = [0; 1];
            let read = reader.read(&mut more).await;
            return read.map_err(|error| classify_begin(&error)).map(|read| match read {
                0 => BodyEnd::Whole,
                _ => BodyEnd::Limit,
            });
        }
        match (&mut reader).take(left as u64).read_buf(begin).await {
            Ok(0) => return Ok(BodyEnd::Whole),
            Ok(_) => yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(BodyEnd::Limit),
            Err(error) => return Err(classify_begin(&error)),
        }
    }
}

fn classify_begin(error: &io::Error) -> UpstreamError {
    let transport = classify::chain(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    match transport {
        Some(error) => classify::transport(error, "the receiver"),
        None => UpstreamError::new(Outcome::Decode, "the answer could not be decompressed"),
    }
}

fn unknown_coding() -> UpstreamError {
    let detail = "the body is compressed in a way that was not asked for";
    UpstreamError::new(Outcome::Decode, detail)
}

fn classify_read(error: &io::Error, limit: &BodyLimit<'_>) -> UpstreamError {
    let transport = classify::chain(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    if let Some(error) = transport {
        return classify::transport(error, "the upstream");
    }
    if error.kind() == io::ErrorKind::FileTooLarge {
        return limit.exceeded();
    }
    UpstreamError::new(Outcome::Decode, "the body could not be decompressed")
}

#[cfg(test)]
mod tests;
