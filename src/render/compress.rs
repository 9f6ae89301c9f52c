//! Content codings of whole documents (RFC 9110, section 8.4.1; RFC 8878 for zstd).

use bytes::Bytes;

/// A content coding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Coding {
    /// `identity`: the bytes themselves.
    Identity,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// The value of `Content-Encoding`; `None` for identity, which is not named.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Encodes the bytes at the fastest level. On these documents higher levels take several times as
/// long to save a few per cent with gzip, and nothing with zstd (see docs/PERFORMANCE.md).
#[must_use]
pub fn compress(bytes: Bytes, coding: Coding) -> Bytes {
    match coding {
        Coding::Identity => bytes,
        Coding::Gzip => gzip(&bytes),
        Coding::Zstd => {
            // The window stays below the 8 MiB that RFC 9659 allows: level 1 uses 512 KiB.
            Bytes::from(
                zstd::bulk::compress(&bytes, 1)
                    .expect("the output buffer has the maximum compressed size"),
            )
        }
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let level = libdeflater::CompressionLvl::new(1).expect("level 1 exists");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor
        .gzip_compress(bytes, &mut out)
        .expect("the output buffer has the maximum compressed size");
    out.truncate(length);
    out.shrink_to_fit();
    Bytes::from(out)
}
