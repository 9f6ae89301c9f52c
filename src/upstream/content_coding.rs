//! Content codings (RFC 9110, section 8.4) of upstream bodies: which are accepted, and their
//! decoding.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use http::{HeaderMap, header};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

/// The value of `Accept-Encoding`.
pub(super) const ACCEPTED: &str = "gzip, zstd, br";

/// The most codings of one body. Each may multiply the bytes that the next has to decode.
const MAX_CODINGS: usize = 2;

/// The largest window, as a power of two, that RFC 9659 lets a server use for `zstd`: 8 MB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A supported content coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContentCoding {
    Gzip,
    Zstd,
    Brotli,
}

impl ContentCoding {
    /// The codings of a body in the order in which they were applied; empty for a plain body.
    /// `None` if one is not supported, or if there are too many.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Vec<Self>> {
        let mut codings = Vec::new();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.to_str().ok()?.split(',') {
                let name = name.trim_matches([' ', '\t']).to_ascii_lowercase();
                match name.as_str() {
                    "" | "identity" => {}
                    "gzip" | "x-gzip" => codings.push(Self::Gzip),
                    "zstd" => codings.push(Self::Zstd),
                    "br" => codings.push(Self::Brotli),
                    _ => return None,
                }
            }
        }
        (codings.len() <= MAX_CODINGS).then_some(codings)
    }
}

/// A body that yields decoded bytes.
pub(super) type DecodedBody = Pin<Box<dyn AsyncRead + Send>>;

/// A body that a decoder reads from.
type EncodedBody = Pin<Box<dyn AsyncBufRead + Send>>;

/// Decodes `codings`, the last applied first. Fails if more than `max_bytes` pass between two
/// codings.
pub(super) fn decoded(
    body: impl AsyncBufRead + Send + 'static,
    codings: &[ContentCoding],
    max_bytes: u64,
) -> DecodedBody {
    let mut encoded: EncodedBody = Box::pin(body);
    let Some((first_applied, others)) = codings.split_first() else { return encoded };
    for coding in others.iter().rev() {
        let limited = Limited { inner: decoder(encoded, *coding), left: max_bytes };
        encoded = Box::pin(BufReader::new(limited));
    }
    decoder(encoded, *first_applied)
}

/// Decodes all members or frames of one coding. A truncated one is an error.
fn decoder(body: EncodedBody, coding: ContentCoding) -> DecodedBody {
    match coding {
        ContentCoding::Gzip => {
            let mut decoder = GzipDecoder::new(body);
            decoder.multiple_members(true);
            Box::pin(Exhaustive { decoder, is_decoded: false })
        }
        ContentCoding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(body, &[window]);
            decoder.multiple_members(true);
            Box::pin(Exhaustive { decoder, is_decoded: false })
        }
        // A Brotli stream has no members.
        ContentCoding::Brotli => {
            Box::pin(Exhaustive { decoder: BrotliDecoder::new(body), is_decoded: false })
        }
    }
}

/// A decoder over an encoded body.
trait Decoder: AsyncRead + Unpin {
    fn encoded(&mut self) -> &mut EncodedBody;
}

impl Decoder for GzipDecoder<EncodedBody> {
    fn encoded(&mut self) -> &mut EncodedBody {
        self.get_mut()
    }
}

impl Decoder for ZstdDecoder<EncodedBody> {
    fn encoded(&mut self) -> &mut EncodedBody {
        self.get_mut()
    }
}

impl Decoder for BrotliDecoder<EncodedBody> {
    fn encoded(&mut self) -> &mut EncodedBody {
        self.get_mut()
    }
}

/// A decoder that fails if bytes follow the end of the coding's data.
struct Exhaustive<D> {
    decoder: D,
    is_decoded: bool,
}

impl<D: Decoder> AsyncRead for Exhaustive<D> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_decoded {
            let filled = buffer.filled().len();
            ready!(Pin::new(&mut self.decoder).poll_read(context, buffer))?;
            if buffer.filled().len() > filled || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            self.is_decoded = true;
        }
        let rest = ready!(self.decoder.encoded().as_mut().poll_fill_buf(context))?;
        Poll::Ready(if rest.is_empty() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow the end of the coding"))
        })
    }
}

/// A reader that fails once more than `left` bytes were read.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: AsyncRead + Unpin> AsyncRead for Limited<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - filled) as u64;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into())),
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::ContentCoding::{self, Brotli, Gzip, Zstd};
    use super::*;

    fn codings(values: &[&'static str]) -> Option<Vec<ContentCoding>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        ContentCoding::from_headers(&headers)
    }

    #[test]
    fn names_compare_without_case_and_lists_are_one() {
        assert_eq!(codings(&[]), Some(vec![]));
        for identity in ["", " ", "identity", "Identity", "identity, identity", ",,"] {
            assert_eq!(codings(&[identity]), Some(vec![]), "{identity:?}");
        }
        for gzip in
            ["gzip", "GZIP", "x-gzip", "X-GZip", "gzip, identity", "identity,gzip", " gzip\t"]
        {
            assert_eq!(codings(&[gzip]), Some(vec![Gzip]), "{gzip:?}");
        }
        assert_eq!(codings(&["Zstd"]), Some(vec![Zstd]));
        assert_eq!(codings(&["BR"]), Some(vec![Brotli]));
        assert_eq!(codings(&["gzip, br"]), Some(vec![Gzip, Brotli]));
        assert_eq!(codings(&["gzip", "br"]), Some(vec![Gzip, Brotli]));
    }

    #[test]
    fn unsupported_and_stacked_codings_are_refused() {
        for refused in
            ["compress", "deflate", "gzip, compress", "gzip;q=1", "gzip gzip", "gzip,gzip,gzip"]
        {
            assert_eq!(codings(&[refused]), None, "{refused:?}");
        }
    }

    #[test]
    fn every_accepted_coding_is_supported() {
        assert_eq!(codings(&["gzip, zstd"]).unwrap().len(), 2);
        for name in ACCEPTED.split(", ") {
            assert!(codings(&[name]).is_some(), "{name}");
        }
    }
}
