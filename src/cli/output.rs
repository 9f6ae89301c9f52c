//! A file that is written whole or not at all: beside its place first, then into it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Whether the file can be written, as far as that shows before there is anything to write.
///
/// # Errors
///
/// One line that names the path and the mend.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let beside = match Place::of(path) {
        Place::AsItIs => return Ok(()),
        Place::Beside(beside) => beside,
        Place::Folder => {
            return Err(format!("{} names a folder; name a file in it", path.display()));
        }
    };
    let checked = File::create(&beside).and_then(|_| fs::remove_file(&beside));
    checked.map_err(|error| cannot_write(path, &error))
}

/// Writes the file.
///
/// # Errors
///
/// One line that names the path and the mend.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let written = match Place::of(path) {
        Place::AsItIs | Place::Folder => fs::write(path, bytes),
        Place::Beside(beside) => {
            fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
                // What could not be written whole is not left behind; the error that is told is the
                // first.
                let _ = fs::remove_file(&beside);
            })
        }
    };
    written.map_err(|error| cannot_write(path, &error))
}

/// Where the bytes of a file go at first.
enum Place {
    /// Into a file beside it.
    Beside(PathBuf),
    /// To where they belong at once: what is there is no regular file, such as a pipe.
    AsItIs,
    /// Nowhere.
    Folder,
}

impl Place {
    fn of(path: &Path) -> Self {
        match (path.metadata(), path.file_name()) {
            (Ok(metadata), _) if metadata.is_dir() => Self::Folder,
            (Ok(metadata), _) if !metadata.is_file() => Self::AsItIs,
            (_, Some(name)) if !path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                let mut name = name.to_owned();
                name.push(format!(".{}.tmp", std::process::id()));
                Self::Beside(path.with_file_name(name))
            }
            _ => Self::Folder,
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such folder; make it, or name a file elsewhere".to_owned()
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("{}; name a file in a folder that this user may write to", error.kind())
        }
        _ => format!("{error}; name a file elsewhere"),
    };
    format!("cannot write {}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_checked_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        check(&path).unwrap();
        assert!(files(folder.path()).is_empty());
        write(&path, b"old").unwrap();
        check(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), files(folder.path()).len()), (b"new".to_vec(), 1));
        check(Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_named_with_its_mend() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        for (path, why) in [
            (at("absent/out.json"), "there is no such folder; make it, or name a file elsewhere"),
            (at("absent/"), "names a folder; name a file in it"),
            (at("."), "names a folder; name a file in it"),
            (at("file/out.json"), "name a file elsewhere"),
        ] {
            let refusal = check(&path).unwrap_err();
            assert!(
                refusal.contains(&path.display().to_string()) && refusal.ends_with(why),
                "{refusal}"
            );
            assert!(!refusal.contains('\n'));
            assert!(write(&path, b"x").is_err(), "{refusal}");
        }
        assert_eq!(files(folder.path()), ["file"], "nothing is left behind");
    }
}
