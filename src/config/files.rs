//! Reads configuration files and the files that they name.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl};

use super::error::ConfigErrorKind;

/// The largest configuration file, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The largest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The largest file with certificates, in bytes. A system's whole bundle is smaller.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// The largest file of users or tokens, in bytes.
const MAX_CREDENTIALS_BYTES: u64 = 4 << 20;

/// What may be read beside regular files, which can be read again on a reload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Accepts {
    Regular,
    /// Also pipes, such as those of a shell's `<(command)`, and devices.
    Any,
}

/// Reads a file of at most `limit` bytes, without the byte order mark that some editors write.
fn read(path: &Path, limit: u64, accepts: Accepts) -> Result<Vec<u8>, ConfigErrorKind> {
    let shown = || path.display().to_string();
    let because = |reason: String| ConfigErrorKind::Unreadable { path: shown(), reason };
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => because("there is no such file".to_owned()),
        kind => because(kind.to_string()),
    };
    // Otherwise opening a pipe that nobody writes to would wait for ever.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?.file_type();
    if accepts == Accepts::Regular && !kind.is_file() && !kind.is_dir() {
        return Err(because("it is a pipe or a device, not a regular file".to_owned()));
    }
    if kind.is_fifo() {
        fcntl_setfl(&file, OFlags::empty()).map_err(|error| unreadable(error.into()))?;
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if kind.is_fifo() && bytes.is_empty() {
        return Err(because("the pipe is empty; a pipe can be read once only".to_owned()));
    }
    if bytes.len() as u64 > limit {
        return Err(ConfigErrorKind::TooLarge { path: shown(), limit });
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ConfigErrorKind::FileUtf16 { path: shown() });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// Reads a text file.
fn read_text(path: &Path, limit: u64, accepts: Accepts) -> Result<String, ConfigErrorKind> {
    let not_utf8 = |_| ConfigErrorKind::FileNotUtf8 { path: path.display().to_string() };
    String::from_utf8(read(path, limit, accepts)?).map_err(not_utf8)
}

/// Reads a configuration file.
pub(super) fn text(path: &Path) -> Result<String, ConfigErrorKind> {
    read_text(path, MAX_CONFIG_BYTES, Accepts::Any)
}

/// Reads a secret from a file, without the line ends that editors append.
pub(super) fn secret(path: &Path) -> Result<String, ConfigErrorKind> {
    let text = read_text(path, MAX_SECRET_BYTES, Accepts::Any)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(ConfigErrorKind::EmptySecretFile { path: path.display().to_string() }),
        secret => Ok(secret.to_owned()),
    }
}

/// Reads a file of certificates or keys.
pub(super) fn pem(path: &Path) -> Result<Vec<u8>, ConfigErrorKind> {
    read(path, MAX_PEM_BYTES, Accepts::Regular)
}

/// Reads a file of users or tokens.
pub(super) fn credentials(path: &Path) -> Result<String, ConfigErrorKind> {
    read_text(path, MAX_CREDENTIALS_BYTES, Accepts::Regular)
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
