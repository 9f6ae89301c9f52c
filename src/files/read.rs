//! Reads and decompresses files.

use std::fs::File;
use std::io::{self, Read as _};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::Handle;

use super::find::unreadable;
use super::{Compression, FileError, FileStamp};

/// The largest window, as a power of two, that the `zstd` command decompresses by default: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Reads a whole file, of at most `max_bytes` bytes when it is decompressed. It must be called on a
/// blocking thread of a tokio runtime.
///
/// # Errors
///
/// When the file cannot be read, is another than when it was found, is larger than allowed, or is
/// cut off or wrong inside its compression.
pub fn read(
    file: &FileStamp,
    compression: Compression,
    max_bytes: u64,
) -> Result<Bytes, FileError> {
    // Compressed bytes are not kept. Even a poor encoder adds less than this to a file that cannot
    // be compressed.
    let max_size = match compression {
        Compression::None => max_bytes,
        Compression::Gzip | Compression::Zstd => {
            max_bytes.saturating_mul(2).saturating_add(64 << 10)
        }
    };
    if file.size > max_size {
        return Err(too_large());
    }
    let failed = |error: &io::Error| unreadable(&file.path, error);
    let mut opened = File::open(&file.path).map_err(|error| failed(&error))?;
    let mut content = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    // One byte more than was found shows that the file grows.
    opened
        .by_ref()
        .take(file.size + 1)
        .read_to_end(&mut content)
        .map_err(|error| failed(&error))?;
    let metadata = opened.metadata().map_err(|error| failed(&error))?;
    if FileStamp::new(&file.path, &metadata) != *file || content.len() as u64 != file.size {
        let detail = format!("{} changed while it was read", file.path.display());
        return Err(FileError::new(detail));
    }
    let decompressed = match compression {
        Compression::None => content,
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(&*content);
            decoder.multiple_members(true);
            decompress(decoder, max_bytes, file)?
        }
        Compression::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(&*content, &[window]);
            decoder.multiple_members(true);
            decompress(decoder, max_bytes, file)?
        }
    };
    Ok(Bytes::from(decompressed))
}

/// Whether the file is still the one that was found.
#[must_use]
pub fn is_unchanged(file: &FileStamp) -> bool {
    file.path.metadata().is_ok_and(|metadata| FileStamp::new(&file.path, &metadata) == *file)
}

fn decompress(
    decoder: impl AsyncRead + Unpin,
    max_bytes: u64,
    file: &FileStamp,
) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let mut decoder = decoder.take(max_bytes.saturating_add(1));
    // The compressed bytes are in memory, so that this never waits.
    Handle::current().block_on(decoder.read_to_end(&mut content)).map_err(|_| {
        let path = file.path.display();
        FileError::new(format!("{path} is cut off or wrong inside its compression"))
    })?;
    if content.len() as u64 > max_bytes { Err(too_large()) } else { Ok(content) }
}

fn too_large() -> FileError {
    FileError {
        detail: "the files are larger than upstream.max_body allows when they are decompressed; \
                 raise it, or keep fewer records in them"
            .to_owned(),
        is_too_large: true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tokio::task::spawn_blocking;

    use super::*;
    use crate::files::find;

    async fn read_back(
        path: &Path,
        compression: Compression,
        max: u64,
    ) -> Result<Bytes, FileError> {
        let file = find(path.to_str().unwrap()).unwrap().remove(0);
        spawn_blocking(move || read(&file, compression, max)).await.unwrap()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(text.as_bytes(), &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn zstd(text: &str) -> Vec<u8> {
        ::zstd::bulk::compress(text.as_bytes(), 3).unwrap()
    }

    type Encode = fn(&str) -> Vec<u8>;

    #[tokio::test]
    async fn all_members_of_a_compressed_file_are_read_and_every_cut_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let texts = ["first member, ".repeat(50), "second member".repeat(50)];
        let whole = texts.concat();
        for (compression, encode) in
            [(Compression::Gzip, gzip as Encode), (Compression::Zstd, zstd as Encode)]
        {
            let first = encode(&texts[0]);
            let members = [first.clone(), encode(&texts[1])].concat();
            fs::write(&path, &members).unwrap();
            let max = whole.len() as u64;
            assert_eq!(read_back(&path, compression, max).await.unwrap(), whole);
            assert!(read_back(&path, compression, max - 1).await.unwrap_err().is_too_large);
            for cut in (1..members.len()).filter(|cut| *cut != first.len()) {
                fs::write(&path, &members[..cut]).unwrap();
                let error = read_back(&path, compression, max).await.unwrap_err();
                assert!(error.detail.contains("cut off"), "{compression:?} {cut}: {error}");
            }
            for rest in ["garbage", "\0\0\0\0"] {
                fs::write(&path, [&members, rest.as_bytes()].concat()).unwrap();
                let error = read_back(&path, compression, max).await.unwrap_err();
                assert!(error.detail.contains("cut off"), "{compression:?} {rest:?}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn a_plain_file_is_read_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_back(&path, Compression::None, 5).await.unwrap(), "12345");
        assert!(read_back(&path, Compression::None, 4).await.unwrap_err().is_too_large);
        fs::write(&path, "").unwrap();
        assert_eq!(read_back(&path, Compression::None, 4).await.unwrap(), "");
        for compression in [Compression::Gzip, Compression::Zstd] {
            let result = read_back(&path, compression, 4).await;
            assert!(result.is_err(), "{compression:?}: no member at all: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_since_it_was_found_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        let file = find(path.to_str().unwrap()).unwrap().remove(0);
        assert!(is_unchanged(&file));
        fs::write(&path, "123456").unwrap();
        assert!(!is_unchanged(&file));
        let result = spawn_blocking(move || read(&file, Compression::None, 9)).await.unwrap();
        assert!(result.unwrap_err().detail.contains("changed while it was read"));
    }
}
