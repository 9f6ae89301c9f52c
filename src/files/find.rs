//! Finds the files of a path or glob.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::{FileError, FileFormat};

/// The most files of one source.
const MAX_FILES: usize = 10_000;

/// Folders that begin with a dot are skipped: Kubernetes keeps the former content of volumes there.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file and what changes with its content. Volumes of Kubernetes replace files whose time and
/// size may stay, so that the inode counts as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileStamp {
    /// Its path.
    pub path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
}

impl FileStamp {
    pub(super) fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The characters that make a pattern a glob.
const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];

/// Checks that a pattern is well formed and that its files can have a known format.
///
/// # Errors
///
/// When it is a glob that cannot be parsed, or when its files have another extension.
pub fn check_pattern(pattern: &str) -> Result<(), FileError> {
    if pattern.contains(GLOB_CHARACTERS)
        && let Err(error) = glob::Pattern::new(pattern)
    {
        return Err(FileError::new(format!("{pattern:?} is no glob: {}", error.msg)));
    }
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let extension = name.rsplit('.').next().unwrap_or(name);
    // The extension of what a glob such as `/data/*` matches is known when it is read.
    if FileFormat::of(Path::new(pattern)).is_none() && !extension.contains(GLOB_CHARACTERS) {
        return Err(FileError::new(format!(
            "{pattern:?} has no known format; its name must end in .json, .ndjson, .jsonl or .csv, \
             each also with .gz or .zst"
        )));
    }
    Ok(())
}

/// The files of a path or glob, in the order of their names. A path must exist; a glob may match
/// nothing.
///
/// # Errors
///
/// When a file cannot be examined, a folder cannot be read, or there are too many files.
pub fn find(pattern: &str) -> Result<Vec<FileStamp>, FileError> {
    if !pattern.contains(GLOB_CHARACTERS) {
        let path = Path::new(pattern);
        return match stamp(path) {
            Ok(Some(file)) => Ok(vec![file]),
            Ok(None) => Err(FileError::new(format!("{pattern} is no regular file"))),
            Err(error) => Err(unreadable(path, &error)),
        };
    }
    let paths = glob::glob_with(pattern, OPTIONS)
        .map_err(|error| FileError::new(format!("{pattern:?} is no glob: {}", error.msg)))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| unreadable(error.path(), error.error()))?;
        match stamp(&path) {
            Ok(Some(_)) if files.len() == MAX_FILES => {
                let detail = format!("{pattern} matches more than {MAX_FILES} files");
                return Err(FileError::new(detail));
            }
            Ok(file) => files.extend(file),
            // It was removed meanwhile, unless it is a link that leads nowhere.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {}
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// The stamp of a regular file; `None` for anything else, such as a folder.
fn stamp(path: &Path) -> io::Result<Option<FileStamp>> {
    let metadata = path.metadata()?;
    Ok(metadata.is_file().then(|| FileStamp::new(path, &metadata)))
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> FileError {
    FileError::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(pattern: &str) -> Result<Vec<String>, FileError> {
        let name = |file: FileStamp| file.path.file_name().unwrap().to_str().unwrap().to_owned();
        find(pattern).map(|files| files.into_iter().map(name).collect())
    }

    #[test]
    fn a_glob_finds_regular_files_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        for name in ["b.csv", "a.csv", "c.json", ".hidden.csv"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("d.csv")).unwrap();
        fs::create_dir(folder.path().join("..2026_03_02")).unwrap();
        fs::write(folder.path().join("..2026_03_02/a.csv"), "x").unwrap();
        symlink(folder.path().join("c.json"), folder.path().join("e.csv")).unwrap();
        assert_eq!(names(&format!("{root}/*.csv")).unwrap(), ["a.csv", "b.csv", "e.csv"]);
        assert_eq!(names(&format!("{root}/**/*.csv")).unwrap(), ["a.csv", "b.csv", "e.csv"]);
        assert_eq!(names(&format!("{root}/[b]?csv")).unwrap(), ["b.csv"]);
        assert!(names(&format!("{root}/nothing/*.csv")).unwrap().is_empty());
        symlink(folder.path().join("nowhere"), folder.path().join("f.csv")).unwrap();
        let error = names(&format!("{root}/*.csv")).unwrap_err();
        assert!(error.detail.contains("f.csv: No such file"), "{error}");
        assert!(names(&format!("{root}/[.csv")).unwrap_err().detail.contains("no glob"));
    }

    #[test]
    fn a_path_must_be_a_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        assert!(find(&format!("{root}/a.csv")).unwrap_err().detail.contains("a.csv: No such file"));
        assert!(find(root).unwrap_err().detail.contains("no regular file"));
        fs::write(folder.path().join("a.csv"), "x").unwrap();
        assert_eq!(names(&format!("{root}/a.csv")).unwrap(), ["a.csv"]);
    }

    #[test]
    fn a_stamp_changes_with_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let find = || find(path.to_str().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        let first = find();
        assert_eq!(find(), first);
        fs::write(&path, "xy").unwrap();
        assert_ne!(find(), first);
        // The same time and size, as in a volume that is replaced.
        let modified = path.metadata().unwrap().modified().unwrap();
        let second = find();
        let other = folder.path().join("other");
        fs::write(&other, "yx").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(find(), second);
    }
}
