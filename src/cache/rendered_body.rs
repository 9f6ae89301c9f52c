//! Rendered bodies, ready to be sent.

use bytes::Bytes;
use http::HeaderValue;

use super::account::Charge;

/// The bytes of a response's body, with their entity tag and their charge to the memory account.
#[derive(Debug)]
pub struct RenderedBody {
    // Private, so that nobody can keep the bytes without the charge: that memory would not be
    // counted.
    bytes: Bytes,
    etag: HeaderValue,
    charge: Charge,
}

impl RenderedBody {
    pub(super) fn new(bytes: Bytes, charge: Charge) -> Self {
        let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&bytes));
        let etag = HeaderValue::try_from(etag).expect("hexadecimal digits make a header value");
        Self { bytes, etag, charge }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A strong entity tag over the bytes (RFC 9110, section 8.8.3).
    #[must_use]
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    pub(super) fn charge(&self) -> &Charge {
        &self.charge
    }

    pub(super) fn shared_bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}
