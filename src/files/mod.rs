//! Sources in files: finds the files of a path or glob, reads and decompresses them, and reads the
//! rows of CSV.

pub mod csv;
mod find;
mod format;
mod read;

use std::fmt;

pub use find::{FileStamp, check_pattern, find};
pub use format::{Compression, FileFormat};
pub use read::{is_unchanged, read};

/// Why files cannot be used. It names the file, and quotes nothing that is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileError {
    /// A sentence for people.
    pub detail: String,
    /// Whether the files are larger than allowed.
    pub is_too_large: bool,
}

impl FileError {
    /// Files that are missing, wrong or cut off.
    #[must_use]
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), is_too_large: false }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for FileError {}
