//! The files that a configuration is read from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::Problem;

/// The largest configuration file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// The largest file with a secret, in bytes.
const LARGEST_SECRET: u64 = 64 << 10;

/// A file's bytes, at most `limit` of them.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let shown = || path.display().to_string();
    let unreadable = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            kind => kind.to_string(),
        };
        Problem::Unreadable { path: shown(), reason }
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Problem::TooLarge { path: shown(), limit });
    }
    Ok(bytes)
}

/// The text of a configuration file.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    let bytes = read(path, LARGEST_FILE)?;
    String::from_utf8(bytes).map_err(|_| Problem::FileNotUtf8 { path: path.display().to_string() })
}

/// A secret out of a file, without the line breaks that editors put at its end.
pub(super) fn secret(path: &Path) -> Result<String, Problem> {
    let shown = || path.display().to_string();
    let bytes = read(path, LARGEST_SECRET)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::FileNotUtf8 { path: shown() })?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Problem::EmptySecretFile { path: shown() }),
        text => Ok(text.to_owned()),
    }
}
