//! Reads configuration files and secret files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::ConfigErrorKind;

/// The largest configuration file, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The largest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The largest file with certificates, in bytes. A system's whole bundle is smaller.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// Reads a file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigErrorKind> {
    let shown = || path.display().to_string();
    let unreadable = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            kind => kind.to_string(),
        };
        ConfigErrorKind::Unreadable { path: shown(), reason }
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(ConfigErrorKind::TooLarge { path: shown(), limit });
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes, without the byte order mark that some editors write.
fn read_text(path: &Path, limit: u64) -> Result<String, ConfigErrorKind> {
    let shown = || path.display().to_string();
    let bytes = read(path, limit)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ConfigErrorKind::FileUtf16 { path: shown() });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text =
        std::str::from_utf8(bytes).map_err(|_| ConfigErrorKind::FileNotUtf8 { path: shown() })?;
    Ok(text.to_owned())
}

/// Reads a configuration file.
pub(super) fn text(path: &Path) -> Result<String, ConfigErrorKind> {
    read_text(path, MAX_CONFIG_BYTES)
}

/// Reads a secret from a file, without the line ends that editors append.
pub(super) fn secret(path: &Path) -> Result<String, ConfigErrorKind> {
    let text = read_text(path, MAX_SECRET_BYTES)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(ConfigErrorKind::EmptySecretFile { path: path.display().to_string() }),
        secret => Ok(secret.to_owned()),
    }
}

/// Reads a file of certificates or keys.
pub(super) fn pem(path: &Path) -> Result<Vec<u8>, ConfigErrorKind> {
    read(path, MAX_PEM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `bytes`, read as a configuration and as a secret.
    fn both(bytes: &[u8]) -> [Result<String, ConfigErrorKind>; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        [text(&path), secret(&path)]
    }

    #[test]
    fn a_byte_order_mark_of_utf_8_is_skipped_once() {
        for read in both(b"\xef\xbb\xbfhunter2") {
            assert_eq!(read.unwrap(), "hunter2");
        }
        for read in both(b"\xef\xbb\xbf\xef\xbb\xbfx") {
            assert_eq!(read.unwrap(), "\u{feff}x");
        }
        let [text, secret] = both(b"\xef\xbb\xbf\r\n");
        assert_eq!(text.unwrap(), "\r\n");
        assert!(matches!(secret, Err(ConfigErrorKind::EmptySecretFile { .. })));
    }

    #[test]
    fn utf_16_is_refused_by_name() {
        for bytes in [&b"\xff\xfeh\0i\0"[..], b"\xfe\xff\0h\0i", b"\xff\xfe"] {
            for read in both(bytes) {
                assert!(matches!(read, Err(ConfigErrorKind::FileUtf16 { .. })), "{read:?}");
            }
        }
    }

    #[test]
    fn only_the_line_ends_after_a_secret_are_cut_off() {
        let [_, secret] = both(b" hunter\r\n2 \r\n\n");
        assert_eq!(secret.unwrap(), " hunter\r\n2 ");
    }
}
