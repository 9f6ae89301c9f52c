//! Answers: as a transport gives them, and as the caller has to verify them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use reqwest::Url;

use super::UpstreamError;
use super::breaker::BreakerPermit;
use super::call::CallRecord;

/// The header fields that callers use.
const KEPT_HEADERS: [HeaderName; 3] = [header::LINK, header::ETAG, header::LAST_MODIFIED];

/// The longest validator (`ETag`, `Last-Modified`) that is kept. It is sent back in a request,
/// whose fields servers accept up to some kilobytes.
const MAX_VALIDATOR_BYTES: usize = 1024;

/// A whole answer with a good status: 200, or 304 to a conditional request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// 200 or 304.
    pub status: StatusCode,
    /// Where it came from, after redirects.
    pub url: Url,
    /// `Link`, `ETag` and `Last-Modified`, where the answer has them.
    pub headers: HeaderMap,
    /// The body, decompressed; empty for 304.
    pub body: Bytes,
}

impl Answer {
    /// A 200 without header fields.
    #[must_use]
    pub fn ok(url: Url, body: Bytes) -> Self {
        Self { status: StatusCode::OK, url, headers: HeaderMap::new(), body }
    }

    /// The header fields that callers use, out of all of an answer's. A `Link` is never dropped,
    /// since without it a list would seem to end; the transport bounds its size.
    pub(super) fn kept_headers(all: &HeaderMap) -> HeaderMap {
        let mut kept = HeaderMap::new();
        for name in KEPT_HEADERS {
            let max = if name == header::LINK { usize::MAX } else { MAX_VALIDATOR_BYTES };
            for value in all.get_all(&name).iter().filter(|value| value.len() <= max) {
                kept.append(&name, value.clone());
            }
        }
        kept
    }
}

/// A whole answer whose content the caller has to verify.
///
/// Until it is accepted or rejected, the call counts neither for the breaker nor in the metrics. If
/// it is dropped, the call counts as `ok` in the metrics, and not for the breaker.
#[derive(Debug)]
#[must_use = "accept or reject it, so that the breaker and the metrics learn how the call ended"]
pub struct UnverifiedAnswer {
    pub(super) answer: Answer,
    pub(super) record: CallRecord,
    pub(super) permit: BreakerPermit,
}

impl UnverifiedAnswer {
    /// The body, decompressed.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.answer.body
    }

    /// Where the answer came from, after redirects.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.answer.url
    }

    /// The answer's `Link`, `ETag` and `Last-Modified`; no other header fields are kept.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.answer.headers
    }

    /// Whether the answer is a 304: what was asked for has not changed, and there is no body.
    #[must_use]
    pub fn is_not_modified(&self) -> bool {
        self.answer.status == StatusCode::NOT_MODIFIED
    }

    /// How long the last attempt took, body included. Excludes earlier attempts and the wait for a
    /// permit.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.record.duration()
    }

    /// How many attempts were made; at least 1.
    #[must_use]
    pub const fn attempts(&self) -> usize {
        self.record.attempts()
    }

    /// Records the call as successful, and returns the body.
    pub fn accept(self) -> Bytes {
        self.permit.succeed();
        self.record.succeed();
        self.answer.body
    }

    /// Records the call as failed with `error`, and returns it with the answer's status. Its detail
    /// must quote nothing from the body.
    pub fn reject(self, error: UpstreamError) -> UpstreamError {
        self.permit.fail();
        self.record.fail(error.with_status(self.answer.status))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn keeps_links_of_any_length_and_validators_that_can_be_sent_back() {
        let mut all = HeaderMap::new();
        let mut add = |name: HeaderName, value: &str| {
            all.append(name, HeaderValue::from_str(value).unwrap());
        };
        add(header::LINK, "</a>; rel=\"self\"");
        add(header::LINK, &format!("</{}>; rel=\"next\"", "x".repeat(100_000)));
        add(header::ETAG, &format!("\"{}\"", "x".repeat(1023)));
        add(header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT");
        add(header::SET_COOKIE, "session=1");
        let kept = Answer::kept_headers(&all);
        assert_eq!(kept.get_all(header::LINK).iter().count(), 2);
        assert_eq!(kept.get(header::ETAG), None);
        assert_eq!(kept.len(), 3, "{kept:?}");
    }
}
