//! The encoding of the order of a source's records: their versions, as one compressed blob.
//!
//! Each version is written as its difference from the one before, a varint in zigzag order; the
//! whole is one zstd frame with a checksum. Versions ascend with few exceptions, so that most
//! differences are 1 and compress to almost nothing.

use std::io::{self, BufRead, BufReader, Error, ErrorKind};

use super::Version;

/// The most versions in a sequence: 256 MiB decoded. A damaged blob cannot demand more memory.
pub(super) const MAX_VERSIONS: usize = 1 << 25;

/// Level 1 compresses runs of equal bytes as well as the higher ones do.
const ZSTD_LEVEL: i32 = 1;

/// The most bytes of a varint of 64 bits.
const MAX_VARINT_BYTES: usize = 10;

/// Encodes at most [`MAX_VERSIONS`] versions.
pub(super) fn encode(versions: &[Version]) -> io::Result<Vec<u8>> {
    if versions.len() > MAX_VERSIONS {
        return Err(Error::new(ErrorKind::InvalidInput, "a source has too many records"));
    }
    let mut differences = Vec::with_capacity(versions.len() * 2);
    let mut before = 0;
    for Version(version) in versions {
        push_varint(&mut differences, zigzag(version.wrapping_sub(before)));
        before = *version;
    }
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(&differences)
}

/// Decodes what [`encode`] returned, and refuses everything else.
pub(super) fn decode(blob: &[u8]) -> io::Result<Vec<Version>> {
    if blob.is_empty() {
        return Err(invalid());
    }
    let mut differences = BufReader::new(zstd::Decoder::with_buffer(blob)?);
    let mut versions = Vec::new();
    let mut version = 0_i64;
    while !differences.fill_buf()?.is_empty() {
        if versions.len() == MAX_VERSIONS {
            return Err(invalid());
        }
        version = version.wrapping_add(unzigzag(read_varint(&mut differences)?));
        versions.push(Version(version));
    }
    Ok(versions)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn read_varint(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut value = 0;
    for index in 0..MAX_VARINT_BYTES {
        let byte = *reader.fill_buf()?.first().ok_or_else(invalid)?;
        reader.consume(1);
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return Err(invalid());
        }
        value |= shifted;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(invalid())
}

/// Maps small differences of either sign to small numbers.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidData, "not a sequence of versions")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Runs of ascending versions, as refreshes write them, between arbitrary ones.
    fn versions() -> impl Strategy<Value = Vec<Version>> {
        let run = (any::<i64>(), 0..20_i64).prop_map(|(start, length)| {
            (0..length).map(|offset| Version(start.wrapping_add(offset))).collect::<Vec<_>>()
        });
        vec(run, 0..20).prop_map(|runs| runs.concat())
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(versions in versions()) {
            prop_assert_eq!(decode(&encode(&versions).unwrap()).unwrap(), versions);
        }

        #[test]
        fn a_cut_blob_is_refused(versions in versions(), cut in any::<prop::sample::Index>()) {
            let blob = encode(&versions).unwrap();
            prop_assert!(decode(&blob[..cut.index(blob.len())]).is_err());
        }

        #[test]
        fn a_damaged_blob_is_refused(
            versions in versions(),
            at in any::<prop::sample::Index>(),
            mask in 1..=255_u8,
        ) {
            let mut blob = encode(&versions).unwrap();
            *at.get_mut(&mut blob) ^= mask;
            // Some bits of a frame's header mean nothing for its content.
            prop_assert!(decode(&blob).map_or(true, |decoded| decoded == versions));
        }

        #[test]
        fn arbitrary_bytes_are_refused(blob in vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&blob).is_err());
        }

        #[test]
        fn arbitrary_differences_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            let frame = zstd::encode_all(bytes.as_slice(), ZSTD_LEVEL).unwrap();
            let ends_whole = bytes.last().is_none_or(|byte| *byte < 0x80);
            prop_assert!(ends_whole || decode(&frame).is_err());
        }
    }

    #[test]
    fn ascending_versions_compress_to_almost_nothing() {
        let versions: Vec<_> = (1_000_000..1_700_000).map(Version).collect();
        let blob = encode(&versions).unwrap();
        assert!(blob.len() < 1_000, "{} bytes", blob.len());
        assert_eq!(decode(&blob).unwrap(), versions);
    }

    #[test]
    fn a_blob_cannot_demand_unbounded_memory() {
        let differences = vec![2; MAX_VERSIONS + 1];
        let frame = zstd::encode_all(differences.as_slice(), ZSTD_LEVEL).unwrap();
        assert!(frame.len() < 10_000);
        assert_eq!(decode(&frame).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
