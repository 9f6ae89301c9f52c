//! Reads an answer's body whole, within a bound.

use bytes::Bytes;
use reqwest::Response;

use super::{UpstreamError, classify};
use crate::outcome::Outcome;

/// What is reserved at once on the word of `Content-Length`; the rest once that much has come,
/// since the word may be false.
const RESERVED: usize = 1 << 20;

/// The body's bytes, decompressed; at most `most` of them, and little more memory than that.
pub(super) async fn read(mut response: Response, most: u64) -> Result<Bytes, UpstreamError> {
    let too_large = || {
        let detail = format!("the body is larger than upstream.max_body allows ({most} bytes)");
        UpstreamError::new(Outcome::TooLarge, detail)
    };
    // Of a compressed body this is `None`: its header counts compressed bytes.
    let announced = response.content_length();
    if announced.is_some_and(|announced| announced > most) {
        return Err(too_large());
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let announced = announced.and_then(|announced| usize::try_from(announced).ok());

    let mut body = Vec::with_capacity(announced.unwrap_or_default().min(RESERVED));
    while let Some(chunk) = response.chunk().await.map_err(|error| classify::transport(&error))? {
        if chunk.len() > most - body.len() {
            return Err(too_large());
        }
        let spare = body.capacity() - body.len();
        if chunk.len() > spare {
            let doubled = body.len().max(chunk.len()).min(most - body.len());
            let rest = announced
                .and_then(|total| total.checked_sub(body.len()))
                .filter(|rest| *rest >= chunk.len());
            body.reserve_exact(rest.unwrap_or(doubled));
        }
        body.extend_from_slice(&chunk);
    }
    if body.capacity() - body.len() > body.len() / 8 {
        body.shrink_to_fit();
    }
    Ok(Bytes::from(body))
}
